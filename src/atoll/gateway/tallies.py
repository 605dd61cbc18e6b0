"""What the workers of one gateway count, in memory that they share: a scrape of any of them gives all.

Each worker writes to a region of its own, so nothing is locked. The memory is nobody's file: it is mapped by
the process that starts the workers, and inherited. A worker that dies leaves its numbers behind, and the one
that is started in its place goes on from them, so that a counter never goes backwards.
"""

import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import msgspec
import structlog

REGION_BYTES: Final = 2 * 1024 * 1024
"""One worker's: about ten thousand series. Only what is written takes memory."""

_HEAD: Final = struct.Struct("=II")
_START: Final = 8

_log = structlog.get_logger()

Key = tuple[str, ...]
"""The kind of a series, and its labels."""

Values: TypeAlias = "memoryview[float]"
"""The numbers of a series, eight bytes each as floats: to add to an item of it is to count."""


class Board:
    """The shared memory of some workers; made before they are."""

    def __init__(self, workers: int = 1) -> None:
        self._memory = memoryview(mmap.mmap(-1, workers * REGION_BYTES))

    def regions(self) -> Iterator[memoryview]:
        """The region of each worker."""
        for start in range(0, len(self._memory), REGION_BYTES):
            yield self._memory[start : start + REGION_BYTES]

    def tallies(self, number: int) -> "Tallies":
        """What the worker of a number (from 0) counts, and counted before it died."""
        return Tallies(self, list(self.regions())[number])


class Tallies:
    """The series of one worker. A record is the lengths of key and values, the key in JSON, the values."""

    def __init__(self, board: Board, region: memoryview) -> None:
        self._board = board
        self._region = region
        self._used = region[:_START].cast("q")
        self._series = dict(_records(region))
        self._full = False

    def series(self, key: Key, length: int = 1) -> Values:
        """The numbers of a series, made of zeros where it is new."""
        values = self._series.get(key)
        if values is None:
            values = self._series[key] = self._append(key, length)
        return values

    def _append(self, key: Key, length: int) -> Values:
        text = msgspec.json.encode(key)
        start = self._used[0] or _START
        first = start + _HEAD.size + _padded(len(text))
        end = first + length * 8
        if end > len(self._region):
            if not self._full:
                self._full = True
                _log.error("metrics_full", series=len(self._series))
            return memoryview(bytearray(length * 8)).cast("d")
        _HEAD.pack_into(self._region, start, len(text), length)
        self._region[start + _HEAD.size : start + _HEAD.size + len(text)] = text
        values = self._region[first:end].cast("d")
        for place in range(length):  # a worker that was killed here may have left something
            values[place] = 0.0
        # Last: who reads meanwhile sees all of a record or nothing of it.
        self._used[0] = end
        return values

    def gauge(self, kind: str, values: Mapping[Key, float]) -> None:
        """Set the gauges of a kind, by labels; those that are not given are no more."""
        for key, value in values.items():
            self.series((kind, *key))[0] = value
        for key, series in self._series.items():
            if key[0] == kind and key[1:] not in values:
                series[0] = math.nan

    def clear(self, *kinds: str) -> None:
        """There are no gauges of some kinds any more: their worker is gone."""
        self._series = dict(_records(self._region))
        for kind in kinds:
            self.gauge(kind, {})

    def of_all(self) -> Iterator[tuple[Key, Values]]:
        """The series of all workers; a key comes once for each worker that has it. NaN is no value."""
        for region in self._board.regions():
            yield from _records(region)


def _records(region: memoryview) -> Iterator[tuple[Key, Values]]:
    used: int = region[:_START].cast("q")[0]
    start = _START
    while start < used:
        size, length = _HEAD.unpack_from(region, start)
        text = region[start + _HEAD.size : start + _HEAD.size + size]
        first = start + _HEAD.size + _padded(size)
        start = first + length * 8
        yield msgspec.json.decode(text, type=Key), region[first:start].cast("d")


def _padded(length: int) -> int:
    return -(-length // 8) * 8
