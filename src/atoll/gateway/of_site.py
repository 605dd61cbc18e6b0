"""What belongs to a site as clients see it: integer ids qualified by the site's number, zones by our names.

Does not ask anyone: `per_site` and `lists` do.
"""

import re
from collections.abc import Mapping, Sequence

from atoll.core.ids import SITE_SHIFT, qualify, unqualify
from atoll.core.merge_source import Described
from atoll.core.spans import Path, find, splice
from atoll.gateway.call import Call
from atoll.gateway.forward import rewrite
from atoll.sites.site import Endpoint, Site

IDS = 1 << 53  # what is not below is no integer id of any site's; a UUID may be all digits, too
NOWHERE = str(IDS - 1)  # below IDS and above what any site has
# Where a thing shows integer ids of its site, and its zone beside the key that all services have for it.
IDS_AT: Mapping[str, tuple[Path, ...]] = {"hypervisor": (("id",), ("service", "id"))}
ID_AT: tuple[Path, ...] = (("id",),)
ZONE_AT: Mapping[str, Path] = {
    "aggregate": ("metadata", "availability_zone"),
    "service": ("zone",),
    "host": ("zone",),
}
# Nova's zone of its own services: every site has one, which is in none of ours (see `zones`).
INTERNAL = "internal"
_INTERNAL = b'"internal"'
_ZONE = b'"availability_zone": '
_MIGRATION = re.compile(rb'(?<=/migrations/)\d+(?="\Z)')


def integer(ident: str) -> int | None:
    """The integer id that a part of a path is, None where it can be none of any site's."""
    if len(ident) <= len(NOWHERE) and ident.isascii() and ident.isdecimal() and int(ident) < IDS:
        return int(ident)
    return None


def local(ident: str, site: Site) -> str:
    """What an id is at a site: an integer without the site's number, or one that nothing there has."""
    if (whole := integer(ident)) is None:
        return ident
    number, here = unqualify(whole)
    if number == site.number:
        return str(here) if number else ident
    return ident if whole >> SITE_SHIFT else NOWHERE


def described(page: Described, site: Site) -> Described:
    """A page of a site's, by the ids that clients see."""
    ids = [str(qualify(site.number, int(one))) if one.isdecimal() else one for one in page.ids]
    return page._replace(ids=ids)


def internal(site: Site) -> str:
    """The zone of a site's own services as clients see it: that of the first site, as its ids, is plain."""
    return f"{INTERNAL}@{site.name}" if site.number else INTERNAL


def outward(call: Call, endpoint: Endpoint, site: Site, text: bytes, envelope: Path) -> bytes:
    """A thing as clients see it: links, zones, and integer ids with the site's number."""
    text = rewrite(endpoint, text, call, item=not envelope)
    resource = call.match.route.resource if call.match.route is not None else ""
    changes = []
    if (place := ZONE_AT.get(resource)) is not None:
        for start, end in find(text, (*envelope, *place)):
            changes.append(((start, end), _zone(endpoint, site, resource, text[start:end])))
    if site.number:
        for place in IDS_AT.get(resource, ID_AT):
            for start, end in find(text, (*envelope, *place)):
                if text[start:end].isdigit():
                    changes.append(((start, end), b"%d" % qualify(site.number, int(text[start:end]))))
        if resource == "migration":
            for start, end in find(text, (*envelope, "links", "*", "href")):
                href = _MIGRATION.sub(
                    lambda found: b"%d" % qualify(site.number, int(found.group())), text[start:end]
                )
                changes.append(((start, end), href))
    return splice(text, changes)


def _zone(endpoint: Endpoint, site: Site, resource: str, value: bytes) -> bytes:
    """A zone as it stands in JSON, by our name for it."""
    if value == _INTERNAL and resource != "aggregate":
        return b'"%b"' % internal(site).encode()
    value = _ZONE + value
    for names in endpoint.names:
        value = names.rewrite(value)
    return value.removeprefix(_ZONE)


def in_zone(items: Sequence[bytes], zone: str) -> list[bytes]:
    """Those of some items, as clients see them, that show a zone."""
    value = b'"%b"' % zone.encode()
    return [one for one in items if any(one[start:end] == value for start, end in find(one, ("zone",)))]
