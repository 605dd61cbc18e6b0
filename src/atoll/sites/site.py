"""A site and its endpoints as the gateway uses them."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import msgspec

from atoll.core.access_rules import AccessRule
from atoll.core.rewrite import Ids, Links, Names
from atoll.sites.pool import Origin

# An endpoint in a catalogue ends with its version and maybe a project: what stands before is the root.
_VERSION = re.compile(r"/v\d+(?:\.\d+)?(?:/.*)?/?\Z")


def root_of(url: str) -> str:
    """The part of an endpoint's URL before its version."""
    return _VERSION.sub("", url).rstrip("/")


class Grant(Protocol):
    """What some caller is at a cloud that does not know the caller's token. Times are loop seconds."""

    @property
    def ids(self) -> Ids:
        """The caller's project and user as the cloud names them."""

    @property
    def rules(self) -> tuple[AccessRule, ...] | None:
        """All that its token may be used for, None: anything; known once there was a token."""

    @property
    def views(self) -> dict["Endpoint", "Endpoint"]:
        """The endpoints as the caller uses them, by what they are to everybody; for `Endpoint.granted`."""

    def token(self, now: float) -> bytes | None:
        """A token of that cloud that can be used at once, if there is one."""

    async def fetch(self) -> bytes:
        """A token, waited for. Raises SiteUnavailable, Forbidden where the credential is refused."""

    def refused(self, token: bytes) -> None:
        """A site said 401 to this token: it is not to be used again."""


Versions = tuple[tuple[int, int], tuple[int, int]]


@dataclass(slots=True, kw_only=True)
class Learnt:
    """What was found out about an endpoint, the same for all who use it.

    `versions` is the range of microversions found by discovery, None while that is not known; `latest` the
    newest that every enabled site has; `links` how the site writes its own URL. `looked_at` says that a probe
    was made, whatever came of it; `contradiction` what the site said of its versions that is not so.
    """

    links: Links
    versions: Versions | None = None
    latest: tuple[int, int] | None = None
    looked_at: bool = False
    contradiction: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Endpoint:
    """One service of one site, as one caller uses it.

    `zones` maps Atoll's zone names to the service's own (None: it decides by itself). `root` is the path
    before the version; `names` say what is changed in its answers. `grant` is how a caller is trusted there,
    None where the caller's own token is.
    """

    site: str
    service_type: str
    origin: Origin
    root: bytes
    url: str
    learnt: Learnt
    zones: Mapping[str, str | None] = field(default_factory=dict)
    names: tuple[Names, ...] = ()
    # What changes ids in answers for a project and a call of its (None: as things are now): things of several
    # sites that are one there, and servers whose id is another one.
    same: Callable[[str, Any], Callable[[bytes], bytes] | None] | None = None
    grant: Grant | None = None
    head_end: bytes = field(init=False)
    logged: bytes = field(init=False)  # the site's name as it stands in a line of the access log

    def __post_init__(self) -> None:
        self.logged = msgspec.json.encode(self.site)
        self.head_end = b" HTTP/1.1\r\nHost: %b\r\n" % self.origin.netloc

    @property
    def links(self) -> Links:
        """What is changed of the links in its answers."""
        return self.learnt.links

    @property
    def versions(self) -> Versions | None:
        """The range of microversions, None while it is not known."""
        return self.learnt.versions

    @property
    def latest(self) -> tuple[int, int] | None:
        """The newest microversion that every enabled site has."""
        return self.learnt.latest

    def granted(self, grant: Grant) -> "Endpoint":
        """The same endpoint as a caller uses it that acts by a grant."""
        view = grant.views.get(self)
        if view is None:
            view = grant.views[self] = replace(self, grant=grant)
        return view


State = Literal["enabled", "draining", "maintenance"]


@dataclass(slots=True, kw_only=True, eq=False)
class Site:
    """One (cloud, region) pair. `zones` are Atoll's zones in it, and what the operator says of each.

    `cloud` is None where the site shares its Keystone with the clients. `reason`, `since` (seconds since
    1970) and `by` are the operator's, of the state. `trouble` says why nobody can be logged in at its cloud.
    """

    name: str
    number: int
    region: str
    cloud: str | None = None
    state: State = "enabled"
    reason: str = ""
    since: float | None = None
    by: str = ""
    trouble: str = ""
    findings: int = 0  # of the last check
    full: tuple[float, str] | None = (
        None  # when (seconds since 1970) it last had no room for a create, its words
    )
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    zones: Mapping[str, object] = field(default_factory=dict)
    backup_store: str = ""
    """Sites of one name have one store of Cinder's backups; "": nobody said so."""

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
        return endpoint is not None and endpoint.origin.breaker.closed and not self.trouble

    def unsteady(self, service_type: str) -> str:
        """Why the service cannot be counted on although it may answer; "" where it can."""
        endpoint = self.endpoints.get(service_type)
        return endpoint.origin.unsteady if endpoint is not None else ""

    @property
    def notice(self) -> str:
        """Why nothing is changed there, in words that go after "is"; "" where things are."""
        if self.state != "maintenance":
            return ""
        return f"in maintenance ({self.reason})" if self.reason else "in maintenance"


class ByName(dict[str, Site]):
    """The sites by name, in their order.

    A site that was removed is gone for all that looks for one, and still there by `[]` for the requests that
    had begun with it.
    """

    def __init__(self, sites: Mapping[str, Site]) -> None:
        super().__init__(sites)
        self.gone: dict[str, Site] = {}

    def __missing__(self, name: str) -> Site:
        return self.gone[name]


@dataclass(slots=True)
class Sites:
    """All registered sites, in their order; changed in place, so that `by_name` may be kept."""

    by_name: ByName
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
