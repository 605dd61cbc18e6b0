"""The settings: what the configuration may say, as frozen Structs. Checks nothing by itself, see `config`.

The docstring under each field is its reference: `config_reference` hands them out, a page is made of that.
Say the unit and the consequence.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

OTHER_SERVICES: Final = (
    "placement", "orchestration", "load-balancer", "dns", "key-manager", "object-store", "baremetal",
    "baremetal-introspection", "accelerator", "backup", "clustering", "container-infrastructure-management",
    "data-processing", "database", "event", "instance-ha", "message", "metric", "monitoring",
    "nfv-orchestration", "optimization", "rating", "reservation", "root-cause-analysis", "search",
    "shared-file-system", "workflow",
)  # fmt: skip
"""The official types of what Atoll serves beside the five of the next line."""

SERVICES: Final = ("compute", "block-storage", "image", "network", "identity", *OTHER_SERVICES)
"""The service types that a site can have an endpoint of."""

Seconds = Annotated[float, Meta(gt=0, le=86400)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class Secret(str):
    """Text that its repr does not show: it must not get into logs and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


class Fault(NamedTuple):
    """Something wrong in the configuration."""

    place: str
    """`sites.paris.endpoints.compute`, or `line 3, column 5` where it is no TOML."""
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class ConfigError(Exception):
    """The configuration cannot be used; `faults` has all that is wrong with it."""

    def __init__(self, source: str, faults: list[Fault]) -> None:
        super().__init__("\n".join(f"{source}: {fault}" for fault in faults))
        self.source = source
        self.faults = faults


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Serve HTTPS instead of HTTP."""

    cert_file: Annotated[str, Meta(min_length=1)]
    """Path of the certificate chain, PEM."""
    key_file: Annotated[str, Meta(min_length=1)]
    """Path of the key, PEM; must not be readable by others."""


class Gateway(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What clients see of Atoll."""

    listen: tuple[str, ...] = ("127.0.0.1:8774",)
    """`address:port`, or a list of them, that Atoll listens at. Port 0 takes a free one."""
    public_url: str = ""
    """How clients reach Atoll; every link and the catalog begin with it. Default: from the first `listen`."""
    region: Annotated[str, Meta(min_length=1, max_length=255)] = "Atoll"
    """The one region name in the catalog."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Processes that share the listening sockets. More than one needs more than one core to be of use."""
    partial: Literal["allow", "strict"] = "allow"
    """Whether a list without one of the sites is an answer (with `X-Atoll-Missing-Sites`) or a 503."""
    access_log: Annotated[str, Meta(min_length=1)] = "stdout"
    """`stdout`, `none` or the path of a file: one line per request."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto` is `console` on a terminal and `json` otherwise."""
    drain_seconds: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    """Seconds that requests under way get to finish when Atoll is stopped; then they are cut."""
    admin_roles: Annotated[tuple[str, ...], Meta(min_length=1)] = ("admin",)
    """Roles that make a caller an administrator in Atoll's own checks."""
    tls: Tls | None = None
    """Certificate and key. Without them Atoll serves plain HTTP."""


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose tokens are believed."""

    mode: Literal["keystone", "built-in"] = "keystone"
    """`keystone`: those of a Keystone that is there already. `built-in`: Atoll is the clients' Keystone, for
    one person or a small team whose clouds share none."""
    auth_url: str = ""
    """`keystone` only, and required there: where tokens are validated, `http://keystone:5000/v3`."""
    verify: bool = True
    """Whether the certificates of that Keystone, and of the sites without a cloud, are checked."""
    cacert: str = ""
    """Path of the authorities (PEM) that they are checked against, where the machine's do not do."""
    token_cache_seconds: Annotated[float, Meta(ge=0, le=3600)] = 60.0
    """Seconds a validated token is believed: so long one that a Keystone revoked may still work. The built-in
    identity forgets at once."""
    token_seconds: Annotated[float, Meta(ge=60, le=604_800)] = 3600.0
    """`built-in` only: seconds a token lives."""


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where locations are kept."""

    url: Secret = Secret()
    """A database URL, or `env:NAME` for a variable that holds one (it may have a password in it).
    Default: `sqlite:///$XDG_STATE_HOME/atoll/atoll.db`, with `~/.local/state` where that is not set."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every bound, so that one client or one slow site does not take the rest along."""

    deadline_seconds: Seconds = 60.0
    """Seconds for a whole request, searches and all pages of a list included. Streamed bodies are exempt."""
    connect_seconds: Seconds = 3.0
    """Seconds to connect to a site; a site that takes longer is away for this request."""
    outcome_seconds: Seconds = 180.0
    """Seconds that a site is looked at for what a create whose answer was lost may have made there."""
    site_connections: Count = 100
    """Connections to one site from one process: the share of Atoll that one slow site can hold."""
    site_queue: Count = 1000
    """Requests that may wait for a connection to one site; any more are answered 503 at once."""
    fan_out_per_second: Annotated[float, Meta(gt=0)] = 50.0
    """Searches and lists over sites that a project may start each second; more are answered 429."""
    fan_out_burst: Count = 200
    """How many of them it may start at once after a pause."""
    page_limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    """Items in one page, whatever `limit` asks for, as the services' own `max_limit`."""
    body_bytes: Annotated[int, Meta(ge=1024)] = 10_485_760
    """Size of a body that Atoll must read to decide; larger ones are 413. Streamed ones have no limit."""
    upload_bytes: Annotated[int, Meta(ge=1024)] = 1_099_511_627_776
    """Size of an image's data in one upload; larger ones are 413, at once where their length says so. The
    default is Glance's own `image_size_cap`, 1 TiB."""
    header_bytes: Annotated[int, Meta(ge=8192, le=1_048_576)] = 65_536
    """Size of all the headers of a request; more are 431."""
    private_addresses: bool = False
    """Whether what others name may be at a loopback, link-local or private address: a cloud or site added
    through the API, webhooks of the audit and of runs. A cloud or site of the configuration may be."""


class Cloud(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Keystone that does not know the clients: Atoll has credentials there, or it believes theirs."""

    name: str = ""
    """The name in `[clouds.NAME]`: letters, digits, `.`, `_` and `-`."""
    auth_url: str
    """Its Keystone, with the version: `https://tokyo.example:5000/v3`."""
    trust: Literal["credentials", "federated"] = "credentials"
    """`credentials`: each project gives Atoll one. `federated`: this Keystone is a service provider of the
    clients' (Keystone to Keystone), and a caller's own token becomes one of its own."""
    service_provider: Annotated[str, Meta(max_length=255)] = ""
    """`federated` only, and required there: the id of this Keystone in the clients' Keystone
    (`openstack service provider list`). What that says of its URLs must be what is said here."""
    sp_url: str = ""
    """`federated` only: where assertions are handed in, `https://tokyo.example:5000/Shibboleth.sso/SAML2/ECP`.
    Default: where the clients' Keystone says, if that is at the host and port of `auth_url`."""
    project_domain: Annotated[str, Meta(max_length=255)] = ""
    """`federated` only: name or id of the domain there, in which a project has the name that it has for the
    clients. Default: the one project of that name that the caller may use there."""
    projects: Mapping[str, str] = {}
    """`federated` only: the ids there of projects that have another name there, by the clients' ids."""
    verify: bool = True
    """Whether the certificates of its Keystone and of all its sites' endpoints are checked."""
    cacert: str = ""
    """Path of the authorities (PEM) that they are checked against, where the machine's do not do."""
    cert: str = ""
    """Path of the certificate (PEM) that Atoll shows to its Keystone and endpoints, where they want one."""
    key: str = ""
    """Path of the key of that certificate, without a password; default: it is in the same file."""


class Secrets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What credentials, and what is secret in runs (`user_data`), are kept under."""

    key: tuple[str, ...] = ()
    """`file:/path` or `env:NAME`, or a list of them, the newest first: it seals, older ones only open. A file
    must belong to Atoll's user and be readable by nobody else. Without one, credentials cannot be added;
    what is secret in runs is under a key made beside a SQLite file, and refused where the store is another
    database."""


class Credential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a project logs in at a cloud: by reference only."""

    cloud: str
    """The cloud."""
    project_id: Annotated[str, Meta(min_length=1, max_length=64)]
    """The clients' project that uses it."""
    clouds_yaml: Annotated[str, Meta(min_length=1)]
    """An entry of the `clouds.yaml` that Atoll finds, with `secure.yaml` beside it."""
    admin: bool = False
    """Whether it is an administrator's there; used only for what administrators of Atoll ask."""
    admin_for_members: bool = False
    """Whether one that is an administrator's there by its roles, and not marked so, is used for callers
    without an admin role too: they then see, and may change, what is of all projects of that cloud."""


class Audit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who did what: an event in the form of CADF for each request that changes something."""

    file: str = ""
    """Path of a file that gets one JSON event a line, readable by its owner only. Rename it to rotate it."""
    webhook: str = ""
    """An http or https URL that is sent events in JSON arrays of up to 100, soon after the fact."""
    webhook_secret: Secret = Secret()
    """`env:NAME` of a variable with a secret: each batch then has an `X-Atoll-Signature: sha256=…` (HMAC)."""
    reads: bool = False
    """Whether reads count too. Reads of one resource on the shortest way are in the access log only."""


class Placement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a site is chosen for what names neither zone nor anything that is in a site."""

    default_site: str = ""
    """The site for what belongs to no other. Default: the first one."""
    together: Annotated[float, Meta(ge=0, le=1e6)] = 10.0
    """Points for the site of the last thing made for the project."""
    spread: Annotated[float, Meta(ge=0, le=1e6)] = 1.0
    """Points for the site that took least of what was made in the last hour; others get their part."""
    follow: Annotated[float, Meta(ge=0, le=1e6)] = 2.0
    """Points for the site where the last project began, less than a minute ago: projects that begin together
    may have to share things. None once that site took more than its share by 20 things and 2 %."""
    image_sites: Literal["on-demand", "one", "all"] = "on-demand"
    """Where the bytes of an image go whose create does not say it (`atoll_sites`): to one site, or to all.
    With `on-demand` they go to one, and are copied to another when a server is created there."""
    bring: tuple[Literal["image", "flavor", "keypair"], ...] = ("image", "flavor", "keypair")
    """What a create of a server brings to its site where that lacks it, by a run; images only where
    `image_sites` is `on-demand`."""


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A site: a region of a cloud. The order of the sites in the file is the order of sites."""

    name: str = ""
    """The name in `[sites.NAME]`: letters, digits, `.`, `_` and `-`. Users see it in messages."""
    region: Annotated[str, Meta(min_length=1, max_length=255)]
    """The name of the region in the site's own catalog."""
    number: Annotated[int, Meta(ge=0, le=8191)] = -1
    """The number in the upper bits of the site's integer ids; must never change while anybody keeps such ids.
    Default: the place in the file, from 0."""
    state: Literal["enabled", "draining", "maintenance"] = "enabled"
    """`draining`: nothing new is placed there. `maintenance`: nothing is changed there, what can be read is.
    Holds until `atoll site` says otherwise."""
    endpoints: Mapping[str, str]
    """The URL of each service type: `compute`, `block-storage`, `image`, `network`. Tokens go only there."""
    cloud: str = ""
    """The cloud, in `[clouds.NAME]`, whose Keystone the site believes. Default: the clients' own."""
    backup_store: Annotated[str, Meta(max_length=63)] = ""
    """A name for where its Cinder keeps backups. Sites of one name have one store, the same driver to one
    place: each can read what another wrote, and volumes go from one to the other by backups."""


ZoneName = Annotated[str, Meta(min_length=1, max_length=255)]


class Zone(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An availability zone as users pick it. A site without any gets one of its own name."""

    name: str = ""
    """The name in `[zones.NAME]`."""
    site: str
    """The site that the zone is in."""
    zone: ZoneName | Mapping[str, ZoneName] | None = None
    """The zone of that site: one name for all services, or `{compute = "az1", block-storage = "nova"}`. A
    service without one decides by itself."""

    def at(self, service_type: str) -> str | None:
        """The zone in the words of one service of the site; None where it decides by itself."""
        if isinstance(self.zone, Mapping):
            return self.zone.get(service_type)
        return self.zone


class Equivalents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Resources of several sites that are one thing to the user."""

    resource: Literal["network", "subnet", "volume_type", "image", "flavor", "security_group"]
    """What they are."""
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    """What the one thing is called."""
    ids: Mapping[str, str]
    """Its id in each site."""


class Runs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Work across sites."""

    clouds_yaml: str = ""
    """An entry of the `clouds.yaml` that Atoll finds: Atoll's own user at the clients' Keystone, an
    administrator there. By it runs do at the sites of that Keystone what no member's token may, such as
    copying an image with its owner. At a cloud with a Keystone of its own an administrator's credential does
    that."""
    at_once: Annotated[int, Meta(ge=1, le=1000)] = 64
    """Runs that one process works on at a time."""
    lease_seconds: Annotated[float, Meta(ge=1, le=60)] = 3.0
    """Seconds after which a process that shows no life is taken for dead, and its runs are others'."""
    copies_per_site: Annotated[int, Meta(ge=1, le=1000)] = 4
    """Copies of images and volumes that one site takes at a time; more wait."""
    copies_per_link: Annotated[int, Meta(ge=1, le=1000)] = 2
    """Copies of images and volumes that go from one site to another at a time; more wait."""
    webhooks: Annotated[tuple[str, ...], Meta(max_length=8)] = ()
    """Up to 8 http or https URLs that are sent what happens to runs: each line of their logs, at least once,
    in JSON arrays of up to 100."""
    webhook_secret: Secret = Secret()
    """`env:NAME` of a variable with a secret: each array then has an `X-Atoll-Signature: sha256=…` (HMAC)."""
    transport_url: Secret = Secret()
    """`env:NAME` of a variable with a transport URL of oslo.messaging (`rabbit://user:password@host:5672/`),
    or `file:PATH` of a file with one that others may not read: notifications of the same go there. Needs the
    extra `notifications`."""
    notification_topics: Annotated[tuple[str, ...], Meta(min_length=1, max_length=8)] = ("notifications",)
    """Their topics, as `[oslo_messaging_notifications] topics` of the services."""
    coordination_url: Secret = Secret()
    """`env:NAME` or `file:PATH`, likewise, of a coordinator as tooz names it (`etcd3+http://host:2379`,
    `redis://…`, `zookeeper://…`): workers are members of a group there. Needs the extra `coordination`."""
    coordination_group: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]+$")] = "atoll"
    """The name of that group: another one for gateways with another database."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration, defaults filled in and checked."""

    gateway: Gateway
    identity: Identity
    store: Store
    limits: Limits
    placement: Placement
    audit: Audit
    sites: Mapping[str, Site]
    zones: Mapping[str, Zone]
    equivalents: tuple[Equivalents, ...] = ()
    clouds: Mapping[str, Cloud] = MappingProxyType({})
    secrets: Secrets = Secrets()
    credentials: tuple[Credential, ...] = ()
    runs: Runs = Runs()

    def zone_sites(self) -> dict[str, str]:
        """Give every availability zone and its site."""
        return {name: zone.site for name, zone in self.zones.items()}


class FileReference(NamedTuple):
    """A file the configuration names, for whoever may look at files."""

    place: str
    path: str
    secret: bool


TABLES: Final[Mapping[str, type[msgspec.Struct]]] = MappingProxyType(
    {
        "gateway": Gateway,
        "identity": Identity,
        "store": Store,
        "limits": Limits,
        "placement": Placement,
        "audit": Audit,
        "sites": Site,
        "zones": Zone,
        "equivalents": Equivalents,
        "clouds": Cloud,
        "secrets": Secrets,
        "credentials": Credential,
        "runs": Runs,
    }
)
