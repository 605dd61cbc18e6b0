"""`POST /servers` that no site can take, since something it needs is not where the rest is: brought by a run.

The client gets an id at once and sees the server as BUILD; the id stays when a site has it. What cannot be
brought, or may not, is refused as before.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from atoll.core.accepted_servers import AskedFlavor, AskedServer, View
from atoll.core.choose import Thing, Want
from atoll.core.errors import AtollError
from atoll.gateway import bodies, together
from atoll.gateway.accepting import NoKey, accept
from atoll.gateway.alias_routes import view
from atoll.gateway.call import Call
from atoll.gateway.parts import Parts
from atoll.gateway.server_create_run import SERVER_CREATE, Brought, ServerInput
from atoll.gateway.server_sources import source_of
from atoll.sites.site import Site
from atoll.store import Alias, StoreError
from atoll.workflow.machine import Signal

log = structlog.get_logger()


def key_of(alias: str) -> str:
    """By which the run of a server is found."""
    return f"server/{alias}"


async def brought(
    parts: Parts, call: Call, want: Want, sites: Sequence[Site], body: Mapping[str, Any]
) -> bool:
    """Accept a server to whose site something is brought first; False where that cannot be, or may not.

    Raises `NoKey` where only that is in the way.
    """
    server = body.get("server")
    if want.resource != "server" or call.inside or not isinstance(server, dict) or not _plain(body, server):
        return False
    for site in _nearest(call, want, sites):
        lacking = [one for one in want.named if site.name not in one.sites]
        found = [await source_of(parts, call, one, site) for one in lacking]
        bring = [one for one in found if one is not None]
        if not lacking or len(bring) < len(lacking):
            continue
        try:
            await _accepted(parts, call, (body, server), (site, want.zone), bring)
        except NoKey:
            raise
        except (AtollError, StoreError) as error:
            log.info("server_not_brought", request_id=call.id, site=site.name, reason=str(error))
            return False
        return True
    return False


def _plain(body: Mapping[str, Any], server: Mapping[str, Any]) -> bool:
    """Whether it is one server, and a body as they are."""
    several = {str(server.get(key, 1)) for key in ("min_count", "max_count")} - {"1"}
    return not (several or server.get("return_reservation_id")) and (
        isinstance(server.get("name"), str) and len(body) <= 2
    )


def _nearest(call: Call, want: Want, sites: Sequence[Site]) -> list[Site]:
    """The sites that could take it but for what they lack, those that lack least first."""
    fit = [
        site
        for site in sites
        if site.accepts_creates
        and site.healthy(call.service_type)
        and site.zones
        and (want.zone is None or want.zones.get(want.zone) == site.name)
    ]
    return sorted(fit, key=lambda site: sum(site.name not in one.sites for one in want.named))


async def _accepted(
    parts: Parts,
    call: Call,
    given: tuple[Mapping[str, Any], Mapping[str, Any]],
    where: tuple[Site, str | None],
    bring: Sequence[Brought],
) -> None:
    """Accept the run, show the server, answer. Raises `AtollError`, `StoreError` with nothing done.

    Once the run is accepted nothing may fail any more: the server will be there.
    """
    (body, server), (site, zone) = given, where
    alias = str(uuid.uuid4())
    how = view(parts, call, parts.reach.sites(call), listed=False)
    asked = await _asked(parts, call, server, site)
    wanted = ServerInput(
        id=alias,
        site=site.name,
        zone="" if zone is not None else next(iter(site.zones)),
        body=dict(body),
        version=_version(call),
        asked=msgspec.to_builtins(asked),
        bring=list(bring),
    )
    run = await accept(
        parts, call, SERVER_CREATE.name, msgspec.to_builtins(wanted), key_of(alias), asked=False
    )
    caller = call.caller
    try:
        await parts.aliases.accept(alias, project_id=caller.project_id, user_id=caller.user_id, asked=asked)
    except StoreError as error:  # the run's first step does it again
        log.warning("server_not_shown_yet", server=alias, reason=str(error)[:256])
    for one in bring:
        parts.locator.stale(one.resource, one.id)
    log.info("server_accepted", request_id=call.id, server=alias, run=run, site=site.name)
    call.made.append(alias)
    _answer(call, how, alias, server)


def _answer(call: Call, how: View, alias: str, server: Mapping[str, Any]) -> None:
    links = [
        {"rel": "self", "href": f"{how.url}/servers/{alias}"},
        {"rel": "bookmark", "href": f"{how.bookmark}/servers/{alias}"},
    ]
    groups = [one for one in server.get("security_groups") or [] if isinstance(one, dict)]
    content = {
        "server": {
            "id": alias,
            "links": links,
            "OS-DCF:diskConfig": server.get("OS-DCF:diskConfig", "MANUAL"),
            "security_groups": groups or [{"name": "default"}],
            **({"adminPass": server["adminPass"]} if "adminPass" in server else {}),
        }
    }
    lines = [
        b"Content-Type: application/json\r\n",
        b"Location: %b\r\n" % links[0]["href"].encode(),
        b"x-openstack-request-id: %b\r\n" % call.id.encode(),
        *call.extra_lines,
    ]
    call.reply.send(202, lines, msgspec.json.encode(content))


def _version(call: Call) -> str:
    """The microversion, in the form of its newer header."""
    index = call.request.index
    if old := index.get(b"x-openstack-nova-api-version"):
        return f"compute {old.decode('latin-1')}"
    return index.get(b"openstack-api-version", b"").decode("latin-1")


async def _asked(parts: Parts, call: Call, server: Mapping[str, Any], site: Site) -> AskedServer:
    """What is shown of it until a site has it."""
    flavor = str(server.get("flavorRef", ""))
    image = server.get("imageRef")
    known = {
        "name": str(server.get("name", "")),
        "flavor": await _flavor(parts, call, bodies.named_by("flavor", flavor), site),
        "image": bodies.named_by("image", image) if isinstance(image, str) and image else None,
        "metadata": _texts(server.get("metadata")),
        "key_name": server.get("key_name"),
        "availability_zone": server.get("availability_zone"),
        "description": server.get("description"),
        "tags": list(server.get("tags") or ()),
        "config_drive": "True" if server.get("config_drive") in (True, "true", "True") else "",
        "disk_config": server.get("OS-DCF:diskConfig", "MANUAL"),
    }
    return msgspec.convert(known, AskedServer)


def _texts(given: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in given.items()} if isinstance(given, dict) else {}


async def _flavor(parts: Parts, call: Call, ident: str, site: Site) -> AskedFlavor:
    """The flavor as some site shows it; but for its id nothing has to be known."""
    having = await parts.equivalents.having(call, "flavor", ident) or frozenset({site.name})
    try:
        thing = Thing(resource="flavor", id=ident, sites=frozenset(having))
        shown = await together.shown(parts, call, thing, parts.sites.by_name[min(having)])
    except AtollError:
        return AskedFlavor(id=ident)
    return AskedFlavor(
        id=ident,
        name=str(shown.get("name") or ""),
        vcpus=int(shown.get("vcpus") or 0),
        ram=int(shown.get("ram") or 0),
        disk=int(shown.get("disk") or 0),
        ephemeral=int(shown.get("OS-FLV-EXT-DATA:ephemeral") or 0),
        swap=int(shown.get("swap") or 0),
        extra_specs=shown.get("extra_specs") or {},
    )


def cancelling(parts: Parts) -> Any:
    """What has the run undone of an accepted server that its user deletes."""

    async def cancel(row: Alias) -> None:
        found = await parts.store.run_views.by_key(row.project_id, key_of(row.id))
        if found is not None and await parts.store.runs.signal(found[0], Signal.TERM):
            parts.worker.tell(found[0], Signal.TERM)

    return cancel
