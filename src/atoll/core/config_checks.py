"""What single values of the configuration cannot know: how they fit together. Also fills in the defaults.

Called by `config` only. A check passes over what is missing because of a fault put down already.
"""

import ipaddress
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import msgspec

from atoll.core.addresses import checked_url
from atoll.core.errors import BadRequest
from atoll.core.settings import (
    SERVICES,
    Audit,
    Cloud,
    Config,
    Credential,
    Equivalents,
    Fault,
    Gateway,
    Identity,
    Limits,
    Placement,
    Runs,
    Secret,
    Secrets,
    Site,
    Store,
    Zone,
)

_SITE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""Site names stand in header values, in `host@site` and in lists with commas."""

_ALIASES: Final = {
    "volume": "block-storage",
    "volumev3": "block-storage",
    "block-store": "block-storage",
    "cinder": "block-storage",
    "nova": "compute",
    "glance": "image",
    "neutron": "network",
    "keystone": "identity",
}

_STORES: Final = ("sqlite", "postgresql", "mysql", "mariadb")


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What could be read; a table is None if it has a fault, and faulty sites are not there."""

    gateway: Gateway | None
    identity: Identity | None
    store: Store | None
    limits: Limits | None
    placement: Placement | None
    audit: Audit | None
    sites: Mapping[str, Site]
    zones: Mapping[str, Zone]
    equivalents: tuple[Equivalents, ...]
    clouds: Mapping[str, Cloud]
    secrets: Secrets | None
    runs: Runs | None
    credentials: tuple[Credential, ...]
    broken: frozenset[str]
    """The places of the faults found so far."""

    def lacks_sites(self) -> bool:
        """Whether some site may be missing here only because of a fault in it."""
        return any(place == "sites" or place.startswith("sites.") for place in self.broken)


def check(draft: Draft, env: Mapping[str, str]) -> list[Fault]:
    """Give every fault of how the parts fit together."""
    checks: list[Callable[[Draft], list[Fault]]] = [
        _check_gateway,
        _check_identity,
        _check_sites,
        _check_numbers,
        _check_endpoints,
        _check_default_site,
        _check_zones,
        _check_equivalents,
        _check_clouds,
        _check_credentials,
    ]
    faults = [fault for one in checks for fault in one(draft)]
    return faults + _check_secrets(draft, env) + _check_store(draft, env) + _check_webhooks(draft, env)


def finish(draft: Draft, env: Mapping[str, str]) -> Config:
    """Fill in the defaults of a draft without faults."""
    assert draft.gateway and draft.identity and draft.store  # noqa: S101, PT018
    assert draft.limits and draft.placement and draft.audit  # noqa: S101, PT018
    gateway = draft.gateway
    public_url = gateway.public_url or _url_of(gateway)
    names = list(draft.sites)
    sites = {
        name: msgspec.structs.replace(
            site,
            number=_number(site, place),
            endpoints=MappingProxyType({kind: url.rstrip("/") for kind, url in site.endpoints.items()}),
        )
        for place, (name, site) in enumerate(draft.sites.items())
    }
    return Config(
        gateway=msgspec.structs.replace(gateway, public_url=public_url.rstrip("/")),
        identity=msgspec.structs.replace(draft.identity, auth_url=draft.identity.auth_url.rstrip("/")),
        store=Store(url=Secret(_store_url(draft.store, env) or "")),
        limits=draft.limits,
        placement=msgspec.structs.replace(
            draft.placement, default_site=draft.placement.default_site or names[0]
        ),
        audit=msgspec.structs.replace(draft.audit, webhook_secret=_secret(draft.audit.webhook_secret, env)),
        sites=MappingProxyType(sites),
        zones=MappingProxyType(_zones(draft)),
        equivalents=draft.equivalents,
        clouds=MappingProxyType(
            {
                name: msgspec.structs.replace(cloud, auth_url=cloud.auth_url.rstrip("/"))
                for name, cloud in draft.clouds.items()
            }
        ),
        secrets=draft.secrets or Secrets(),
        credentials=draft.credentials,
        runs=_runs(draft.runs or Runs(), env),
    )


def _check_gateway(draft: Draft) -> list[Fault]:
    gateway = draft.gateway
    if gateway is None:
        return []
    faults = []
    hosts = []
    for address in gateway.listen:
        host = _host(address)
        if host is None:
            faults.append(Fault("gateway.listen", f"{address} is not address:port, such as 127.0.0.1:8774"))
        else:
            hosts.append(ipaddress.ip_address(host))
    if not gateway.listen:
        faults.append(Fault("gateway.listen", "is empty: nobody could reach Atoll"))
    if faults:
        return faults
    if len(set(gateway.listen)) < len(gateway.listen):
        faults.append(Fault("gateway.listen", "has an address twice"))
    return faults + _check_public_url(gateway, hosts)


def _check_public_url(
    gateway: Gateway, hosts: list[ipaddress.IPv4Address | ipaddress.IPv6Address]
) -> list[Fault]:
    place = "gateway.public_url"
    if not gateway.public_url:
        if hosts[0].is_unspecified:
            return [Fault(place, f"is needed, since clients cannot connect to {gateway.listen[0]}")]
        return []
    wrong = _url_fault(gateway.public_url)
    if wrong:
        return [Fault(place, wrong)]
    url = urlsplit(gateway.public_url)
    faults = []
    if gateway.tls is not None and url.scheme == "http":
        faults.append(Fault(place, "is http, but with gateway.tls Atoll serves https only"))
    to_loopback = url.hostname == "localhost" or _is_loopback(url.hostname or "")
    if to_loopback and not any(host.is_loopback or host.is_unspecified for host in hosts):
        faults.append(Fault(place, f"is a loopback address, but Atoll listens at {gateway.listen[0]} only"))
    return faults


def _check_identity(draft: Draft) -> list[Fault]:
    identity = draft.identity
    if identity is None:
        return []
    place = "identity.auth_url"
    if identity.mode == "built-in":
        faults = [Fault(place, "has no meaning with the built-in identity")] if identity.auth_url else []
        return faults + _check_built_in(draft)
    if not identity.auth_url:
        return [Fault(place, "is missing")]
    wrong = _auth_url_fault(identity.auth_url)
    return [Fault(place, wrong)] if wrong else []


def _check_built_in(draft: Draft) -> list[Fault]:
    """Passwords do not go over a network in the clear, and no site knows the tokens."""
    faults = []
    gateway = draft.gateway
    if gateway is not None and gateway.tls is None:
        hosts = [_host(address) for address in gateway.listen]
        faults += [
            Fault(
                "gateway.listen", f"{host} is not a loopback address: the built-in identity needs gateway.tls"
            )
            for host in hosts
            if host is not None and not _is_loopback(host)
        ]
    faults += [
        Fault(f"sites.{name}.cloud", "is needed: no site believes the tokens of the built-in identity")
        for name, site in draft.sites.items()
        if not site.cloud
    ]
    return faults


def _auth_url_fault(url: str) -> str:
    wrong = _url_fault(url)
    if not wrong and not urlsplit(url).path.rstrip("/").endswith("/v3"):
        wrong = f"has no version: did you mean {url.rstrip('/')}/v3?"
    return wrong


def _check_sites(draft: Draft) -> list[Fault]:
    faults = []
    if not draft.sites and not draft.lacks_sites():
        faults.append(Fault("sites", "is missing: name at least one site, as [sites.NAME]"))
    for name, site in draft.sites.items():
        faults += site_faults(name, site)
    return faults


def site_faults(name: str, site: Site) -> list[Fault]:
    """What is wrong with the name and the endpoints of one site."""
    faults = []
    if not _SITE_NAME.fullmatch(name):
        faults.append(
            Fault(f'sites."{name}"', "is not a name of letters, digits, '.', '_' and '-' (at most 63)")
        )
    if not site.endpoints:
        faults.append(Fault(f"sites.{name}.endpoints", "is empty: name at least one, such as compute"))
    for service, url in site.endpoints.items():
        place = f"sites.{name}.endpoints.{service}"
        if service not in SERVICES:
            meant = _ALIASES.get(service)
            hint = f"did you mean {meant}?" if meant else f"there are {', '.join(SERVICES)}"
            faults.append(Fault(place, f"is not known: {hint}"))
        wrong = _url_fault(url)
        if wrong:
            faults.append(Fault(place, wrong))
    return faults


def _check_numbers(draft: Draft) -> list[Fault]:
    faults = []
    owners: dict[int, str] = {}
    for place, (name, site) in enumerate(draft.sites.items()):
        number = _number(site, place)
        if number in owners:
            faults.append(
                Fault(f"sites.{name}.number", f"is {number}, as that of {owners[number]}: give each its own")
            )
        owners.setdefault(number, name)
    # Without the faulty sites the places are others, and so are the numbers that follow from them.
    return [] if draft.lacks_sites() else faults


def _check_endpoints(draft: Draft) -> list[Fault]:
    faults = []
    owners: dict[tuple[str, str], str] = {}
    for name, site in draft.sites.items():
        for service, url in site.endpoints.items():
            if service == "identity":  # the sites of one cloud share it
                continue
            key = (service, url.rstrip("/").lower())
            if key in owners:
                message = f"is the endpoint of site {owners[key]} too: everything there would be listed twice"
                faults.append(Fault(f"sites.{name}.endpoints.{service}", message))
            owners.setdefault(key, name)
    return faults


def _check_default_site(draft: Draft) -> list[Fault]:
    if draft.placement is None or not draft.placement.default_site:
        return []
    return _unknown_site(draft, "placement.default_site", draft.placement.default_site)


# The services that know availability zones.
WITH_ZONES = frozenset({"compute", "block-storage", "network"})


def _check_zones(draft: Draft) -> list[Fault]:
    faults = []
    owners: dict[tuple[str, str], str] = {}
    mapped = {zone.site for zone in draft.zones.values()}
    for name, zone in draft.zones.items():
        place = f"zones.{name}"
        if not name or ":" in name or len(name) > 255:
            faults.append(Fault(f'zones."{name}"', "is not a zone name: 1 to 255 characters without ':'"))
        faults += _unknown_site(draft, f"{place}.site", zone.site)
        if isinstance(zone.zone, Mapping) and (odd := sorted(set(zone.zone) - WITH_ZONES)):
            known = ", ".join(sorted(WITH_ZONES))
            faults.append(Fault(f"{place}.zone", f"{', '.join(odd)} has no zones: {known} have"))
        target = (zone.site, str(zone.zone))
        if target in owners:
            faults.append(Fault(place, f"is the same as zones.{owners[target]}: a zone has one name"))
        owners.setdefault(target, name)
        if name in draft.sites and name != zone.site and name not in mapped:
            message = (
                f"is in {zone.site}, but is the name of a site that has no other zone: give that one too"
            )
            faults.append(Fault(place, message))
    return faults


def _check_equivalents(draft: Draft) -> list[Fault]:
    faults = []
    names: set[tuple[str, str]] = set()
    owners: dict[tuple[str, str, str], str] = {}
    for place, same in enumerate(draft.equivalents):
        path = f"equivalents[{place}]"
        if (same.resource, same.name) in names:
            faults.append(Fault(f"{path}.name", f"{same.resource} {same.name} is declared twice"))
        names.add((same.resource, same.name))
        if len(same.ids) < 2:
            faults.append(Fault(f"{path}.ids", "names fewer than two sites: there is nothing to be the same"))
        for site, value in same.ids.items():
            faults += _unknown_site(draft, f"{path}.ids.{site}", site)
            key = (same.resource, site, value)
            if key in owners:
                faults.append(Fault(f"{path}.ids.{site}", f"{value} is {owners[key]} already"))
            owners.setdefault(key, same.name)
            if not value:
                faults.append(Fault(f"{path}.ids.{site}", "is empty"))
    return faults


def _check_clouds(draft: Draft) -> list[Fault]:
    """What is wrong with the clouds. Two may be at one Keystone: a project of it in each, and other sites."""
    faults = []
    for name, cloud in draft.clouds.items():
        if not _SITE_NAME.fullmatch(name):
            faults.append(
                Fault(f'clouds."{name}"', "is not a name of letters, digits, '.', '_' and '-' (at most 63)")
            )
        place = f"clouds.{name}.auth_url"
        wrong = _auth_url_fault(cloud.auth_url)
        if wrong:
            faults.append(Fault(place, wrong))
        faults += _federation_faults(draft, f"clouds.{name}", cloud)
        if cloud.key and not cloud.cert:
            faults.append(Fault(f"clouds.{name}.key", "is the key of no certificate: give cert too"))
    for name, site in draft.sites.items():
        faults += _unknown_cloud(draft, f"sites.{name}.cloud", site.cloud) if site.cloud else []
    return faults


def _federation_faults(draft: Draft, place: str, cloud: Cloud) -> list[Fault]:
    if cloud.trust != "federated":
        only = ("service_provider", "sp_url", "project_domain", "projects")
        return [Fault(f"{place}.{one}", 'needs trust = "federated"') for one in only if getattr(cloud, one)]
    faults = []
    identity = draft.identity
    if identity is not None and identity.mode != "keystone":
        faults.append(Fault(f"{place}.trust", 'is federated, which needs identity.mode = "keystone"'))
    elif identity is not None and identity.auth_url.rstrip("/").lower() == cloud.auth_url.rstrip("/").lower():
        faults.append(Fault(f"{place}.auth_url", "is the clients' own Keystone: its sites need no cloud"))
    if not cloud.service_provider:
        faults.append(Fault(f"{place}.service_provider", "is missing: its id in the clients' Keystone"))
    if cloud.sp_url and (wrong := _url_fault(cloud.sp_url)):
        faults.append(Fault(f"{place}.sp_url", wrong))
    return faults


def _check_secrets(draft: Draft, env: Mapping[str, str]) -> list[Fault]:
    faults = []
    for reference in draft.secrets.key if draft.secrets is not None else ():
        form, _, name = reference.partition(":")
        if form not in {"file", "env"} or not name:
            # It is not shown: it may be the key itself.
            faults.append(Fault("secrets.key", "a key is given as file:PATH or env:NAME, never itself"))
        elif form == "env" and not env.get(name):
            faults.append(Fault("secrets.key", f"the environment variable {name} is not set"))
    return faults


def _check_credentials(draft: Draft) -> list[Fault]:
    faults = []
    known: set[tuple[str, str, bool]] = set()
    for place, one in enumerate(draft.credentials):
        path = f"credentials[{place}]"
        faults += _unknown_cloud(draft, f"{path}.cloud", one.cloud)
        if one.cloud in draft.clouds and draft.clouds[one.cloud].trust == "federated":
            faults.append(Fault(f"{path}.cloud", f"{one.cloud} is federated: it needs no credentials"))
        key = (one.cloud, one.project_id, one.admin)
        if key in known:
            faults.append(Fault(path, f"is a second one of the project {one.project_id} at {one.cloud}"))
        known.add(key)
    return faults


def _unknown_cloud(draft: Draft, place: str, cloud: str) -> list[Fault]:
    known = set(draft.clouds) | {path.split(".")[1] for path in draft.broken if path.startswith("clouds.")}
    if cloud in known:
        return []
    there = ", ".join(sorted(known)) or "none"
    return [Fault(place, f"there is no cloud {cloud} in the configuration: there are {there}")]


def _check_store(draft: Draft, env: Mapping[str, str]) -> list[Fault]:
    if draft.store is None:
        return []
    place = "store.url"
    if draft.store.url.startswith("env:") and not env.get(draft.store.url[4:]):
        return [Fault(place, f"the environment variable {draft.store.url[4:]} is not set")]
    url = _store_url(draft.store, env)
    if url is None:
        return [Fault(place, "is needed, since neither XDG_STATE_HOME nor HOME is set")]
    scheme = url.partition("://")[0].partition("+")[0]
    if "://" not in url or scheme not in _STORES:
        # The URL is not shown: it may hold a password.
        return [Fault(place, f"is not a database URL of {', '.join(_STORES[:-1])}: write sqlite:///PATH")]
    return []


BUSES: Final = ("rabbit",)
COORDINATORS: Final = ("etcd3+http", "etcd3+https", "redis", "zookeeper")


def _check_webhooks(draft: Draft, env: Mapping[str, str]) -> list[Fault]:
    faults = []
    if draft.audit is not None:
        urls = [draft.audit.webhook] if draft.audit.webhook else []
        faults += _webhook_faults("audit.webhook", urls, draft.audit.webhook_secret, env)
    if draft.runs is not None:
        faults += _webhook_faults("runs.webhooks", draft.runs.webhooks, draft.runs.webhook_secret, env)
        faults += _secret_url_faults("runs.transport_url", draft.runs.transport_url, env, BUSES)
        faults += _secret_url_faults("runs.coordination_url", draft.runs.coordination_url, env, COORDINATORS)
    return faults


def _webhook_faults(place: str, urls: Sequence[str], secret: str, env: Mapping[str, str]) -> list[Fault]:
    faults = []
    for url in urls:
        try:
            checked_url(url)
        except BadRequest as error:
            faults.append(Fault(place, str(error)))
    if len(set(urls)) < len(urls):
        faults.append(Fault(place, "has a URL twice"))
    place = f"{place.partition('.')[0]}.webhook_secret"
    return faults + _reference_faults(place, secret, env)


def _reference_faults(place: str, secret: str, env: Mapping[str, str]) -> list[Fault]:
    if secret and not secret.startswith("env:"):
        return [Fault(place, "is not to stand here: write env:NAME")]
    if secret and not env.get(secret[4:]):
        return [Fault(place, f"the environment variable {secret[4:]} is not set")]
    return []


def _secret_url_faults(
    place: str, reference: str, env: Mapping[str, str], schemes: Collection[str]
) -> list[Fault]:
    """What is wrong with a URL that holds a password; what a file holds is not looked at."""
    if not reference or (reference.startswith("file:") and len(reference) > len("file:")):
        return []
    if not reference.startswith("env:"):
        return [Fault(place, "is not to stand here: write env:NAME or file:PATH")]
    faults = _reference_faults(place, reference, env)
    if not faults and env[reference[4:]].partition("://")[0] not in schemes:
        # The URL is not shown: it may hold a password.
        faults = [Fault(place, f"is not a URL of {', '.join(f'{one}://' for one in schemes)}")]
    return faults


def _runs(runs: Runs, env: Mapping[str, str]) -> Runs:
    return msgspec.structs.replace(
        runs,
        webhook_secret=_secret(runs.webhook_secret, env),
        transport_url=_secret_url(runs.transport_url, env),
        coordination_url=_secret_url(runs.coordination_url, env),
    )


def _secret_url(reference: str, env: Mapping[str, str]) -> Secret:
    """The URL, or `file:PATH` as it is: this reads no files."""
    return Secret(reference) if reference.startswith("file:") else _secret(reference, env)


def _secret(reference: str, env: Mapping[str, str]) -> Secret:
    return Secret(env.get(reference.removeprefix("env:"), ""))


def _unknown_site(draft: Draft, place: str, site: str) -> list[Fault]:
    known = set(draft.sites) | {path.split(".")[1] for path in draft.broken if path.startswith("sites.")}
    if site in known:
        return []
    return [Fault(place, f"there is no site {site}: there are {', '.join(sorted(known)) or 'none'}")]


def _zones(draft: Draft) -> dict[str, Zone]:
    mapped = {zone.site for zone in draft.zones.values()}
    unnamed = {name: Zone(name=name, site=name) for name in draft.sites if name not in mapped}
    return {**draft.zones, **unnamed}


def _number(site: Site, place: int) -> int:
    return place if site.number < 0 else site.number


def _store_url(store: Store, env: Mapping[str, str]) -> str | None:
    if store.url.startswith("env:"):
        return env.get(store.url[4:])
    if store.url:
        return str(store.url)
    home = env.get("HOME")
    state = env.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else None)
    return f"sqlite:///{state}/atoll/atoll.db" if state else None


def _url_of(gateway: Gateway) -> str:
    return f"{'https' if gateway.tls else 'http'}://{gateway.listen[0]}"


def _host(address: str) -> str | None:
    """Give the IP address of `address:port`, None if it is none; IPv6 stands in brackets."""
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+)):([0-9]{1,5})", address)
    if match is None or int(match[3]) > 65535:
        return None
    host = "127.0.0.1" if match[2] == "localhost" else match[1] or match[2]
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return None
    return host if (parsed.version == 6) == bool(match[1]) else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _url_fault(text: str) -> str:
    """Say what is wrong with a URL that requests are made of, empty if nothing is."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as exc:
        return f"is not a URL: {exc}"
    if url.scheme not in ("http", "https") or not url.hostname:
        return f"is not an http or https URL: {text!r}"
    if url.username is not None or url.password is not None:
        return "has a user or password in it, which does not belong there"
    if url.query or url.fragment or text.endswith(("?", "#")):
        return "has a query or fragment: give the part up to the version only"
    if port == 0 or re.search(r"[\s\\]|[^\x21-\x7e]", text):
        return f"is not a usable URL: {text!r}"
    return ""
