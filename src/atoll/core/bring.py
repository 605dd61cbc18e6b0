"""What to do about things that are not where a request needs them: the commands that bring them there. Pure.

Every command is one that works today, through Atoll or, where Atoll makes a thing at all sites or at none, at
the site itself. What no command brings is said to stay, with what can be done instead.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from atoll.core.choose import Thing, Want, words

MOST: Final = 4
"""Things whose command is told; of the rest it is said how many they are."""

PROPERTIES: Final = 10
"""Properties of a thing that its command repeats, each no longer than `LONGEST` characters."""

LONGEST: Final = 255

STAYING: Final = frozenset(
    {"volume", "snapshot", "backup", "server", "group", "group_snapshot", "consistencygroup", "cgsnapshot"}
)
"""What holds data that no command brings: it says where the rest has to go."""

# Members of an image that are Glance's own; the rest are properties that users give.
_IMAGE_OWN: Final = frozenset(
    {"id", "name", "owner", "visibility", "status", "checksum", "size", "virtual_size", "created_at",
     "updated_at", "min_disk", "min_ram", "disk_format", "container_format", "protected", "tags", "self",
     "file", "schema", "os_hash_algo", "os_hash_value", "os_hidden", "stores", "locations", "direct_url",
     "owner_specified.openstack.md5", "owner_specified.openstack.sha256",
     "owner_specified.openstack.object"}
)  # fmt: skip


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are to come: a site, a zone and the region of it, its cloud if that has a Keystone."""

    site: str
    zone: str = ""
    region: str = ""
    cloud: str | None = None
    operated: bool = False
    """Whether Atoll can act there as the operator: then a run copies what a member could not."""
    delegated: bool = False
    """Whether Atoll can act there as who asks, later too: then a run copies what is theirs."""

    @property
    def itself(self) -> str:
        """How the command asks that very site."""
        region = f"--os-region-name {_q(self.region)}"
        return (
            f"openstack {region}" if self.cloud is None else f"openstack --os-cloud {_q(self.cloud)} {region}"
        )


class Lack(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that is not at a place.

    `shown` is what one of its sites says of it, `at` that site; `alike` the id of the one thing of its name
    at the place; `one` the id under which it is one thing with that of the place.
    """

    thing: Thing
    at: str = ""
    shown: Mapping[str, Any] = {}
    alike: str = ""
    one: str = ""

    @property
    def name(self) -> str:
        """Its name for a command line."""
        return _q(str(self.shown.get("name") or "NAME"))


def target(want: Want, sites: Sequence[str]) -> str:
    """The site that is nearest to having all: the zone's, else where least is lacking, data above all."""
    if want.zone is not None:
        return want.zones[want.zone]

    def lacking(site: str) -> tuple[int, int]:
        absent = [one.resource in STAYING for one in want.named if site not in one.sites]
        return sum(absent), len(absent)

    return min(sites, key=lacking)


def together(want: Want) -> frozenset[str]:
    """The sites that have all that is named but for the zone."""
    return frozenset.intersection(*(one.sites for one in want.named)) if want.named else frozenset()


def by_zone(want: Want, site: str) -> str:
    """What to say where only the zone is at odds with the rest, which is all at a site."""
    zone = next((name for name, where in want.zones.items() if where == site), "")
    return f"All that is named is in {site}: " + (
        f"name its availability zone, {zone}, or none." if zone else "name no availability zone."
    )


def advice(lacks: Sequence[Lack], place: Place) -> str:
    """How to have at a place what it lacks, each thing with its command."""
    told = [f"for {words(one.thing.resource)} {one.thing.id} {_how(one, place)}" for one in lacks[:MOST]]
    if len(lacks) > MOST:
        told.append(f"and {len(lacks) - MOST} more")
    return f"To have it in {place.site}: {'; '.join(told)}."


def _how(lack: Lack, place: Place) -> str:
    if lack.one:
        return f"name {lack.one}, which is one thing at both"
    return _HOW.get(lack.thing.resource, _anew)(lack, place)


def _q(text: str) -> str:
    return shlex.quote(text)


def _option(name: str, value: object) -> str:
    return f" --{name} {_q(str(value))}" if value not in (None, "", 0, "0") else ""


def _properties(given: Mapping[str, Any]) -> str:
    some = sorted((key, value) for key, value in given.items() if isinstance(value, str))
    some = [(key, value) for key, value in some if len(key) + len(value) < LONGEST][:PROPERTIES]
    return "".join(f" --property {_q(f'{key}={value}')}" for key, value in some)


def _same(lack: Lack, place: Place) -> str:
    """Things of one name at both: they can be used as one."""
    pairs = f"{_q(lack.at)}={lack.thing.id} {_q(place.site)}={lack.alike}"
    options = f"--id {lack.thing.id} --name {lack.name} --project"
    return (
        f"`atoll same add {lack.thing.resource} {pairs} {options}` (both are called so; then they are used "
        "as one, in each zone the zone's)"
    )


def _network(lack: Lack, place: Place) -> str:
    if lack.alike:
        return _same(lack, place)
    hint = _option("availability-zone-hint", place.zone)
    return f"`openstack network create{hint} {lack.name}` and a subnet in it make one there"


def _router(lack: Lack, place: Place) -> str:
    hint = _option("availability-zone-hint", place.zone)
    return f"`openstack router create{hint} {lack.name}` makes one there"


def _port(lack: Lack, place: Place) -> str:
    command = f"openstack port create --network NETWORK {lack.name}"
    return f"`{command}` with a network of {place.site} makes one there"


def _subnet(lack: Lack, place: Place) -> str:
    if lack.alike:
        return _same(lack, place)
    cidr = _q(str(lack.shown.get("cidr") or "CIDR"))
    command = f"openstack subnet create --network NETWORK --subnet-range {cidr} {lack.name}"
    return f"`{command}` with a network of {place.site} makes one there"


def _image(lack: Lack, place: Place) -> str:
    if place.operated:
        return f"`{_run('image.copy', 'image', lack, place)}` copies it there"
    shown, file = lack.shown, f"{lack.thing.id}.img"
    options = "".join(
        _option(name, shown.get(key))
        for name, key in (
            ("disk-format", "disk_format"), ("container-format", "container_format"),
            ("min-disk", "min_disk"), ("min-ram", "min_ram"),
        )
    )  # fmt: skip
    options += " --public" if shown.get("visibility") == "public" else ""
    options += _properties({key: value for key, value in shown.items() if key not in _IMAGE_OWN})
    options = f"--id {lack.thing.id} --file {_q(file)}{options}"
    return (
        f"`openstack image save --file {_q(file)} {lack.thing.id}` and "
        f"`{place.itself} image create {options} {lack.name}` copy it there"
    )


def _run(definition: str, key: str, lack: Lack, place: Place) -> str:
    """The run that brings a thing to a site."""
    sites = _q(f'sites=["{place.site}"]')
    return f"atoll run start {definition} -i {_q(f'{key}={lack.thing.id}')} -i {sites} --follow"


def _flavor(lack: Lack, place: Place) -> str:
    if place.operated:
        return f"an administrator's `{_run('flavor.copy', 'flavor', lack, place)}` makes it there"
    shown = lack.shown
    options = "".join(
        _option(name, shown.get(key))
        for name, key in (
            ("ram", "ram"), ("vcpus", "vcpus"), ("ephemeral", "OS-FLV-EXT-DATA:ephemeral"), ("swap", "swap"),
        )
    )  # fmt: skip
    options += f" --disk {shown.get('disk', 0)}"
    options += _properties(shown.get("extra_specs") or {})
    command = f"{place.itself} flavor create --id {_q(lack.thing.id)}{options} {lack.name}"
    return f"an administrator's `{command}` makes it there"


def _volume_type(lack: Lack, place: Place) -> str:
    options = _properties(lack.shown.get("extra_specs") or {})
    options += " --private" if lack.shown.get("is_public") is False else ""
    name = lack.name if lack.shown.get("name") else _q(lack.thing.id)
    return f"an administrator's `{place.itself} volume type create{options} {name}` makes it there"


def _group_type(lack: Lack, place: Place) -> str:
    name = lack.name if lack.shown.get("name") else _q(lack.thing.id)
    return f"an administrator's `{place.itself} volume group type create {name}` makes it there"


def _keypair(lack: Lack, place: Place) -> str:
    del place  # it is made at every site
    name = _q(lack.thing.id)
    file = _q(f"{lack.thing.id}.pub")
    return (
        f"`openstack keypair show --public-key {name} > {file}`, `openstack keypair delete {name}` and "
        f"`openstack keypair create --public-key {file} {name}` make it anew at every site"
    )


def _security_group(lack: Lack, place: Place) -> str:
    if lack.alike:
        return _same(lack, place)
    name = lack.name if lack.shown.get("name") else _q(lack.thing.id)
    return _at_home(f"openstack security group create {name}", place)


def _server_group(lack: Lack, place: Place) -> str:
    policy = lack.shown.get("policy") or next(iter(lack.shown.get("policies") or ()), "POLICY")
    return _at_home(f"openstack server group create --policy {_q(str(policy))} {lack.name}", place)


def _at_home(command: str, place: Place) -> str:
    """A create that names no zone goes where the project's last thing went."""
    zone = f"availability zone {place.zone}" if place.zone else place.site
    return f"`{command}`, right after something was made in {zone}, makes one there"


def _volume(lack: Lack, place: Place) -> str:
    if place.delegated and not lack.shown.get("encrypted"):
        given = f"-i {_q(f'volume={lack.thing.id}')} -i {_q(f'site={place.site}')}"
        return f"`atoll run start volume.copy {given} --follow` copies it there (volume.move: moves it)"
    made, zone = "VOLUME-IMAGE", _option("availability-zone", place.zone)
    copied = f"--size {lack.shown.get('size', 'SIZE')} --image {made}-copy {lack.name}"
    return (
        f"no command moves it: `openstack image create --volume {lack.thing.id} {made}`, "
        f"`openstack image save --file {made}.img {made}`, "
        f"`{place.itself} image create --file {made}.img {made}-copy` and "
        f"`openstack volume create{zone} {copied}` make a copy of its data there"
    )


def _snapshot(lack: Lack, place: Place) -> str:
    del place
    return (
        "no command moves it: "
        f"`openstack volume create --snapshot {lack.thing.id} NAME` makes a volume of it where it is"
    )


def _stays(lack: Lack, place: Place) -> str:
    where = " or ".join(sorted(lack.thing.sites))
    return f"no command brings it from {where} to {place.site}: name only things of {where} with it"


def _anew(lack: Lack, place: Place) -> str:
    return f"make one there: it stays in {' and '.join(sorted(lack.thing.sites))}, not in {place.site}"


_HOW: Final[Mapping[str, Callable[[Lack, Place], str]]] = {
    "network": _network,
    "subnet": _subnet,
    "port": _port,
    "router": _router,
    "image": _image,
    "flavor": _flavor,
    "volume_type": _volume_type,
    "group_type": _group_type,
    "keypair": _keypair,
    "security_group": _security_group,
    "server_group": _server_group,
    "volume": _volume,
    "snapshot": _snapshot,
    **dict.fromkeys(STAYING - {"volume", "snapshot"}, _stays),
}
