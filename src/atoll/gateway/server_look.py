"""What a server is like that is to be moved to another site, and whether it can be: looked at for a plan."""

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Meta

from atoll.core.accepted_servers import Accepted
from atoll.core.choose import Thing
from atoll.core.errors import BadRequest, Conflict, NotFound, SiteUnavailable
from atoll.gateway import volume_look
from atoll.gateway.aliases import AliasLearnt
from atoll.gateway.call import Call
from atoll.gateway.looking import Looking
from atoll.gateway.own_route import In
from atoll.gateway.parts import Parts
from atoll.gateway.server_create_run import Brought
from atoll.gateway.server_marks import made_for
from atoll.gateway.server_sources import source_of
from atoll.gateway.volume_look import VolumeInput
from atoll.sites.site import Site
from atoll.workflow.outcomes import Failure

VERSION: Final = "2.46"
"""The last microversion that shows a flavor by its id; every site has it."""

KEPT: Final = ("name", "description", "tags", "key_name", "config_drive")
"""What a moved server has as it was, besides its metadata."""


ServerId = Annotated[str, Meta(pattern=r"^[0-9a-fA-F-]{32,36}$")]


class MoveInput(In, frozen=True, kw_only=True):
    """Which server goes where."""

    server: ServerId
    """Its id."""
    site: Annotated[str, Meta(min_length=1, max_length=63)]
    """The site that is to have it."""
    availability_zone: Annotated[str, Meta(max_length=255)] = ""
    """A zone of that site; default: the site decides."""


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """A volume of a server: what `volume_look` says of it, and how it is attached."""

    found: volume_look.Found
    root: bool
    goes_with_it: bool
    """It is deleted with the server."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A server, from where to where, and what the new one is created with."""

    id: str
    """What its users hold."""
    own: str
    """The id at its site."""
    source: str
    target: str
    active: bool
    body: dict[str, Any]
    volumes: tuple[Attached, ...] = ()
    bring: tuple[Brought, ...] = ()
    by_image: bool = True
    """It has a disk of its own, which goes as an image."""


async def find(parts: Parts, call: Call, given: MoveInput, *, disk: bool = True) -> Server:
    """Look at a server, as the caller sees it. `disk` False: it boots from the image that it was made from.

    Raises `BadRequest`, `NotFound`, `Conflict`, `SiteUnavailable`, `Forbidden`.
    """
    look = _Look(parts, call, given)
    source, own = await look.place(given.server.lower())
    ident = parts.aliases.now.shown(source.name, own, call.caller.project_id)
    target = look.target(source)
    server = await look.shown(source, "compute", f"/v2.1/servers/{own}", "server", ident)
    _check(server, ident)
    if server.get("tenant_id") != call.caller.project_id:
        raise _stays(ident, f"It is of the project {server.get('tenant_id')}: use a token of that.")
    await look.check_none(target, ident, str(server["name"]))
    networks, groups, volumes, bring, secret = await asyncio.gather(
        look.networks(source, target, own, ident),
        look.groups(target, server, ident),
        look.volumes(source, target, own, ident),
        look.bring(source, target, server, ident, disk=disk),
        look.user_data(source, own),
    )
    body = {key: server[key] for key in KEPT if server.get(key)}
    body["config_drive"] = bool(server.get("config_drive"))
    body |= {
        "flavorRef": look.at(target, "flavor", server["flavor"]["id"]),
        "metadata": dict(server.get("metadata") or {}),
    }
    body |= {"networks": networks, "security_groups": groups} if networks else {"networks": "none"}
    by_image = not any(one.root for one in volumes)
    if by_image and not disk:
        body["imageRef"] = look.at(target, "image", str(server["image"]["id"]))
    if secret:
        body["user_data"] = secret
    if given.availability_zone:
        body["availability_zone"] = look.zone(target)
    return Server(
        id=ident,
        own=own,
        source=source.name,
        target=target.name,
        active=server["status"] == "ACTIVE",
        body=body,
        volumes=tuple(volumes),
        bring=tuple(bring),
        by_image=by_image and disk,
    )


def _check(server: Mapping[str, Any], ident: str) -> None:
    """Raise `Conflict` for one that cannot be moved as it is now."""
    if server.get("locked"):
        raise _stays(ident, "It is locked.")
    if server["status"] not in {"ACTIVE", "SHUTOFF"} or server.get("OS-EXT-STS:task_state"):
        task = server.get("OS-EXT-STS:task_state")
        state = server["status"] + (f", {task}" if task else "")
        raise _stays(ident, f"It is {state}: that can be done when it is ACTIVE or SHUTOFF.")


def _stays(ident: str, text: str) -> Conflict:
    return Conflict(f"The server {ident} cannot be brought elsewhere. {text}", resource="server", id=ident)


class _Look(Looking):
    """Looks at sites as the caller."""

    def __init__(self, parts: Parts, call: Call, given: MoveInput) -> None:
        super().__init__(parts, call, VERSION)
        self._given = given

    async def place(self, ident: str) -> tuple[Site, str]:
        """The site of a server, and its id there."""
        parts, project = self.parts, self.call.caller.project_id
        await parts.reach.settle(self.call)
        meant = parts.aliases.now.means(ident, project)
        if isinstance(meant, Accepted):
            raise _stays(ident, "No site has it yet.")
        if meant is not None:
            if (site := parts.sites.by_name.get(meant.site)) is None:
                raise NotFound(f"The server {ident} is at {meant.site}, which is no site any more.")
            return site, meant.id
        try:
            return await parts.locator.site_of(self.call, "server", ident), ident
        except AliasLearnt:
            return await self.place(ident)

    def target(self, source: Site) -> Site:
        """The site that is to have it. Raises `BadRequest`, `Conflict`."""
        name, ident = self._given.site, self._given.server
        needed = {"compute", "image", "network"} & source.endpoints.keys()
        sites = {
            site.name: site for site in self.parts.reach.sites(self.call) if needed <= site.endpoints.keys()
        }
        if name not in sites:
            text = f"There is no site {name} that could have it: there are {', '.join(sites)}."
            raise BadRequest(text, resource="site", id=name)
        site = sites[name]
        if site is source:
            raise _stays(ident, f"It is at {name} already.")
        if not site.accepts_creates:
            raise _stays(ident, f"The site {name} is {site.notice or 'draining'}: nothing new is made there.")
        self.zone(site)
        return site

    async def check_none(self, site: Site, ident: str, name: str) -> None:
        """Raise `Conflict` where a site has one that bears the id: it would be taken for the new one."""

        async def ask(method: str, target: str) -> tuple[int, Any]:
            del method
            return 200, await self.asked(site, "compute", target)

        if (old := await made_for(ask, ident, name)) is not None:
            text = f"{site.name} has an old one of that id, {old}, which has to be deleted there first."
            raise _stays(ident, text)

    def zone(self, site: Site) -> str | None:
        """What the site calls the zone. Raises `BadRequest`."""
        name = self._given.availability_zone
        zones = self.parts.reach.endpoint(site, self.call, "compute").zones
        if name and name not in zones:
            text = f"The site {site.name} has no availability zone {name}: it has {', '.join(zones)}."
            raise BadRequest(text, resource="availability_zone", id=name)
        return zones[name] if name else None

    async def networks(self, source: Site, target: Site, own: str, ident: str) -> list[dict[str, Any]]:
        """The networks at the target, with the addresses that they allow. Raises `Conflict`."""
        ports = await self.asked(source, "network", f"/v2.0/ports?device_id={own}")
        found = []
        for port in (ports or {}).get("ports", []):
            network = str(port["network_id"])
            there = self._ids("network", network).get(target.name)
            if there is None:
                raise _stays(
                    ident,
                    f"Its network {network} is not at {target.name}: create one there and declare both to be "
                    f"one, `atoll same add network {source.name}={network} {target.name}=ID --id {network}`.",
                )
            addresses = [str(one["ip_address"]) for one in port.get("fixed_ips", [])]
            found.append({"uuid": there, **await self._address(target, there, addresses)})
        return found

    async def _address(self, site: Site, network: str, addresses: Sequence[str]) -> dict[str, str]:
        """The first address that is one of the network there too."""
        subnets = await self.asked(site, "network", f"/v2.0/subnets?network_id={network}")
        ranges = [ipaddress.ip_network(one["cidr"]) for one in (subnets or {}).get("subnets", [])]
        for address in addresses:
            if any(ipaddress.ip_address(address) in one for one in ranges):
                return {"fixed_ip": address}
        return {}

    async def groups(self, site: Site, server: Mapping[str, Any], ident: str) -> list[dict[str, str]]:
        """Its security groups, by name. Raises `Conflict` for one that is not at the site."""
        names = sorted({str(one["name"]) for one in server.get("security_groups") or []})
        for name in names:
            if name == "default":
                continue
            there = await self.asked(site, "network", f"/v2.0/security-groups?name={name}")
            if not (there or {}).get("security_groups"):
                command = f"`openstack security group create {name}`"
                raise _stays(
                    ident, f"{site.name} has no security group {name}: {command} makes one at all sites."
                )
        return [{"name": name} for name in names]

    async def volumes(self, source: Site, target: Site, own: str, ident: str) -> list[Attached]:
        """Its volumes, the one it boots from first. Raises what `volume_look.find` raises."""
        answer = await self.asked(source, "compute", f"/v2.1/servers/{own}/os-volume_attachments")
        attachments = sorted((answer or {}).get("volumeAttachments", []), key=lambda one: str(one["device"]))
        shown = await self.shown(source, "compute", f"/v2.1/servers/{own}", "server", ident)
        goes = {
            str(one["id"]): bool(one.get("delete_on_termination"))
            for one in shown.get("os-extended-volumes:volumes_attached", [])
        }
        found = []
        for number, one in enumerate(attachments):
            volume = str(one["volumeId"])
            asked = VolumeInput(volume=volume, site=target.name)
            found.append(
                Attached(
                    found=await volume_look.find(self.parts, self.call, asked),
                    root=number == 0 and not shown.get("image"),
                    goes_with_it=goes.get(volume, False),
                )
            )
        return found

    async def bring(
        self, source: Site, target: Site, server: Mapping[str, Any], ident: str, *, disk: bool
    ) -> list[Brought]:
        """What it needs, is not at the site, and can be brought. Raises `Conflict`."""
        image = "" if disk or not server.get("image") else str(server["image"]["id"])
        named = {"flavor": server["flavor"]["id"], "keypair": server.get("key_name"), "image": image}
        found = []
        for resource, name in named.items():
            if not name or await self._has(target, resource, name):
                continue
            thing = Thing(resource=resource, id=name, sites=frozenset({source.name}))
            one = await source_of(self.parts, self.call, thing, target)
            if one is None:
                raise _stays(ident, f"Its {resource} {name} is not at {target.name}, and cannot be brought.")
            found.append(one)
        return found

    async def _has(self, site: Site, resource: str, name: str) -> bool:
        """Whether a site has a flavor, an image or a key; of keys nobody keeps account."""
        if resource == "keypair":
            return await self.asked(site, "compute", f"/v2.1/os-keypairs/{quote(name, safe='')}") is not None
        if resource == "image":
            there = self.at(site, resource, name)
            return await self.asked(site, resource, f"/v2/images/{there}") is not None
        self.parts.locator.stale(resource, name)
        having = await self.parts.equivalents.having(self.call, resource, name)
        return site.name in {*having, *self._ids(resource, name)}

    def at(self, target: Site, resource: str, ident: str) -> str:
        """The id of a flavor or an image at the site: where it is brought, the same."""
        return self._ids(resource, ident).get(target.name, ident)

    def _ids(self, resource: str, own: str) -> Mapping[str, str]:
        """The ids of a thing at all its sites, by one of them; none where it is of that site only."""
        group = self.parts.equivalents.group(self.call, resource, own)
        return {} if group is None else group.ids

    async def user_data(self, site: Site, own: str) -> str | None:
        """What only administrators are shown; None where Atoll is none there."""
        if not self.parts.operator.operates(self.call, site):
            return None
        try:
            status, answer = await self.parts.operator.ask(
                site.name, "compute", "GET", f"/v2.1/servers/{own}", version=f"compute {VERSION}"
            )
        except Failure as error:
            raise SiteUnavailable(f"{site.name} does not show the server: {error}", site=site.name) from error
        found = answer["server"].get("OS-EXT-SRV-ATTR:user_data") if status == 200 else None
        return str(found) if found else None
