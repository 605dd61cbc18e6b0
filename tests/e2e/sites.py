"""The sites behind the cloud under test, asked directly: where a resource is, and what was left behind."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from atoll.sandbox.real.api import Cloud, Refused
from atoll.sandbox.real.layout import locate
from atoll.sandbox.real.model import Credentials

STATE = Path(os.environ["ATOLL_E2E_STATE"]) if os.environ.get("ATOLL_E2E_STATE") else None
SWEEP_SECONDS = 300.0
# Another cloud than Atoll's, `regionone` say, runs the same tests against a bare site: what they ask for is
# then known to be right.
CLOUD = os.environ.get("ATOLL_E2E_CLOUD") or "atoll"
# path of a list by service, and the key of its items; what uses others comes first
NAMED = (
    ("compute", "/servers?all_tenants=true", "servers"),
    ("compute", "/flavors?is_public=None", "flavors"),
    ("compute", "/os-server-groups?all_projects=true", "server_groups"),
    ("block-storage", "/backups?all_tenants=true", "backups"),
    ("block-storage", "/volumes?all_tenants=true", "volumes"),
    ("block-storage", "/snapshots?all_tenants=true", "snapshots"),
    ("image", "/v2/images?limit=1000", "images"),
    ("network", "/v2.0/routers", "routers"),
    ("network", "/v2.0/ports", "ports"),
    ("network", "/v2.0/subnets", "subnets"),
    ("network", "/v2.0/networks", "networks"),
    ("network", "/v2.0/security-groups", "security_groups"),
    ("network", "/v2.0/floatingips", "floatingips"),
)


@dataclass(frozen=True)
class Site:
    """One entry of sites.json with its own users' entries in clouds.yaml."""

    name: str
    region: str
    public_network_id: str
    zone: str
    user: dict[str, Any]
    administrator: dict[str, Any]

    @property
    def auth_url(self) -> str:
        """Its Keystone."""
        return str(self.user["auth"]["auth_url"])

    @cached_property
    def admin(self) -> Cloud:
        """The administrator's view of the site itself."""
        return Cloud(credentials(self.administrator), self.region)

    def has(self, service: str, path: str) -> bool:
        """Whether the site itself has the resource at this path."""
        try:
            self.admin.get(service, path)
        except Refused as refused:
            if refused.status == 404:
                return False
            raise
        return True

    @cached_property
    def mine(self) -> Cloud:
        """The ordinary user's view of the site itself."""
        return Cloud(credentials(self.user), self.region)

    def named(self, prefix: str) -> Iterator[str]:
        """Name everything here whose name or description begins with `prefix`."""
        for _, _, path in self.paths(prefix):
            yield f"{self.name}: {path.strip('/')}"

    def paths(self, prefix: str) -> Iterator[tuple[Cloud, str, str]]:
        """Give user, service and path of everything here whose name or description begins with `prefix`."""
        for service, path, key in NAMED:
            for item in self.admin.get(service, path)[key]:
                if any(str(item.get(field) or "").startswith(prefix) for field in ("name", "description")):
                    yield self.admin, service, f"{path.partition('?')[0]}/{item['id']}"
        for item in self.mine.get("compute", "/os-keypairs")["keypairs"]:
            if item["keypair"]["name"].startswith(prefix):
                yield self.mine, "compute", f"/os-keypairs/{item['keypair']['name']}"

    def sweep(self, prefix: str) -> list[str]:
        """Delete all of it and wait until it is gone; what the site will not delete yet is tried again.

        Gives the paths of what is there still.
        """
        end = time.monotonic() + SWEEP_SECONDS
        while (left := list(self.paths(prefix))) and time.monotonic() < end:
            for user, service, path in left:
                with contextlib.suppress(Refused):
                    user.call("DELETE", service, path)
            time.sleep(0.5)
        return [f"{self.name}: {path}" for _, _, path in left]


def credentials(entry: dict[str, Any]) -> Credentials:
    """Give the credentials of an entry of clouds.yaml."""
    auth = entry["auth"]
    names = ("auth_url", "username", "password", "project_name", "user_domain_name", "project_domain_name")
    return Credentials(*(auth[name] for name in names))


def described() -> list[Site]:
    """Give the sites of sites.json, the older one too.

    The sites' own entries are looked for in the state's clouds.yaml, then in the sandbox's. A site's zone as
    users of Atoll see it is `zone`, by default its name.
    """
    if STATE is None:
        return []
    entries: dict[str, Any] = {}
    for path in (locate().clouds, STATE / "clouds.yaml"):
        if path.exists():
            entries |= json.loads(path.read_text())["clouds"]
    return [
        Site(
            entry["name"],
            entry["region"],
            entry["public_network_id"],
            entry.get("zone", entry["name"]),
            entries[entry["region"].lower()],
            entries[f"{entry['region'].lower()}-admin"],
        )
        for entry in json.loads((STATE / "sites.json").read_text())
    ]


def sites() -> list[Site]:
    """Give the sites behind the cloud under test: those of the first one's Keystone, or a bare site alone."""
    found = described()
    if CLOUD == "atoll":
        return [site for site in found if site.auth_url == found[0].auth_url]
    return [site for site in found if site.region.lower() == CLOUD]


def apart() -> list[Site]:
    """Give one site of each Keystone; two where the older one is up."""
    return list({site.auth_url: site for site in reversed(described())}.values())[::-1]


def zones() -> list[str | None]:
    """Give what resources are asked for: no zone, then each site's; a bare site's own zones are not these."""
    return [None, *(site.zone for site in sites())] if CLOUD == "atoll" else [None]
