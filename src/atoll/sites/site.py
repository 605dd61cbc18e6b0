"""A site and its endpoints as the gateway uses them."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from atoll.core.rewrite import Links, Names
from atoll.sites.pool import Origin

# An endpoint in a catalogue ends with its version and maybe a project: what stands before is the root.
_VERSION = re.compile(r"/v\d+(?:\.\d+)?(?:/.*)?/?\Z")


def root_of(url: str) -> str:
    """The part of an endpoint's URL before its version."""
    return _VERSION.sub("", url).rstrip("/")


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """One service of one site.

    `zones` maps Atoll's zone names to the service's own (None: it decides by itself). `root` is the path
    before the version; `links` and `names` say what is changed in its answers. `versions`
    is the range of microversions found by discovery, None while that is not known; `latest` the newest that
    every enabled site has.
    """

    site: str
    service_type: str
    origin: Origin
    root: bytes
    url: str
    links: Links
    zones: Mapping[str, str | None] = field(default_factory=dict)
    names: tuple[Names, ...] = ()
    ids: Callable[[bytes], bytes] | None = None  # equivalents, outward
    versions: tuple[tuple[int, int], tuple[int, int]] | None = None
    latest: tuple[int, int] | None = None
    head_end: bytes = field(init=False)
    logged: bytes = field(init=False)  # the site's name as it stands in a line of the access log

    def __post_init__(self) -> None:
        self.logged = msgspec.json.encode(self.site)
        self.head_end = b" HTTP/1.1\r\nHost: %b\r\n" % self.origin.netloc


State = Literal["enabled", "draining", "maintenance"]


@dataclass(slots=True, kw_only=True, eq=False)
class Site:
    """One (cloud, region) pair. `zones` are Atoll's zones in it, and what the operator says of each."""

    name: str
    number: int
    region: str
    state: State = "enabled"
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    zones: Mapping[str, object] = field(default_factory=dict)

    def endpoint(self, service_type: str) -> Endpoint | None:
        """The endpoint of a service, None where the site has no such service."""
        return self.endpoints.get(service_type)

    @property
    def accepts_creates(self) -> bool:
        """Whether new resources may be placed here."""
        return self.state == "enabled"

    def healthy(self, service_type: str) -> bool:
        """Whether the service answered lately, as far as is known."""
        endpoint = self.endpoints.get(service_type)
        return endpoint is not None and endpoint.origin.breaker.closed


@dataclass(slots=True)
class Sites:
    """All registered sites, in their order."""

    by_name: dict[str, Site]
    default: Site

    def __iter__(self) -> Iterator[Site]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_name)

    def with_service(self, service_type: str) -> list[Site]:
        """The sites that have a service, in order."""
        return [site for site in self.by_name.values() if service_type in site.endpoints]

    def of_zone(self, zone: str) -> Site | None:
        """The site of one of Atoll's zones."""
        for site in self.by_name.values():
            if zone in site.zones:
                return site
        return None
