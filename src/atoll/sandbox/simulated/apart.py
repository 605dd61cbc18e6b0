"""Clouds that grew apart: the same things under other ids, and a few that only look alike."""

import uuid
from typing import Any, Final

from atoll.sandbox.simulated.cloud import Cloud
from atoll.sandbox.simulated.site import Site

NAMES: Final = ("paris", "tokyo", "oslo")
"""The clouds of `atoll sandbox up --apart`."""

OLDEST: Final = 79
"""The newest compute microversion of the last cloud: 2.79, which is release Train."""

_FLAVORS: Final = (("m1.nano", 128, 1), ("m1.micro", 192, 1), ("m1.tiny", 512, 1), ("m1.small", 2048, 20))


class Apart(Cloud):
    """Three clouds, each with a Keystone of its own (or, for tests, `shared`), that grew apart."""

    def __init__(self, *, shared: bool = False, **more: Any) -> None:
        super().__init__(NAMES, shared=shared, own_images=True, **more)
        for number, site in enumerate(self.sites):
            grow_apart(site, number)

    def clouds_yaml(self) -> dict[str, Any]:
        """A clouds.yaml: `paris`, `tokyo` and `oslo` for the user demo, each with `-alt` and `-admin`."""
        named = {
            name.replace("simulated", NAMES[0]): entry
            for name, entry in super().clouds_yaml()["clouds"].items()
        }
        for entry in named.values():
            (entry["region_name"],) = entry.pop("regions")
        return {"clouds": named}


def grow_apart(site: Site, number: int) -> None:
    """Make a site one of its own; `number` counts from 0.

    Flavors have ids of the site's own, but for one: `1` is another flavor in each. `m1.small` has twice the
    memory at the second site, the image `cirros-alt` other bytes there, and the third is older.
    """
    compute = site.compute
    compute.flavors.clear()
    for place, (name, ram, disk) in enumerate(_FLAVORS):
        ident = "1" if place == number else str(uuid.uuid5(uuid.NAMESPACE_URL, f"{site.name}/flavor/{name}"))
        twice = 2 if (name, number) == ("m1.small", 1) else 1
        compute.flavor_api.seed(ident, name, ram * twice, disk)
    if number == 1:
        ident = site.image_id("cirros-alt")
        former = site.image.images.pop(ident)
        more = {key: former[key] for key in ("visibility", "disk_format", "container_format")}
        site.image.add("cirros-alt", site.name.encode() * 4096, owner=former["owner"], image_id=ident, **more)
    if number == 2:
        compute.max_minor = OLDEST
