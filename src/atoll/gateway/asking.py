"""What runs ask of sites: as somebody, and with the errors that actions raise (`workflow.outcomes`).

Whoever asks has called `doing.check` just before.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from atoll.core.errors import AtollError, Forbidden, NotFound, SiteTimeout, SiteUnavailable
from atoll.gateway import bodies
from atoll.gateway.call import Call, Caller, own_call
from atoll.gateway.forward import Forward, SiteAnswer, read_json, said
from atoll.gateway.reach import Reach
from atoll.services.catalog import SERVICES
from atoll.sites.site import Endpoint, Site, Sites
from atoll.wire.body import Body
from atoll.wire.message import Request, Response
from atoll.workflow.outcomes import Failure, Refused, SiteAway, Unavailable, Unknown

SECONDS: Final = 30.0
"""How long a site may take for an answer."""

LONG_SECONDS: Final = 7 * 86400.0
"""How long bytes may flow; that they do flow is seen to."""

PATCH: Final = b"application/openstack-images-v2.1-json-patch"
VERSION: Final = b"openstack-api-version"

PROJECT: Final = b"{project}"
"""In a target: the project in which something is asked."""

Answered = tuple[int, Any]


class Who(Protocol):
    """As whom sites are asked."""

    name: str
    """In words, for refusals."""
    admin: bool

    async def caller(self, site: Site) -> Caller:
        """Who it is at a site. Raises `AtollError`."""

    def refused(self, token: bytes) -> bool:
        """A site said 401 to this token; whether there may be a better one."""


class SiteAsker:
    """Asks sites as somebody."""

    def __init__(self, sites: Sites, reach: Reach, forward: Forward, who: Who) -> None:
        self._sites = sites
        self._reach = reach
        self._forward = forward
        self._who = who

    def knows(self, name: str) -> bool:
        """Whether a site is one of Atoll's: it may have been removed since a run was accepted."""
        return name in self._sites.by_name

    def site(self, name: str) -> Site:
        """A site. Raises `Refused` for one that is there no more."""
        site = self._sites.by_name.get(name)
        if site is None:
            raise Refused(f"there is no site {name}")
        return site

    async def _prepared(
        self, site: Site, service: str, request: Request, seconds: float
    ) -> tuple[Call, Endpoint]:
        caller = await self._who.caller(site)
        call = own_call(caller, asyncio.get_running_loop().time() + seconds)
        call.request, call.service, call.as_admin = request, SERVICES[service], self._who.admin
        return call, self._reach.endpoint(site, call, service)

    async def ask(
        self,
        name: str,
        service: str,
        method: str,
        target: str,
        body: object = None,
        *,
        patch: bool = False,
        version: str = "",
    ) -> Answered:
        """(the status, what the JSON says): 2xx, 404, 409 and what else is not a failure of the site's.

        `version`: the microversion, with its service: `compute 2.61`. Raises `SiteAway`, `Unavailable`,
        `Unknown`, `Refused`.
        """
        site = self.site(name)
        try:
            kind = PATCH if patch else b"application/json"
            index = {b"content-type": kind, **({VERSION: version.encode()} if version else {})}
            answer = await self._asked(
                site, service, Request(method.encode(), target.encode(), index, []), body
            )
        except AtollError as error:
            raise failure(error, site.name, changes=method != "GET") from error
        return answer.status, content(site.name, self._who.name, answer, changes=method != "GET")

    async def _asked(self, site: Site, service: str, request: Request, body: object) -> SiteAnswer:
        text = None if body is None else msgspec.json.encode(body)
        target = request.path + (b"?" + request.query if request.query else b"")
        for _ in range(2):
            call, endpoint = await self._prepared(site, service, request, SECONDS)
            path = target.replace(PROJECT, call.caller.project_id.encode())
            answer = await self._forward.ask(call, endpoint, request.method, path, body=text, why="a run")
            if answer.status != 401 or site.cloud is not None or not self._who.refused(call.caller.token):
                break
        return answer

    async def stream(
        self,
        name: str,
        service: str,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        length: int | None = None,
    ) -> tuple[int, Response]:
        """(the status, the answer with its body still to come); `body` is sent as it comes.

        Raises as `ask`.
        """
        site = self.site(name)
        named = {key.lower().encode(): value.encode() for key, value in (headers or {}).items()}
        lines = [b"%b: %b\r\n" % (key, value) for key, value in named.items()]
        request = Request(method.encode(), target.encode(), named, lines)
        if body is not None:
            request.body, request.content_length = body, length
        try:
            call, endpoint = await self._prepared(site, service, request, LONG_SECONDS)
            if call.caller.token:
                request.lines.append(b"X-Auth-Token: %b\r\n" % call.caller.token)
            call.path = target.encode().replace(PROJECT, call.caller.project_id.encode())
            response = await self._forward.send(call, endpoint, raw=True)
            if response.status == 401 and site.cloud is None:
                self._who.refused(call.caller.token)
        except AtollError as error:
            raise failure(error, site.name, changes=method != "GET") from error
        return response.status, response

    async def refusal(self, name: str, service: str, response: Response) -> str:
        """What a refusal says, in words."""
        text = await read_json(self.site(name).endpoints[service], response)
        return said(SiteAnswer(response.status, response, text))


def content(site: str, who: str, answer: SiteAnswer, *, changes: bool) -> Any:
    """What an answer says. Raises `Unavailable`, `Unknown`, `Refused` for one that answers nothing."""
    status = answer.status
    if status in {429, 503}:
        after = answer.response.index.get(b"retry-after", b"")
        raise Unavailable(f"{site} answers {status}", after=float(after) if after.isdigit() else None)
    if status >= 500:
        text = f"{site} answers {status}: {said(answer)}"
        raise Unknown(text) if changes else Unavailable(text)
    if status in {401, 403}:
        raise Refused(f"{site} does not let {who} do that ({status}): {said(answer)}")
    return bodies.decoded(answer.text) if answer.text else None


def failure(error: AtollError, site: str, *, changes: bool) -> Failure:
    """What an error of the gateway's is to a run. `changes`: whether something may have been done."""
    if isinstance(error, SiteTimeout):
        return Unknown(str(error)) if changes else Unavailable(str(error))
    if isinstance(error, SiteUnavailable):
        return SiteAway(site, str(error))
    if isinstance(error, Forbidden | NotFound):
        return Refused(str(error))
    return Unknown(str(error)) if changes else Unavailable(str(error))
