"""From where a thing that a server needs would be brought to a site, if it may be."""

from typing import Final

from atoll.core.choose import Thing
from atoll.core.errors import AtollError
from atoll.gateway import together
from atoll.gateway.call import Call
from atoll.gateway.parts import Parts
from atoll.gateway.server_create_run import Brought
from atoll.sites.site import Site

NEVER: Final = ("atoll_copies", "never")
"""The property of an image that is not to be copied by itself."""


async def source_of(parts: Parts, call: Call, thing: Thing, site: Site) -> Brought | None:
    """From where a thing would be brought to a site; None where it would not."""
    placement = parts.config.placement
    if thing.resource not in placement.bring:
        return None
    if thing.resource == "image" and placement.image_sites != "on-demand":
        return None
    for name in sorted(thing.sites, key=list(parts.sites.by_name).index):
        source = parts.sites.by_name[name]
        needed = "image" if thing.resource == "image" else "compute"
        if source.cloud != site.cloud or not source.healthy(needed) or not site.healthy(needed):
            continue
        if thing.resource != "keypair" and not all(
            parts.operator.operates(call, one) for one in (source, site)
        ):
            continue
        if thing.resource != "keypair" and not await _may_be_copied(parts, call, thing, source):
            return None
        return Brought(resource=thing.resource, id=thing.id, source=name)
    return None


async def _may_be_copied(parts: Parts, call: Call, thing: Thing, source: Site) -> bool:
    """Whether the caller sees it, since it is the operator who copies; and of an image, that it may be."""
    try:
        shown = await together.shown(parts, call, thing, source)
    except AtollError:
        return False
    if thing.resource == "flavor":
        return bool(shown)
    return shown.get("status") == "active" and shown.get(NEVER[0]) != NEVER[1]
