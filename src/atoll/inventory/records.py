"""What is kept of sites and zones that were set up while Atoll runs."""

from collections.abc import Mapping
from typing import ClassVar, Final, Literal

import msgspec

from atoll.store import Document

State = Literal["enabled", "draining", "maintenance"]


class SiteRecord(Document, frozen=True, kw_only=True):
    """A site that no file declares. `cloud` None: the clients' own Keystone. `added_at`: s since 1970."""

    kind: ClassVar[str] = "site"
    name: str
    region: str
    number: int
    endpoints: Mapping[str, str]
    cloud: str | None = None
    backup_store: str = ""
    added_at: float = 0.0
    added_by: str = ""

    @property
    def key(self) -> str:
        """Its name."""
        return self.name


class SiteStateRecord(Document, frozen=True, kw_only=True):
    """The state an operator gave a site, whoever declares the site. `since`: seconds since 1970."""

    kind: ClassVar[str] = "site_state"
    name: str
    state: State
    reason: str = ""
    since: float
    by: str

    @property
    def key(self) -> str:
        """The site's name."""
        return self.name


class SiteNumberRecord(Document, frozen=True, kw_only=True):
    """A number that a site was given: ids that clients keep may hold it, so no other site ever gets it."""

    kind: ClassVar[str] = "site_number"
    number: int
    name: str

    @property
    def key(self) -> str:
        """The number."""
        return str(self.number)


class ZoneRecord(Document, frozen=True, kw_only=True):
    """An availability zone that no file declares; `zone` as in the configuration."""

    kind: ClassVar[str] = "zone"
    name: str
    site: str
    zone: str | dict[str, str] | None = None

    @property
    def key(self) -> str:
        """Its name."""
        return self.name


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something at a site that is not as it is set up. `what` is a word for programs, `text` for people."""

    what: Literal["endpoint", "zone", "version", "extension", "conflict", "absent", "differs", "not_read"]
    text: str


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What the hypervisors of a site have, and have given, all together."""

    hypervisors: int
    running_vms: int
    vcpus: int
    vcpus_used: int
    memory_mb: int
    memory_mb_used: int
    local_gb: int
    local_gb_used: int


class SiteSeenRecord(Document, frozen=True, kw_only=True):
    """What the last check of a site saw; `at` in seconds since 1970. Nothing is decided by it.

    `extensions` are aliases by service, `capacity` None where no administrator's credential could ask for it.
    """

    kind: ClassVar[str] = "site_seen"
    name: str
    at: float
    findings: tuple[Finding, ...] = ()
    extensions: Mapping[str, tuple[str, ...]] = {}
    capacity: Capacity | None = None

    @property
    def key(self) -> str:
        """The site's name."""
        return self.name


KINDS: Final = (SiteRecord, SiteStateRecord, ZoneRecord)
"""What the sites that are served follow from."""
