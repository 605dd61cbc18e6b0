"""Writes of one turn of the event loop, sent together at its end.

Each write wakes whoever reads it. Sent one by one between other work, every one of them finds its reader
asleep again, and waking costs more than sending; sent together, the first wakes and the others find it awake.
"""

import asyncio
from typing import Protocol


class Writer(Protocol):
    """A connection that may be gone by the time it is written to."""

    def write_now(self, data: bytes) -> None:
        """Write, unless there is nobody to write to."""


class Outbox:
    """What is to be written before the loop waits again, in order."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: list[tuple[Writer, bytes]] = []

    def put(self, writer: Writer, data: bytes) -> None:
        """Write soon. What the same connection writes otherwise must come later, from another turn."""
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._flush)
        self._pending.append((writer, data))

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        for writer, data in pending:
            writer.write_now(data)
