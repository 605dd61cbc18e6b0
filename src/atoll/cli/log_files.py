"""Lines out of log files of any size: the rotated ones too, packed or not, and standard input.

A line is wanted for the bytes in it, so it is searched for as bytes: a block at a time, nothing decoded.
"""

import bz2
import gzip
import lzma
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Self

BLOCK = 4 * 1024 * 1024
# Standard input is kept in memory up to here, then in a file, since it may have to be read twice (bytes).
IN_MEMORY = 64 * 1024 * 1024
STDIN = Path("-")

PACKED: Final[dict[str, Callable[[Path], Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# Packed by what Python has not got: `zstdcat FILE | atoll explain … --log -`.
UNREAD: Final = frozenset({".zst", ".lz4", ".lzo", ".Z", ".zip"})


def rotated(path: Path) -> list[Path]:
    """A log and its older parts, the newest first: `access.log`, `access.log.1`, `access.log-20261121.gz`."""
    if path == STDIN:
        return [path]
    name = path.name
    older = [
        one
        for one in path.parent.glob(f"{_quoted(name)}[.-]*")
        if one.suffix not in UNREAD and re.search(r"\d", one.name[len(name) :]) and one.is_file()
    ]
    older.sort(key=lambda one: one.stat().st_mtime, reverse=True)
    return [path, *older]


def _quoted(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


class Logs:
    """The logs of one command, each with its rotated files. To be closed with `with`."""

    def __init__(self, named: Sequence[Path]) -> None:
        every: dict[Path, None] = {}
        self.families: list[list[Path]] = []
        for path in dict.fromkeys(named):
            family = [one for one in rotated(path) if one not in every]
            every.update(dict.fromkeys(family))
            if family:
                self.families.append(family)
        self._stdin: IO[bytes] | None = None

    @property
    def files(self) -> list[Path]:
        """All of them, in the order in which they are searched."""
        return [path for family in self.families for path in family]

    @contextmanager
    def opened(self, path: Path) -> Iterator[IO[bytes]]:
        """A log from its beginning, unpacked. Raises OSError."""
        if path == STDIN:
            if self._stdin is None:
                self._stdin = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed with us
                shutil.copyfileobj(sys.stdin.buffer, self._stdin, BLOCK)
            self._stdin.seek(0)
            yield self._stdin
            return
        with PACKED.get(path.suffix, _plain)(path) as stream:
            yield stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stdin is not None:
            self._stdin.close()


def _plain(path: Path) -> IO[bytes]:
    return path.open("rb")


def lines_with(stream: IO[bytes], needle: bytes, block: int = BLOCK) -> Iterator[bytes]:
    """The lines that have some bytes in them, without their line ends; a `block` is read at a time."""
    rest = b""
    while read := stream.read(block):
        whole, end, begun = read.rpartition(b"\n")
        if end:
            yield from _lines_in(rest + whole, needle)
            rest = begun
        else:
            rest += read
    yield from _lines_in(rest, needle)


def _lines_in(text: bytes, needle: bytes) -> Iterator[bytes]:
    at = text.find(needle)
    while at >= 0:
        end = text.find(b"\n", at)
        end = end if end >= 0 else len(text)
        yield text[text.rfind(b"\n", 0, at) + 1 : end]
        at = text.find(needle, end)


def lines_backwards(stream: IO[bytes], needle: bytes, block: int = BLOCK) -> Iterator[bytes]:
    """The same, the last one first: for what is not packed, which is read from its end."""
    at = stream.seek(0, 2)
    rest = b""
    while at:
        size = min(block, at)
        at -= size
        stream.seek(at)
        lines = (_exactly(stream, size) + rest).split(b"\n")
        rest = lines[0]
        yield from (line for line in reversed(lines[1:]) if needle in line)
    if needle in rest:
        yield rest


def _exactly(stream: IO[bytes], size: int) -> bytes:
    """A read that a signal or the kernel cut short goes on."""
    read = b""
    while len(read) < size and (more := stream.read(size - len(read))):
        read += more
    return read
