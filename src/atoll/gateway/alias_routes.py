"""Requests that name a server by an id that is no site's, before anything else is done with them.

What has a server at a site goes on under the site's own id: in the path, in filters and markers, and where
a body names a server. What no site has yet is answered here:

    GET     /servers/{id}[/…]   as Nova answers for a server that has no host yet
    DELETE  /servers/{id}       the run is cancelled
    …                           409, as Nova says of a server in that state

Answers are changed back in `equivalents`.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, unquote_to_bytes

import msgspec

from atoll.core import server_ids
from atoll.core.accepted_servers import Accepted, View, shown
from atoll.core.choose import Reason
from atoll.core.errors import Conflict, Forbidden, NotFound, SiteUnavailable
from atoll.core.meanings import Bound, Meanings
from atoll.core.microversions import Version
from atoll.gateway import bodies, versions
from atoll.gateway.aliases import BY_ID
from atoll.gateway.call import Call
from atoll.gateway.parts import Parts
from atoll.services.table import RANKS
from atoll.sites.site import Site
from atoll.store import StoreError

# Parameters that name a server; nothing but a server is paged by the id of one.
_QUERIES: Final = frozenset(
    {b"uuid", b"instance_uuid", b"instance_id", b"server_uuid", b"device_id", b"marker"}
)
# Creates and changes whose bodies may name one: by service, the collection.
_BODIES: Final[Mapping[str, frozenset[bytes]]] = {
    "compute": frozenset({b"servers", b"os-volumes_boot", b"os-server-external-events"}),
    "block-storage": frozenset({b"attachments", b"volumes"}),
    "network": frozenset({b"ports"}),
}
_BELOW: Final[Mapping[str, bytes]] = {"block-storage": b"/action", "network": b"/ports/"}
_DELETED: Final = frozenset({"forceDelete"})
"""Actions that delete."""


class AliasRoutes:
    """Settles what aliases in requests mean."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def settled(self, call: Call) -> bool:
        """Put sites' own ids in the place of aliases; True where the request is answered now.

        May be done again, when what they mean has changed.
        """
        route, servers = call.match.route, self._parts.servers(call)
        if call.service_type not in server_ids.SERVICES or route is None:
            return False
        if route.template.startswith(BY_ID):
            ident = call.alias or call.match.id.decode("latin-1")
            found = servers.means(ident, call.caller.project_id)
            if isinstance(found, Accepted):
                await self._accepted(call, found)
                return True
            if found is not None:
                _refuse_conflict(call, ident, found)
                _go_on(call, ident, found)
            return False
        if call.asked_query:
            call.request.query = self._query(call.asked_query, servers, call.caller.project_id)
        if call.request.has_body and not route.raw and _names_servers(call):
            if (text := call.asked_text) is None:
                text = call.asked_text = await call.read_body(self._parts.body_limit)
            here = servers.within(server_ids.named(text), call.caller.project_id)
            call.text = server_ids.inward(call.service_type, text, here) if here else text
        return False

    def said(self, call: Call, text: bytes) -> bytes:
        """What Atoll itself says, by the ids that the caller holds."""
        servers, project = self._parts.servers(call), call.caller.project_id
        if not servers.known:
            return text
        sites = self._parts.sites.by_name
        for ident in set(server_ids.named(text)):
            shown_as = servers.shown_at_any(sites, ident.decode(), project)
            text = text.replace(ident, shown_as.encode())
        return text

    @staticmethod
    def _query(query: bytes, servers: Meanings, project_id: str) -> bytes:
        parts = []
        for part in query.split(b"&"):
            name, equals, value = part.partition(b"=")
            ident = unquote(value.decode("latin-1")) if name in _QUERIES else ""
            bound = servers.bound(ident, project_id) if ident else None
            parts.append(part if bound is None else name + equals + bound.id.encode())
        return b"&".join(parts)

    # -- what no site has -------------------------------------------------------------------------

    async def _accepted(self, call: Call, one: Accepted) -> None:
        """Answer for a server that no site has.

        Raises NotFound for others than its project and administrators, Forbidden, Conflict.
        """
        route, caller, method = call.match.route, call.caller, call.request.method
        assert route is not None  # noqa: S101 - matched before
        if one.project_id != caller.project_id and not caller.is_admin:
            raise NotFound(f"Instance {one.id} could not be found.", resource="server", id=one.id)
        if caller.rank < RANKS[route.role]:
            raise Forbidden(f"Policy doesn't allow this to be performed: it needs the role {route.role}.")
        sites = self._parts.reach.sites(call)
        below = b"/".join(_segments(call)[1])
        if not below and method == b"DELETE":
            await self._delete(call, one, 204)
        elif method == b"GET" and (content := self._shown(call, one, below, sites)) is not None:
            _reply(call, sites, 200, msgspec.json.encode(content))
        else:
            what = await self._what(call, below)
            if what in _DELETED:
                await self._delete(call, one, 202)
                return
            state = f"task_state {one.task_state}" if one.task_state else f"vm_state {one.vm_state}"
            raise Conflict(
                f"Cannot '{what}' instance {one.id} while it is in {state}", resource="server", id=one.id
            )

    async def _what(self, call: Call, below: bytes) -> str:
        """What is asked of a server, in a word."""
        if below == b"action" and call.request.has_body:
            body = bodies.decoded(await call.read_body(self._parts.body_limit)) or {}
            return next(iter(body), "action")
        words = below.partition(b"/")[0].decode("latin-1").removeprefix("os-").replace("_", " ")
        return words or {b"PUT": "update"}.get(call.request.method, call.request.method.decode("latin-1"))

    async def _delete(self, call: Call, one: Accepted, status: int) -> None:
        try:
            deleted = await self._parts.aliases.delete(one.id)
        except StoreError as error:
            raise SiteUnavailable(f"Atoll's store does not answer: {error}", retry_after=5) from error
        if deleted:
            _reply(call, self._parts.reach.sites(call), status, b"")
            return
        # A site has it by now, or somebody else was first.
        raise Conflict(
            f"The server {one.id} has come to a site just now: delete it again.", resource="server", id=one.id
        )

    def _shown(self, call: Call, one: Accepted, below: bytes, sites: list[Site]) -> Any:
        """What a GET shows; None for what there is nothing of before there is a host."""
        metadata = dict(one.asked.metadata)
        key = unquote(below.removeprefix(b"metadata/").decode("latin-1"))
        if below.startswith(b"metadata/") and key not in metadata:
            raise NotFound("Metadata item was not found", resource="server", id=one.id)
        parts: Mapping[bytes, Any] = {
            b"metadata": {"metadata": metadata},
            b"tags": {"tags": list(one.asked.tags)},
            b"ips": {"addresses": {}},
            b"os-volume_attachments": {"volumeAttachments": []},
            b"os-interface": {"interfaceAttachments": []},
            b"os-instance-actions": {"instanceActions": []},
            b"os-security-groups": {"security_groups": []},
            b"migrations": {"migrations": []},
            b"os-server-password": {"password": ""},
        }
        if below.startswith(b"metadata/"):
            return {"meta": {key: metadata[key]}}
        if below:
            return parts.get(below)
        return {"server": shown(one, view(self._parts, call, sites, listed=False))}


def view(parts: Parts, call: Call, sites: list[Site], *, listed: bool) -> View:
    """How a request asks for accepted servers to be shown."""
    before, _ = _segments(call)
    scope = b"".join(b"/" + one for one in before[2:]).decode("latin-1")
    bookmark = f"{parts.public_url}/compute{scope}"
    version = before[1].decode("latin-1")
    return View(
        version=_version(call, sites, listed=listed),
        admin=call.caller.is_admin,
        url=f"{parts.public_url}/compute/{version}{scope}",
        bookmark=bookmark,
        listed=listed,
    )


def _version(call: Call, sites: list[Site], *, listed: bool) -> Version:
    """The version of an answer: of lists the newest that all sites have, where the newest is asked for."""
    told = dict(versions.told(call, sites))
    latest = [one for site in sites if (one := site.endpoints[call.service_type].latest) is not None]
    if listed and latest and call.header(b"openstack-api-version").endswith("latest"):
        return Version(*min(latest))
    word, _, number = told.get("OpenStack-API-Version", "").partition(" ")
    major, _, minor = number.partition(".")
    return Version(int(major), int(minor)) if word and minor else Version(2, 1)


def _segments(call: Call) -> tuple[list[bytes], list[bytes]]:
    """(what stands before the collection of servers, what stands below the server) in a path."""
    segments = call.path.rstrip(b"/").split(b"/")
    names = [unquote_to_bytes(one) for one in segments]
    at = next(at for at, one in enumerate(names) if one in {b"servers", b"os-volumes_boot"})
    return segments[:at], segments[at + 2 :]


def _refuse_conflict(call: Call, alias: str, found: Bound) -> None:
    """Raise Conflict for an id that several servers say is theirs: a write must not hit one by chance."""
    if found.claims and call.request.method not in {b"GET", b"HEAD"}:
        sites = ", ".join(dict.fromkeys(found.claims))
        raise Conflict(
            f"Several servers of this project have {alias} as `atoll_id` in their metadata, at {sites}. "
            "Take it off all but one, by their sites' own ids.",
            resource="server",
            id=alias,
            site=sites,
        )


def _go_on(call: Call, alias: str, found: Bound) -> None:
    """Have a call mean the site's own server."""
    before, after = _segments(call)
    collection = call.path.split(b"/")[len(before)]
    tail = b"/" if call.path.endswith(b"/") else b""
    call.path = b"/".join([*before, collection, found.id.encode(), *after]) + tail
    text = f"{alias} is {found.id} there"
    call.reasons.append(Reason(site=found.site, rule="alias", text=text))
    call.match, call.alias = call.match._replace(id=found.id.encode()), alias


def _names_servers(call: Call) -> bool:
    """Whether the body of a request may name a server."""
    route = call.match.route
    if route is None or call.request.method not in {b"POST", b"PUT"}:
        return False
    path = call.path.rstrip(b"/")
    if unquote_to_bytes(path.rpartition(b"/")[2]) in _BODIES[call.service_type]:
        return True
    return call.service_type in _BELOW and _BELOW[call.service_type] in path


def _reply(call: Call, sites: list[Site], status: int, text: bytes) -> None:
    lines = [b"x-openstack-request-id: %b\r\n" % call.id.encode()]
    lines += [f"{name}: {value}\r\n".encode() for name, value in versions.told(call, sites)]
    if text:
        lines.append(b"Content-Type: application/json\r\n")
    call.reply.send(status, lines + call.extra_lines, text)
