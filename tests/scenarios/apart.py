"""Clouds with a Keystone each, and one more Keystone that only Atoll's clients have."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.running import sites_of

from atoll.sandbox.simulated import Cloud, Keystone, Site
from atoll.sandbox.simulated.listener import Seen


@dataclass(slots=True)
class Apart:
    """`keystone` is the clients'; each site of `cloud` has one of its own: site1 is all of cloud1."""

    keystone: Keystone
    cloud: Cloud
    clouds_yaml: Path

    @property
    def auth_url(self) -> str:
        """The clients' Keystone."""
        return self.keystone.auth_url

    @property
    def sites(self) -> dict[str, Any]:
        """The `sites` table."""
        names = {site.name: cloud_name(site) for site in self.cloud.sites}
        return {name: {**one, "cloud": names[name]} for name, one in sites_of(self.cloud).items()}

    @property
    def tables(self) -> dict[str, Any]:
        """The other tables, without credentials."""
        return {
            "clouds": {cloud_name(site): {"auth_url": site.keystone.auth_url} for site in self.cloud.sites},
            "zones": {site.name: {"site": site.name, "zone": "nova"} for site in self.cloud.sites},
        }

    def credentials(self, *projects: str) -> list[dict[str, Any]]:
        """A credential of each project at each cloud, by reference: those of `admin` as administrators."""
        suffixes = {"demo": "", "alt_demo": "-alt", "admin": "-admin"}
        return [
            {
                "cloud": cloud_name(site),
                "project_id": self.keystone.project_id(project),
                "clouds_yaml": cloud_name(site) + suffixes[project],
                "admin": project == "admin",
            }
            for site in self.cloud.sites
            for project in projects
        ]


def cloud_name(site: Site) -> str:
    """What the cloud of a site is called: site1 is in cloud1."""
    return site.name.replace("site", "cloud")


def asked(clouds: Apart, request_id: str) -> list[tuple[str, Seen]]:
    """What the sites were asked for one request: (site, request)."""
    return [
        (site.name, seen)
        for site in clouds.cloud.sites
        for seen in site.listener.seen
        if seen.header("x-openstack-request-id") == request_id
    ]


@asynccontextmanager
async def apart(folder: Path, count: int = 2, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Apart]:
    """Clouds that share nothing, and a clouds.yaml with entries cloud1, cloud1-alt, cloud1-admin and more.

    With `tls` they are at https, the clients' Keystone is not.
    """
    async with Cloud(count, shared=False, tls=tls) as cloud:
        keystone = Keystone("top")
        await keystone.start()
        entries = cloud.clouds_yaml()["clouds"]
        file = folder / "clouds.yaml"
        named = {
            name.replace("simulated", "cloud1").replace("site", "cloud"): {**entry, "regions": []}
            for name, entry in entries.items()
        }
        file.write_text(json.dumps({"clouds": named}))
        try:
            yield Apart(keystone, cloud, file)
        finally:
            await keystone.close()
        listeners = [one.listener for one in (keystone, *cloud.keystones)]
        listeners += [one.listener for one in cloud.sites]
        assert [error for one in listeners for error in one.server.errors] == []
