"""Looking whether a site is still what is set up of it: reported, never acted on.

Asked by a caller's token, or at a cloud of its own by the credential that Atoll has for the caller.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import structlog

from atoll.core.errors import AtollError, BadSiteAnswer, NotFound, SiteUnavailable
from atoll.gateway.call import Call
from atoll.gateway.fanout import scatter
from atoll.gateway.forward import read_json
from atoll.gateway.parts import Parts
from atoll.gateway.tokens import Tokens
from atoll.inventory.records import Capacity, Finding, SiteSeenRecord
from atoll.same import by_name
from atoll.same.compare import BY_NAME
from atoll.services.catalog import HOMES, SERVICES, resource_named
from atoll.sites.site import Endpoint, Site, root_of

log = structlog.get_logger()

OFFICIAL: Final = {"volumev3": "block-storage", "block-store": "block-storage"}
NAMED: Final = 5
"""Ids and names of a kind that a finding tells; of the rest it tells the number."""

# Where a service tells its zones and extensions, and the shared things that a site may lack.
ZONES: Final = {
    "compute": "/v2.1/os-availability-zone",
    "block-storage": "/v3/{project}/os-availability-zone",
    "network": "/v2.0/availability_zones",
}
EXTENSIONS: Final = {
    "compute": "/v2.1/extensions",
    "block-storage": "/v3/{project}/extensions",
    "network": "/v2.0/extensions",
}
SHARED: Final = {
    "flavor": ("compute", "/v2.1/flavors", "flavors", "id"),
    "volume type": ("block-storage", "/v3/{project}/types", "volume_types", "name"),
}
STATISTICS: Final = "/v2.1/os-hypervisors/statistics"


class _Catalog(msgspec.Struct):
    catalog: list[dict[str, Any]]


class Catalogs:
    """Reads the catalogues of clouds."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def region(self, call: Call, cloud: str | None, region: str) -> dict[str, str]:
        """The URL of each service in a region. Raises NotFound naming the regions that there are."""
        entries = await self._read(call, cloud)
        found = {}
        for service, interfaces in _urls(entries, region).items():
            found[service] = interfaces.get("public") or next(iter(interfaces.values()))
        if not found:
            regions = sorted(
                {str(one.get("region")) for entry in entries for one in entry.get("endpoints", [])}
            )
            raise NotFound(
                f"The catalogue has no region {region} with a service that Atoll knows: there are "
                f"{', '.join(regions) or 'none'}.",
                resource="region",
                id=region,
            )
        return found

    async def findings(self, call: Call, site: Site) -> list[Finding]:
        """What of a site's pinned endpoints is no longer what its catalogue says."""
        there = _urls(await self._read(call, site.cloud), site.region)
        found = []
        for service, endpoint in site.endpoints.items():
            urls = there.get(service)
            if not urls:
                text = f"{service} is not in the catalogue of the region {site.region} any more"
            elif _root(endpoint.url) not in {_root(one) for one in urls.values()}:
                now = ", ".join(sorted(set(urls.values())))
                text = f"{service} is pinned to {endpoint.url}; the catalogue says {now}"
            else:
                continue
            found.append(Finding(what="endpoint", text=text))
        found += [
            Finding(what="endpoint", text=f"{service} is in the catalogue and has no endpoint here")
            for service in there
            if service not in site.endpoints and service in SERVICES
        ]
        return found

    async def _read(self, call: Call, cloud: str | None) -> list[dict[str, Any]]:
        endpoint, token = await self._keystone(call, cloud)
        try:
            return await self._entries(call, endpoint, token)
        finally:
            if cloud is not None:
                endpoint.origin.retire()

    @staticmethod
    async def _entries(call: Call, endpoint: Endpoint, token: bytes) -> list[dict[str, Any]]:
        head = b"GET %b/v3/auth/catalog%bX-Auth-Token: %b\r\nAccept: application/json\r\n\r\n" % (
            endpoint.root,
            endpoint.head_end,
            token,
        )
        response = await endpoint.origin.exchange(b"GET", head, deadline=call.deadline)
        text = await read_json(endpoint, response)
        if response.status != 200:
            raise SiteUnavailable(f"The Keystone answered {response.status} when asked for its catalogue.")
        try:
            return msgspec.json.decode(text, type=_Catalog).catalog
        except msgspec.DecodeError as error:
            raise BadSiteAnswer("The Keystone answered what is not a catalogue.") from error

    async def _keystone(self, call: Call, cloud: str | None) -> tuple[Endpoint, bytes]:
        parts = self._parts
        if cloud is None:
            if isinstance(parts.tokens, Tokens):
                return parts.tokens.endpoint, call.caller.token
            raise NotFound("There is no Keystone of the clients' own: name the cloud.", resource="cloud")
        record = parts.trust.cloud(cloud)
        grant = parts.trust.grants(call.caller, cloud, True) or parts.trust.grants(call.caller, cloud, False)
        if grant is None:
            raise NotFound(
                f"Atoll has no credential of this project for the cloud {cloud}: "
                "`atoll credential add` gives it one.",
                resource="credential",
            )
        endpoint = parts.builder.endpoint(
            cloud, "identity", record.auth_url, cloud=cloud, declared=record.declared
        )
        return endpoint, await grant.fetch()


async def check(parts: Parts, call: Call, site: Site, before: SiteSeenRecord | None) -> SiteSeenRecord:
    """Look at a site; `before` is what the last check saw."""
    call.as_admin = parts.reach.administers(call, site)
    look = _Look(parts, call, site)
    await look.at(Catalogs(parts).findings(call, site), "the catalogue")
    for service in site.endpoints.keys() & ZONES.keys():
        await look.at(look.zones(service), f"the zones of {service}")
    extensions = {}
    for service in site.endpoints.keys() & EXTENSIONS.keys():
        known = before.extensions.get(service, ()) if before is not None else ()
        extensions[service] = await look.extensions(service, known)
    for kind in SHARED:
        await look.at(look.absent(kind), f"every {kind}")
    for resource in sorted(BY_NAME):
        await look.at(look.unlike(resource), f"every {resource.replace('_', ' ')}")
    await look.at(look.conflicts(), "conflicts")
    return SiteSeenRecord(
        name=site.name,
        at=time.time(),
        findings=tuple(look.found),
        extensions=extensions,
        capacity=await look.capacity(),
    )


def tell(seen: SiteSeenRecord) -> None:
    """Write what a check found to the log."""
    for one in seen.findings:
        log.warning("site_drift", site=seen.name, what=one.what, text=one.text[:256])


class _Look:
    def __init__(self, parts: Parts, call: Call, site: Site) -> None:
        self._parts, self._call, self._site = parts, call, site
        self.found: list[Finding] = []

    async def at(self, findings: Any, what: str) -> None:
        """Take in what a look found, or that it could not be made."""
        try:
            self.found += await findings
        except AtollError as error:
            self.found.append(Finding(what="not_read", text=f"{what} could not be read: {error}"))

    async def zones(self, service: str) -> list[Finding]:
        """Zones of the site that nobody can pick, and mapped ones that it does not have."""
        content = await self._get(self._site, service, ZONES[service])
        if service == "network":
            theirs = {str(one.get("name")) for one in content.get("availability_zones", [])}
        else:
            theirs = {str(one.get("zoneName")) for one in content.get("availabilityZoneInfo", [])}
        theirs -= {"internal"}
        if not theirs:
            return []  # a service without zones, which takes any for granted
        mapped = {here: ours for ours, here in self._site.endpoints[service].zones.items()}
        found = [
            Finding(
                what="zone", text=f"{service}: the zone {ours} stands for {here}, which the site has not got"
            )
            for here, ours in mapped.items()
            if here is not None and here not in theirs
        ]
        if None not in mapped:
            found += [
                Finding(what="zone", text=f"{service}: the site's zone {one} is mapped to no zone of Atoll's")
                for one in sorted(theirs - mapped.keys())
            ]
        return found

    async def extensions(self, service: str, known: Iterable[str]) -> tuple[str, ...]:
        """The aliases of the extensions now; those that are gone are found."""
        try:
            content = await self._get(self._site, service, EXTENSIONS[service])
        except AtollError as error:
            text = f"the extensions of {service} could not be read: {error}"
            self.found.append(Finding(what="not_read", text=text))
            return tuple(known)
        now = {str(one.get("alias")) for one in content.get("extensions", [])}
        gone = sorted(set(known) - now)
        if gone:
            self.found.append(Finding(what="extension", text=f"{service} has no longer {_some(gone)}"))
        return tuple(sorted(now))

    async def absent(self, kind: str) -> list[Finding]:
        """Shared things that other sites have and this one has not."""
        service, path, plural, key = SHARED[kind]
        sites = [one for one in self._parts.reach.sites(self._call, service) if one.healthy(service)]
        if self._site not in sites or len(sites) < 2:
            return []
        gathered = await scatter({one.name: self._get(one, service, path) for one in sites})
        if self._site.name not in gathered.answered:
            raise gathered.failed[self._site.name]
        named: dict[str, str] = {}
        for name, content in gathered.answered.items():
            if name != self._site.name:
                named.update({str(one[key]): str(one.get("name")) for one in content.get(plural, [])})
        here = {str(one[key]) for one in gathered.answered[self._site.name].get(plural, [])}
        absent = [
            named[ident] if ident == named[ident] else f"{named[ident]} ({ident})"
            for ident in sorted(named.keys() - here)
        ]
        return [Finding(what="absent", text=f"{kind}: other sites have {_some(absent)}")] if absent else []

    async def unlike(self, resource: str) -> list[Finding]:
        """What has the name of another site's and means something else here."""
        service, plural = resource_named(resource), resource_named(resource).plural
        path = f"/v3/{{project}}/{service.path}" + ("" if resource == "qos_spec" else "?is_public=None")
        home = HOMES[resource]
        sites = [one for one in self._parts.reach.sites(self._call, home) if one.healthy(home)]
        if self._site not in sites or len(sites) < 2:
            return []
        version = b"volume 3.11"  # before that Cinder has no types of groups
        gathered = await scatter({one.name: self._get(one, home, path, version) for one in sites})
        if self._site.name not in gathered.answered:
            raise gathered.failed[self._site.name]
        by_site = {
            name: by_name.meanings(resource, content.get(plural, []))
            for name, content in gathered.answered.items()
        }
        found = []
        for name in by_site[self._site.name]:
            having = {site: named[name] for site, named in by_site.items() if name in named}
            if differences := by_name.unlike(having):
                kind = resource.replace("_", " ")
                found.append(Finding(what="differs", text=f"{kind} {name}: {by_name.said(differences)}"))
        return found

    async def conflicts(self) -> list[Finding]:
        """Ids that this site and another claim."""
        by_type: dict[str, list[str]] = {}
        for one in await self._parts.store.conflicts():
            if self._site.name in one.sites:
                others = ", ".join(name for name in one.sites if name != self._site.name)
                by_type.setdefault(one.resource_type, []).append(f"{one.id} (also at {others})")
        for alias in self._parts.aliases.now.contested(self._site.name):
            by_type.setdefault("server", []).append(f"{alias} (as `atoll_id` of several)")
        return [
            Finding(what="conflict", text=f"{kind.replace('_', ' ')}: other sites claim {_some(ids)} too")
            for kind, ids in by_type.items()
        ]

    async def capacity(self) -> Capacity | None:
        """What the hypervisors have together; None where nobody may ask or nothing answers."""
        if "compute" not in self._site.endpoints:
            return None
        try:
            content = await self._get(self._site, "compute", STATISTICS)
            said = dict(content["hypervisor_statistics"])
            return msgspec.convert({**said, "hypervisors": said.get("count")}, Capacity)
        except (AtollError, KeyError, TypeError, ValueError):
            return None

    async def _get(self, site: Site, service: str, path: str, version: bytes = b"") -> Mapping[str, Any]:
        parts, call = self._parts, self._call
        endpoint = parts.reach.endpoint(site, call, service)
        target = path.format(project=call.caller.project_id).encode()
        aside = call.aside(call.deadline, versioned=False)
        if version:
            aside.request.index = {b"openstack-api-version": version}
        answer = await parts.forward.ask(aside, endpoint, b"GET", target, why="check")
        if answer.status != 200:
            raise SiteUnavailable(f"The site {site.name} answered {answer.status}.", site=site.name)
        try:
            return msgspec.json.decode(answer.text, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise BadSiteAnswer(f"The site {site.name} answered what is not JSON.", site=site.name) from error


def _urls(entries: Iterable[Mapping[str, Any]], region: str) -> dict[str, dict[str, str]]:
    """The URLs by service and interface."""
    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        service = OFFICIAL.get(str(entry.get("type")), str(entry.get("type")))
        if service not in SERVICES or service == "identity":
            continue
        for one in entry.get("endpoints", []):
            if region in {one.get("region"), one.get("region_id")}:
                found.setdefault(service, {}).setdefault(str(one.get("interface")), str(one.get("url")))
    return found


def _root(url: str) -> str:
    return root_of(url).lower()


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
