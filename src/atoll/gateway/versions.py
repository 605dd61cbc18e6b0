"""Microversions over sites of different ranges: what needs a site that lacks the version asked for is 406.

A request for one thing goes to its site, which says for itself. What is malformed is the site's to refuse.
Here is decided only what no single site can know: that a list, a sum or a create needs several.
"""

from collections.abc import Sequence

from atoll.core.errors import AtollError, NotAcceptable
from atoll.core.microversions import (
    Range,
    Version,
    default_version,
    has_microversions,
    intersection,
    requested,
    resolve,
    response_headers,
    unsupported,
)
from atoll.gateway.call import Call
from atoll.gateway.forward import Forward
from atoll.services.table import Kind, Route, Shape
from atoll.sites.site import Endpoint, Site

HEADERS = (b"openstack-api-version", b"x-openstack-nova-api-version")


def check(call: Call, route: Route, sites: Sequence[Site]) -> None:
    """Raise NotAcceptable, naming the sites, where a route needs all of them and some lack the version.

    What none has is refused at once, too: nothing can be searched for with it.
    """
    if not any(name in call.request.index for name in HEADERS):
        return
    needs_all, without = _needs_all(call, route), lacking(call, sites)
    if without and (needs_all or len(without) == len(sites)):
        raise refusal(call, without, sites)
    if needs_all and Forward.names_latest(call.request.index):
        _require_common(call, sites)


def _needs_all(call: Call, route: Route) -> bool:
    if route.kind is Kind.SUMMED:
        return b"atoll_site=" not in call.request.query
    if route.kind is Kind.SHARED and route.shape is not Shape.LIST:
        return call.request.method not in {b"GET", b"HEAD"}
    lists = route.shape is Shape.LIST and route.kind in {Kind.PLACED, Kind.SHARED, Kind.PER_SITE}
    return lists or route.kind is Kind.ZONES


def lacking(call: Call, sites: Sequence[Site]) -> list[Site]:
    """The sites that are known not to have the version that a request asks for by its number."""
    asked = _asked(call)
    if asked is None:
        return []
    ranges = {site.name: _range(site.endpoints.get(call.service_type)) for site in sites}
    return [site for site in sites if (has := ranges[site.name]) is not None and asked not in has]


def told(call: Call, sites: Sequence[Site]) -> list[tuple[str, str]]:
    """The headers that say the version of an answer of our own.

    Raises BadRequest or NotAcceptable where what is asked for is no version, or one that no site has.
    """
    if not has_microversions(call.service_type) or _knows_none(call):
        return []
    ranges = [has for site in sites if (has := _range(site.endpoints.get(call.service_type))) is not None]
    if not ranges:
        return []
    every = Range(min(one.minimum for one in ranges), max(one.maximum for one in ranges))
    version = resolve(call.service_type, requested(call.service_type, _given(call)), every)
    return response_headers(call.service_type, version)


def before(call: Call, since: tuple[int, int]) -> bool:
    """Whether a request asks for a version before one, or for none where the service's first is before it."""
    if not has_microversions(call.service_type) or Forward.names_latest(call.request.index):
        return False
    return (_asked(call) or default_version(call.service_type)) < since


def _require_common(call: Call, sites: Sequence[Site]) -> None:
    """Raise NotAcceptable where `latest` stands for nothing: the enabled sites have no version in common."""
    enabled = [site for site in sites if site.accepts_creates]
    ranges = [has for site in enabled if (has := _range(site.endpoints.get(call.service_type))) is not None]
    if ranges and intersection(ranges) is None:
        names = ", ".join(site.name for site in enabled)
        raise NotAcceptable(f"No version is common to the sites {names}.", site=names)


def refusal(call: Call, without: Sequence[Site], sites: Sequence[Site]) -> NotAcceptable:
    """The service's 406; with the sites that lack the version, where others have it."""
    asked = _asked(call) or Version(0, 0)
    ranges = [_range(site.endpoints.get(call.service_type)) for site in sites]
    shared = intersection([one for one in ranges if one is not None]) or Range(Version(0, 0), Version(0, 0))
    error = unsupported(call.service_type, asked, shared)
    names = ", ".join(site.name for site in without)
    message = str(error)
    if len(without) < len(sites):
        message += f" These sites are needed and do not have it: {names}."
    return NotAcceptable(message, site=names, headers=error.headers)


def _asked(call: Call) -> Version | None:
    """The number asked for; None where there is none, or nothing that could be one."""
    given = [] if _knows_none(call) else _given(call)
    try:
        return requested(call.service_type, given).version if given else None
    except AtollError:
        return None


def _given(call: Call) -> list[tuple[str, str]]:
    index = call.request.index
    return [(name.decode(), index[name].decode("latin-1")) for name in HEADERS if name in index]


def _knows_none(call: Call) -> bool:
    """Whether it is Nova's v2, which does not read the headers."""
    return call.service_type == "compute" and call.path.startswith(b"/v2/")


def _range(endpoint: Endpoint | None) -> Range | None:
    if endpoint is None or endpoint.versions is None:
        return None
    low, high = endpoint.versions
    return Range(Version(*low), Version(*high))
