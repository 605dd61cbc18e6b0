"""The lists of `bench.cloud`: servers, volumes, ports and images of one site, as their services give them.

Things are rendered when they are asked for. Each service lists them in its own order of today, newest first;
Neutron's is by id, so that ports have ids that sort as their ages do. What would take another order, or leave
something out, is refused: a list that is not what was asked for would measure nothing.
"""

import itertools
import json
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from bench.things import FLAVOR_ID, IMAGE_ID, PROJECT_ID, SERVER_ID, USER_ID, server_answer

LAYOUTS = ("uniform", "hot", "sorted", "random")
MAX_LIMIT = 1000
GLANCE_LIMIT = 25
# The newest thing's age (seconds): all were made before this run.
START = int(time.time()) - 3600
# What stands in templates where a thing's id and the time of its making come.
THING_ID = "7d0d4b1e-2f6a-4c7e-9a53-b1c2d3e4f506"
MADE = server_answer("")["server"]["created"].removesuffix("Z")
# Glance's order goes on by id, downwards.
LAST = (1 << 48) - 1
Ages = Callable[[int], int]
Query = Mapping[str, list[str]]
Answer = tuple[int, bytes]


def ages(layout: str, site: int, sites: int, per_site: int) -> Ages:
    """How old (seconds, from the newest of all) the things of a site are, by their place in its list."""
    if layout == "uniform":
        return lambda number: number * sites + site
    if layout == "sorted":
        return lambda number: site * per_site + number
    if layout == "hot":
        if site == 0:
            return lambda number: 2 * number
        return lambda number: 2 * (number * (sites - 1) + site) - 1
    if layout == "random":
        chance = random.Random(site)  # noqa: S311 - a layout, no secret
        gaps = (chance.expovariate(1 / sites) for _ in range(per_site))
        return [int(age) for age in itertools.accumulate(gaps)].__getitem__
    raise LookupError(layout)


@dataclass(slots=True)
class Place:
    """A site: its number, its URL, how many things of a type it has, and how old they are."""

    number: int
    base: str
    per_site: int
    layout: str = LAYOUTS[0]
    age: Ages = int

    @property
    def group_id(self) -> str:
        """The id of the project's security group `default` here."""
        return f"{self.number:08x}-0c1d-4b2e-8f3a-5e6d7c8b9a01"


class Things(ABC):
    """The things of one type at a site, the first of its list first.

    `shown` is one of them with `THING_ID` (or `own_id`) and `MADE` in it. Each layout has things of its own:
    what is known of one is never of another's age.
    """

    plural: str
    separators: tuple[str, str] = (", ", ": ")
    parameters = frozenset({"limit", "marker"})

    def __init__(self, place: Place, shown: Mapping[str, Any], own_id: str = THING_ID) -> None:
        self.place = place
        text = json.dumps(shown, separators=self.separators).encode()
        self._template = text.split(own_id.encode())

    def ident(self, number: int) -> str:
        """The id of a thing; its end is where the thing stands in the site's list."""
        return f"{self.place.number:08x}-5b7d-4e63-9{self.layout_number:03x}-{number:012x}"

    def number(self, ident: str) -> int:
        """Where the thing of an id stands. Raises ValueError."""
        return int(ident[-12:], 16)

    @property
    def layout_number(self) -> int:
        """The number of the layout."""
        return LAYOUTS.index(self.place.layout)

    def page(self, query: Query) -> Answer:
        """A page by the service's rules."""
        wrong = self.wrong(query)
        if wrong:
            return 400, json.dumps({"badRequest": {"code": 400, "message": wrong}}).encode()
        start = 0
        if "marker" in query:
            marker = query["marker"][0]
            start = self._after(marker)
            if not start:
                return self.lost(marker)
        limit = self.limit(query)
        numbers = range(start, min(start + limit, self.place.per_site))
        body = self.comma.join([self._item(number) for number in numbers])
        ends = [self.ident(one) for one in (numbers[0], numbers[-1])] if numbers else []
        return 200, self.written(body, query, ends, full=bool(ends) and len(numbers) == limit)

    @property
    def comma(self) -> bytes:
        """What stands between things."""
        return self.separators[0].encode()

    def limit(self, query: Query) -> int:
        """How many things a page has at most."""
        return min(int(query.get("limit", [str(MAX_LIMIT)])[0]), MAX_LIMIT)

    def wrong(self, query: Query) -> str:
        """What is asked for and not had here."""
        unknown = sorted(query.keys() - self.parameters)
        return f"This cloud has no {', '.join(unknown)} in lists of {self.plural}." if unknown else ""

    @abstractmethod
    def lost(self, marker: str) -> Answer:
        """The answer where a marker is none."""

    @abstractmethod
    def written(self, body: bytes, query: Query, ends: Sequence[str], *, full: bool) -> bytes:
        """The answer with a page's things, the first and the last of which are `ends`."""

    def _after(self, marker: str) -> int:
        """Where the page after a marker begins; 0 where it is none."""
        try:
            number = self.number(marker)
        except ValueError:
            return 0
        if not 0 <= number < self.place.per_site or marker != self.ident(number):
            return 0
        return number + 1

    def _item(self, number: int) -> bytes:
        made = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(START - self.place.age(number))).encode()
        return self.ident(number).encode().join(self._template).replace(MADE.encode(), made)


class Servers(Things):
    """Nova's, in full or (`brief`) without their ages."""

    plural = "servers"

    def __init__(self, place: Place, *, brief: bool) -> None:
        shown = server_answer(place.base)["server"]
        if brief:
            shown = {key: shown[key] for key in ("id", "name", "links")}
        super().__init__(place, shown, SERVER_ID)
        self._brief = brief

    def lost(self, marker: str) -> Answer:
        """As Nova says it."""
        return 400, json.dumps(
            {"badRequest": {"code": 400, "message": f"marker [{marker}] not found"}}
        ).encode()

    def written(self, body: bytes, query: Query, ends: Sequence[str], *, full: bool) -> bytes:
        """Nova links on from any full page, were it the last."""
        if not full:
            return b'{"servers": [%b]}' % body
        path = "servers" if self._brief else "servers/detail"
        link = f"{self.place.base}/v2.1/{path}?limit={self.limit(query)}&marker={ends[-1]}"
        return b'{"servers": [%b], "servers_links": [{"rel": "next", "href": "%b"}]}' % (body, link.encode())

    def _item(self, number: int) -> bytes:
        return self.ident(number).encode().join(self._template) if self._brief else super()._item(number)


class Volumes(Things):
    """Cinder's, in full, of version 3.0."""

    plural = "volumes"

    def __init__(self, place: Place) -> None:
        super().__init__(place, volume(f"{place.base}/volume"))

    def lost(self, marker: str) -> Answer:
        """As Cinder says it."""
        message = f"Volume {marker} could not be found."
        return 404, json.dumps({"itemNotFound": {"code": 404, "message": message}}).encode()

    def written(self, body: bytes, query: Query, ends: Sequence[str], *, full: bool) -> bytes:
        """Cinder links on from any full page."""
        if not full:
            return b'{"volumes": [%b]}' % body
        link = f"{self.place.base}/volume/v3/volumes/detail?{_kept(query, marker=ends[-1])}"
        return b'{"volumes": [%b], "volumes_links": [{"rel": "next", "href": "%b"}]}' % (body, link.encode())


class Ports(Things):
    """Neutron's: by id, which is also by age; all of them where no limit is named."""

    plural = "ports"
    separators = (",", ":")
    parameters = frozenset({"limit", "marker", "sort_key", "sort_dir"})
    orders: Sequence[tuple[list[str], list[str]]] = (([], []), (["id"], ["asc"]), (["created_at"], ["desc"]))

    def __init__(self, place: Place) -> None:
        super().__init__(place, port(place.group_id))

    def ident(self, number: int) -> str:
        """The id of a port, that of an older one behind it."""
        age, site = self.place.age(number), self.place.number
        return f"{age:08x}-{site:04x}-4e63-9{self.layout_number:03x}-{number:012x}"

    def limit(self, query: Query) -> int:
        """As many as are asked for."""
        return int(query.get("limit", ["0"])[0]) or self.place.per_site

    def wrong(self, query: Query) -> str:
        """What is asked for and not had here."""
        if (query.get("sort_key", []), query.get("sort_dir", [])) not in self.orders:
            return "This cloud has no ports in this order."
        return super().wrong(query)

    def lost(self, marker: str) -> Answer:
        """As Neutron says it."""
        error = {"type": "PortNotFound", "message": f"Port {marker} could not be found.", "detail": ""}
        return 404, json.dumps({"NeutronError": error}).encode()

    def written(self, body: bytes, query: Query, ends: Sequence[str], *, full: bool) -> bytes:
        """Neutron links both ways, from a full page onwards and always backwards."""
        if query.get("limit", ["0"]) == ["0"]:
            return b'{"ports":[%b]}' % body
        url = f"{self.place.base}/network/v2.0/ports?"
        links = []
        if full:
            links.append({"rel": "next", "href": url + _kept(query, marker=ends[-1])})
        first = {"marker": ends[0]} if ends else {}
        links.append({"rel": "previous", "href": url + _kept(query, **first, page_reverse="True")})
        text = json.dumps(links, separators=self.separators).encode()
        return b'{"ports":[%b],"ports_links":%b}' % (body, text)


class Images(Things):
    """Glance's: 25 where no limit is named. All are the project's own: none is public."""

    plural = "images"
    parameters = frozenset({"limit", "marker", "visibility", "os_hidden"})

    def __init__(self, place: Place) -> None:
        super().__init__(place, image())

    def ident(self, number: int) -> str:
        """The id of an image, that of one further on before it."""
        return super().ident(LAST - number)

    def number(self, ident: str) -> int:
        """Where the image of an id stands. Raises ValueError."""
        return LAST - super().number(ident)

    def limit(self, query: Query) -> int:
        """How many images a page has at most."""
        return min(int(query.get("limit", [str(GLANCE_LIMIT)])[0]), MAX_LIMIT)

    def page(self, query: Query) -> Answer:
        """A page by Glance's rules."""
        if query.get("visibility") == ["public"] or query.get("os_hidden") == ["true"]:
            return 200, self.written(b"", query, (), full=False)
        return super().page(query)

    def lost(self, marker: str) -> Answer:
        """As Glance says it, in plain text."""
        return 400, f"400 Bad Request\n\nNo image found with ID {marker}\n\n   ".encode()

    def written(self, body: bytes, query: Query, ends: Sequence[str], *, full: bool) -> bytes:
        """Glance names the first page, and the next one on any full page."""
        kept = _kept(query)
        more = {"first": f"/v2/images?{kept}" if kept else "/v2/images", "schema": "/v2/schemas/images"}
        if full:
            more["next"] = f"/v2/images?{_kept(query, marker=ends[-1])}"
        return b'{"images": [%b], %b' % (body, json.dumps(more).encode()[1:])


def _kept(query: Query, **more: str) -> str:
    """The query of a link: what was asked for, but another place."""
    pairs = [(name, value) for name, values in query.items() if name != "marker" for value in values]
    return urlencode([*pairs, *more.items()])


def volume(base: str) -> dict[str, Any]:
    """What Cinder 3.0 says of a volume to its owner; `base` begins its links. About 1.2 KB."""
    return {
        "id": THING_ID, "status": "in-use", "size": 20, "availability_zone": "nova",
        "created_at": f"{MADE}.000000", "updated_at": f"{MADE}.000000", "name": "web-03.production-root",
        "description": None, "volume_type": "__DEFAULT__", "snapshot_id": None, "source_volid": None,
        "metadata": {"role": "web", "owner": "team-storefront"},
        "links": [
            {"rel": "self", "href": f"{base}/v3/volumes/{THING_ID}"},
            {"rel": "bookmark", "href": f"{base}/volumes/{THING_ID}"},
        ],
        "user_id": USER_ID, "bootable": "true", "encrypted": False, "replication_status": None,
        "consistencygroup_id": None, "multiattach": False,
        "attachments": [
            {
                "id": THING_ID, "attachment_id": "f0e1d2c3-b4a5-4697-8879-6a5b4c3d2e1f",
                "volume_id": THING_ID, "server_id": SERVER_ID, "host_name": None, "device": "/dev/vda",
                "attached_at": f"{MADE}.000000",
            }
        ],
        "os-vol-tenant-attr:tenant_id": PROJECT_ID,
        "volume_image_metadata": {
            "image_id": IMAGE_ID, "image_name": "debian-13", "checksum": "0aed082b4f407d89b65187f0e1b4d3a1",
            "size": "340000768",
        },
    }  # fmt: skip


def port(group_id: str) -> dict[str, Any]:
    """What Neutron says of a port to its owner. About 1 KB."""
    return {
        "id": THING_ID, "name": "web-03.production", "admin_state_up": True,
        "network_id": "5d2c1b0a-9f8e-4d7c-8b6a-5f4e3d2c1b0a", "mac_address": "fa:16:3e:5c:0b:9d",
        "device_id": SERVER_ID, "device_owner": "compute:nova",
        "fixed_ips": [
            {"subnet_id": "6e3d2c1b-0a9f-4e8d-9c7b-6a5f4e3d2c1b", "ip_address": "10.1.3.27"}
        ],
        "security_groups": [group_id], "allowed_address_pairs": [], "extra_dhcp_opts": [],
        "binding:vnic_type": "normal", "port_security_enabled": True, "qos_policy_id": None,
        "status": "ACTIVE", "qos_network_policy_id": None, "ip_allocation": "immediate",
        "project_id": PROJECT_ID, "tenant_id": PROJECT_ID, "description": "", "tags": [],
        "created_at": f"{MADE}Z", "updated_at": f"{MADE}Z", "revision_number": 4,
    }  # fmt: skip


def image() -> dict[str, Any]:
    """What Glance says of an image to its owner. About 1.2 KB."""
    path = f"/v2/images/{THING_ID}"
    return {
        "os_distro": "debian", "os_version": "13", "hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi",
        "base_flavor": FLAVOR_ID, "name": f"web-03.production-{THING_ID}", "disk_format": "qcow2",
        "container_format": "bare", "visibility": "shared", "size": 340000768, "virtual_size": 3221225472,
        "status": "active", "checksum": "0aed082b4f407d89b65187f0e1b4d3a1", "protected": False, "min_ram": 0,
        "min_disk": 3, "owner": PROJECT_ID, "os_hidden": False, "os_hash_algo": "sha512",
        # Of other bytes each: the same name and bytes at two sites would be one image.
        "os_hash_value": f"fa221b9b95dd11cfc4ca213ee1b2af429aa22114d0e5e9dc6833a88876cb{THING_ID}",
        "id": THING_ID, "created_at": f"{MADE}Z", "updated_at": f"{MADE}Z", "tags": [], "self": path,
        "file": f"{path}/file", "schema": "/v2/schemas/image", "stores": "file",
    }  # fmt: skip
