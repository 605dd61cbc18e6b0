"""The servers of a site that is away, as Nova shows those of a cell that is down: `status: UNKNOWN`.

What is known of them is their location: id, project, creation time. Nova gives no more of such a server in a
list (`_show_from_down_cell` and `basic` in nova/api/openstack/compute/views/servers.py). Of a single one it
gives flavor, image and user, too, from records of its own; Atoll has none, so that is a 503 here (ADR 15).
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import msgspec
import structlog

from atoll.core.microversions import Version
from atoll.gateway.call import Call
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.parts import Parts
from atoll.store import Location, StoreError

log = structlog.get_logger()

SINCE = Version(2, 69)
_NO = frozenset({"0", "f", "false", "off", "n", "no"})


async def unknown_servers(
    call: Call,
    parts: Parts,
    said: SiteAnswer,
    missing: Collection[str],
    *,
    room: int,
    but: Collection[str],
    detail: bool,
) -> list[bytes]:
    """The known servers of missing sites as items of a list, where Nova would show them.

    `room` is how many at most, `but` are ids that are listed anyway. `said` is the answer of a site that
    answered, which tells the version in use.
    """
    asked = dict(parse_qsl(call.request.query.decode("latin-1"), keep_blank_values=True))
    if not missing or room < 1 or asked.keys() - {"all_tenants"} or _version(said) < SINCE:
        return []
    every = "all_tenants" in asked and asked["all_tenants"].lower() not in _NO and call.caller.is_admin
    project = None if every else call.caller.project_id
    try:
        known = await parts.store.known_at("server", list(missing), project_id=project, limit=room)
    except StoreError as error:
        log.warning("unknown_servers_not_read", reason=str(error)[:256])
        return []
    known = [one for one in known if one.id not in but]
    servers = parts.servers(call)
    if servers.hiding:
        known = [
            msgspec.structs.replace(one, id=servers.shown(one.site, one.id, call.caller.project_id))
            for one in known
            if not servers.hides(one.site, one.id)
        ]
    order = {site: place for place, site in enumerate(parts.sites.by_name)}
    known.sort(key=lambda one: order.get(one.site, 0))
    root = parts.public_url + call.request.path.decode("latin-1").removesuffix("/").removesuffix("/detail")
    return [msgspec.json.encode(_shown(one, root, detail=detail)) for one in known]


def _version(said: SiteAnswer) -> Version:
    """The version that a site answered in; nothing said is the oldest."""
    word, _, number = said.response.index.get(b"openstack-api-version", b"").decode("latin-1").partition(" ")
    major, _, minor = number.partition(".")
    if word != "compute" or not (major.isdecimal() and minor.isdecimal()):
        return Version(2, 1)
    return Version(int(major), int(minor))


def _shown(one: Location, root: str, *, detail: bool) -> dict[str, object]:
    shown: dict[str, object] = {"id": one.id, "status": "UNKNOWN"}
    if detail:
        made = datetime.fromtimestamp(one.created_at or 0.0, UTC)
        shown |= {"tenant_id": one.project_id, "created": made.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return shown | {"links": _links(root, one.id)}


def _links(root: str, ident: str) -> Sequence[dict[str, str]]:
    """Both links of a server; the bookmark has no version. `root` ends with the collection."""
    service, _, below = root.partition("/compute/")
    bookmark = f"{service}/compute/{below.partition('/')[2]}"
    return [
        {"rel": "self", "href": f"{root}/{ident}"},
        {"rel": "bookmark", "href": f"{bookmark}/{ident}"},
    ]
