"""Where a simulated site or Keystone listens: serves requests through the faults that are set for it.

The control path `/_faults` takes faults as JSON; it is not subject to any fault except `refuse`.
"""

import asyncio
import re
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from atoll.sandbox.simulated.faults import Fault, Faults
from atoll.sandbox.simulated.server import Drop, Request, Response, Server
from atoll.sandbox.simulated.service import Call

SEEN = 1000  # how many requests are remembered for tests to look at
_CONTROL = "/_faults"
_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MESSAGES = {
    429: "This request was rate-limited.",
    503: "The service is temporarily unavailable.",
}
_UNEXPECTED = "The server has either erred or is incapable of performing the requested operation."


class Service(Protocol):
    """What a listener needs of the service a request is for."""

    fault_name: str

    async def handle(self, request: Request) -> Response:
        """Answer one request."""

    def fault(
        self, call: Call, status: int, message: str, headers: list[tuple[str, str]] | None = None
    ) -> Response:
        """A fault in the service's dialect."""

    def unauthorized(self, call: Call) -> Response:
        """401 in the service's dialect."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that arrived, with the status it was answered (0: not answered)."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    status: int

    def header(self, name: str) -> str:
        """The value of a header, "" where there is none; `name` is in lower case."""
        for one, value in self.headers:  # tests look through thousands
            if one == name or one.lower() == name:
                return value
        return ""


class Listener:
    """A `Server` with faults. `seen` has the last requests, `closing` services that never keep alive."""

    def __init__(self, handle: Callable[[Request], Awaitable[Response]], seed: int = 0) -> None:
        self.server = Server(handle)
        self.faults = Faults(seed)
        self.faults.on_change = self._apply
        self.seen: deque[Seen] = deque(maxlen=SEEN)
        self.closing: set[str] = set()
        self._starting = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1 at `port` (0: any free one, or the one it had). Raises OSError if taken."""
        await self.server.start(port)

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await self.server.close()

    async def serve(self, request: Request, service: Service) -> Response:
        """Answer a request by its service, through the faults. Raises Drop to leave it unanswered."""
        if request.path == _CONTROL:
            return await self._control(request)
        status = 0
        try:
            response = await (self._faulty(request, service) if self.faults else service.handle(request))
            status = response.status
        finally:
            self.seen.append(Seen(request.method, request.target, request.headers, status))
        if service.fault_name in self.closing:
            response.close = True
        return response

    async def _faulty(self, request: Request, service: Service) -> Response:
        taken = self.faults.take(
            service.fault_name, request.method, request.target, reused=request.served > 0
        )
        await self.faults.hold(taken)
        fault = next((fault for fault in taken if fault.kind != "latency"), None)
        if fault is None:
            return await service.handle(request)
        if fault.kind in ("stall", "reset", "stale"):
            await _silence(fault)
        if fault.kind in ("status", "rate_limit", "expired_token"):
            return _refusal(fault, service, Call(request, request.url_root))
        return await _spoil(fault, await service.handle(request), request)

    async def _control(self, request: Request) -> Response:
        headers = [("Content-Type", "application/json")]
        try:
            if request.method == "POST":
                given = msgspec.json.decode(await request.read(), type=Fault | list[Fault])
                self.faults.add(*(given if isinstance(given, list) else [given]))
            elif request.method == "DELETE":
                self.faults.clear()
        except (msgspec.ValidationError, msgspec.DecodeError, re.error) as exc:
            return Response(400, headers, msgspec.json.encode({"error": str(exc)}))
        return Response(200, headers, msgspec.json.encode({"faults": list(self.faults)}))

    def _apply(self) -> None:
        """Bring what concerns the whole listener in line with the faults."""
        idle, refuse = self.faults.find("idle"), self.faults.find("refuse")
        self.server.idle_seconds = idle.seconds if idle is not None else None
        if refuse is not None and self.server.listening:
            loop = asyncio.get_running_loop()
            loop.call_soon(self.server.refuse)  # after the answer to the control request has left
            if refuse.seconds is not None:
                self._timer = loop.call_later(refuse.seconds, self.faults.remove, refuse)
        elif refuse is None and not self.server.listening and self.server.port and not self._starting:
            self._starting = True
            task = asyncio.get_running_loop().create_task(self._start())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _start(self) -> None:
        try:
            await self.server.start()
        finally:
            self._starting = False
        self._apply()  # it may be to refuse again


async def _silence(fault: Fault) -> None:
    """Never answer: hold the connection until the client gives up, reset it, or close it."""
    if fault.kind == "stall":
        await asyncio.get_running_loop().create_future()
    raise Drop(reset=fault.kind == "reset")


def _refusal(fault: Fault, service: Service, call: Call) -> Response:
    if fault.kind == "expired_token":
        return service.unauthorized(call)
    status = 429 if fault.kind == "rate_limit" else fault.status
    headers = [("Retry-After", str(fault.retry_after))] if status in (413, 429, 503) else []
    return service.fault(call, status, _MESSAGES.get(status, _UNEXPECTED), headers)


async def _spoil(fault: Fault, response: Response, request: Request) -> Response:
    """What becomes of a good answer."""
    if fault.kind == "die_after_commit":
        raise Drop
    if fault.kind == "cut":
        response.cut = (response.length or 2) // 2
    elif fault.kind == "not_json":
        _replace(response, b"<html><body>It works!</body></html>", "text/html")
    elif fault.kind == "wrong_json":
        _replace(response, b'["unexpected", {"shape": null}]', "application/json")
    elif fault.kind == "other_id":
        body = (
            response.body if isinstance(response.body, bytes) else b"".join([x async for x in response.body])
        )
        in_path = _UUID.findall(request.path.encode())
        found = in_path[-1:] or _UUID.findall(body)[:1]
        for known in found:
            body = body.replace(known, str(uuid.uuid4()).encode())
        response.body, response.length = body, len(body)
    return response


def _replace(response: Response, body: bytes | AsyncIterator[bytes], content_type: str) -> None:
    response.status = 200
    response.headers = [(n, v) for n, v in response.headers if n.lower() != "content-type"]
    response.headers.append(("Content-Type", content_type))
    response.body = body
    response.length = len(body) if isinstance(body, bytes) else None
