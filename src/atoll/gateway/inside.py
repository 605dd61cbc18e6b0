"""Atoll asked by its own runs, as a client asks it, with no connection between.

So what a run makes for its user is placed, translated, limited, refused and audited as what the user makes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, cast

import msgspec

from atoll.core.errors import AtollError, Forbidden, SiteUnavailable
from atoll.gateway.asking import PROJECT, VERSION, failure
from atoll.gateway.call import Call, Caller, new_request_id
from atoll.gateway.delegation import Delegation
from atoll.gateway.forward import message_of
from atoll.wire.body import Body
from atoll.wire.message import Request
from atoll.wire.server import Reply, ServerConnection
from atoll.worker.actions import Doing
from atoll.workflow.outcomes import Failure, Refused, SiteAway, Unavailable, Unknown

SECONDS: Final = 90.0
"""How long an answer may take, lists over sites that are slow among them."""


class Gathered(Reply):
    """An answer that is kept instead of sent."""

    __slots__ = ("aborted", "content")

    def __init__(self, request: Request) -> None:
        super().__init__(cast("ServerConnection", None), request)  # all that would use it is below
        self.content: list[bytes] = []
        self.aborted = False

    @property
    def draining(self) -> bool:
        """An answer without end is asked for by nobody here."""
        return False

    def send(self, status: int, lines: Iterable[bytes], body: bytes) -> None:
        """Keep a whole answer."""
        del lines
        self.started = self.finished = True
        self.status, self.sent, self.content = status, len(body), [body]

    def send_head(self, status: int, lines: Iterable[bytes], content_length: int | None) -> None:
        """Keep an answer without a body."""
        del content_length
        self.send(status, lines, b"")

    def start(self, status: int, lines: Iterable[bytes], content_length: int | None) -> None:
        """Begin to keep one."""
        del lines, content_length
        self.started, self.status = True, status

    async def write(self, data: bytes) -> None:
        """Keep a piece."""
        self.sent += len(data)
        self.content.append(data)

    def finish(self) -> None:
        """It is whole."""
        self.finished = True

    def informational(self, status: int) -> None:
        """The body is here already."""

    def abort(self) -> None:
        """It broke off."""
        self.aborted = True


Answering = Callable[[Call], Awaitable[None]]


class Inside:
    """Asks Atoll as the user of a run. `answering` is set once the gateway is whole."""

    def __init__(self, delegation: Delegation) -> None:
        self._delegation = delegation
        self.answering: Answering | None = None

    async def ask(
        self, doing: Doing, method: str, target: str, body: object = None, *, version: str = ""
    ) -> tuple[int, Any]:
        """(the status, what the JSON says): 2xx, 400, 404, 409 and what else is a refusal for what was asked.

        `{project}` in the target is the run's project, `version` a microversion with its service. Raises
        `SiteAway`, `Unavailable`, `Unknown`, `Refused`.
        """
        try:
            caller = await self._delegation.caller(doing)
        except AtollError as error:
            raise failure(error, error.site or "", changes=False) from error
        doing.check()
        return await self._asked(caller, doing.acting.request_id, (method, target, version), body)

    async def look(
        self, of: Call, method: str, target: str, body: object = None, *, version: str = ""
    ) -> tuple[int, Any]:
        """The same as a caller who is there. Raises `AtollError`."""
        try:
            return await self._asked(of.caller, of.id, (method, target, version), body)
        except Refused as error:
            raise Forbidden(str(error)) from error
        except SiteAway as error:
            raise SiteUnavailable(str(error), site=error.site) from error
        except Failure as error:
            raise SiteUnavailable(str(error)) from error

    async def _asked(
        self, caller: Caller, request_id: str, what: tuple[str, str, str], body: object
    ) -> tuple[int, Any]:
        """`what`: method, target, version. Raises what `ask` raises."""
        if self.answering is None:
            raise Unavailable("the gateway of this worker is still being made")
        call, reply = _call(caller, request_id, what, body)
        call.inside = True
        changes = what[0] not in {"GET", "HEAD"}
        await self.answering(call)
        if isinstance(call.error, AtollError) and reply.status >= 500:
            raise failure(call.error, call.error.site or "", changes=changes)
        if not reply.finished or reply.aborted:
            raise (Unknown if changes else Unavailable)("the answer broke off")
        return reply.status, _content(reply, changes=changes)


def _call(caller: Caller, request_id: str, what: tuple[str, str, str], body: object) -> tuple[Call, Gathered]:
    method, target, version = what
    index = {b"x-auth-token": caller.token, b"accept": b"application/json"}
    if method == "GET":
        index[b"x-atoll-partial"] = b"refuse"  # what is not seen is not taken for absent
    if version:
        index[VERSION] = version.encode()
    if body is not None:
        index[b"content-type"] = b"application/json"
    lines = [b"%b: %b\r\n" % one for one in index.items() if one[0] != VERSION]
    path = target.encode().replace(PROJECT, caller.project_id.encode())
    request = Request(method.encode(), path, index, lines)
    text = b"" if body is None else msgspec.json.encode(body)
    request.body, request.content_length = Body.whole(text), len(text)
    request.started = asyncio.get_running_loop().time()
    reply = Gathered(request)
    return Call(request, reply, request_id or new_request_id(), request.started + SECONDS), reply


def _content(reply: Gathered, *, changes: bool) -> Any:
    """What an answer says. Raises `Unavailable`, `Unknown`, `Refused` for one that answers nothing."""
    text = b"".join(reply.content)
    status = reply.status
    if status in {429, 503}:
        raise Unavailable(f"it was answered {status}: {message_of(text)}")
    if status >= 500:
        raise (Unknown if changes else Unavailable)(f"it was answered {status}: {message_of(text)}")
    if status in {401, 403}:
        raise Refused(f"this run's user may not do that ({status}): {message_of(text)}")
    try:
        return msgspec.json.decode(text) if text else None
    except msgspec.DecodeError:
        return None
