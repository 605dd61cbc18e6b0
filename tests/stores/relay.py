"""A network between the gateway and its database that can fail."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from atoll.sandbox.simulated.server import TURNS, stop_listening

CHUNK = 65536


class Relay:
    """Passes bytes between its own port and another one of this machine."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._gate = asyncio.Event()
        self._gate.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        stop_listening(self._server)
        for _turn in range(TURNS + 2):
            await asyncio.sleep(0)
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, url: str) -> str:
        """The URL of a database by this way."""
        return url.replace(f":{self._target}/", f":{self.port}/")

    def hold(self, *, for_good: bool = False) -> None:
        """Let nothing through: connections stay open, new ones are taken, and all are silent.

        With `for_good` those that there are stay so after `release`.
        """
        if for_good:
            self._gate.clear()  # it is theirs alone from now on
            self._gate = asyncio.Event()
        self._gate.clear()

    def release(self) -> None:
        """Let through what was held, and all that follows."""
        self._gate.set()

    def cut(self) -> None:
        """End every connection that there is."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(far_writer)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.get_running_loop().create_task(self._pass(source, sink, self._gate))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK):
                await gate.wait()
                sink.write(chunk)
                await sink.drain()
        sink.close()
        self._writers.discard(sink)
