"""Many simulated sites in one process: `async with Cloud(3) as cloud: ...`, or served until SIGTERM."""

import asyncio
import json
import os
import resource
import signal
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from atoll.sandbox.simulated.identity import PASSWORD, Keystone
from atoll.sandbox.simulated.identity_store import INTERFACES
from atoll.sandbox.simulated.site import Site

Layout = Literal["uniform", "hot", "sorted"]
HOT_SHARE = 0.9  # of all servers, at the first site, in the `hot` layout


class Cloud:
    """Sites that share one Keystone, or (`shared=False`) have one each.

    `sites` is how many (named site1, site2, ...) or their names; a site's region is its name. `interfaces`
    are the catalogue's: `("public",)` keeps tokens small with very many sites. `tls` makes all of it https.
    """

    def __init__(
        self,
        sites: int | Sequence[str] = 2,
        *,
        password: str = PASSWORD,
        shared: bool = True,
        own_images: bool = False,
        interfaces: Sequence[str] = INTERFACES,
        clock: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        names = [f"site{n}" for n in range(1, sites + 1)] if isinstance(sites, int) else list(sites)
        self.password = password
        self.clock = clock
        self.keystone = Keystone("keystone", password=password, interfaces=interfaces, clock=clock)
        self.keystones = [self.keystone]
        self.sites: list[Site] = []
        for number, name in enumerate(names, 1):
            keystone = self.keystone
            if not shared and number > 1:
                keystone = Keystone(f"keystone-{name}", password=password, interfaces=interfaces, clock=clock)
                self.keystones.append(keystone)
            site = Site(name, keystone, own_images=own_images, clock=clock)
            site.number = number
            self.sites.append(site)
        listeners: list[Keystone | Site] = [*self.keystones, *self.sites]
        for listener in listeners:
            listener.listener.server.tls = tls

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self, port: int = 0) -> None:
        """Listen: the Keystones from `port` on, then the sites (0: any free ports)."""
        raise_file_limit()
        listeners: list[Keystone | Site] = [*self.keystones, *self.sites]
        for offset, listener in enumerate(listeners):
            await listener.start(port + offset if port else 0)

    async def close(self) -> None:
        """Stop listening."""
        listeners: list[Keystone | Site] = [*self.sites, *self.keystones]
        for listener in listeners:
            await listener.close()

    def site(self, name: str) -> Site:
        """The site of that name. Raises LookupError."""
        for site in self.sites:
            if site.name == name:
                return site
        raise LookupError(name)

    def bulk(self, servers: int, layout: Layout = "uniform", project: str = "demo") -> None:
        """Preload `servers` active servers over all sites, one per second of the past.

        `uniform` interleaves the sites, `hot` puts 90 % at the first, `sorted` gives each site a time of its
        own.
        """
        start = int(self.clock()) - servers
        for number, site in enumerate(self.sites):
            site.bulk(_times(layout, servers, number, len(self.sites), start), project)

    def clouds_yaml(self) -> dict[str, Any]:
        """A clouds.yaml: `simulated`, `-alt` and `-admin`; per extra Keystone `<site>` likewise."""
        clouds: dict[str, Any] = {}
        for keystone in self.keystones:
            regions = [site.region for site in self.sites if site.keystone is keystone]
            name = "simulated" if keystone is self.keystone else regions[0]
            for suffix, user in (("", "demo"), ("-alt", "alt_demo"), ("-admin", "admin")):
                auth = {
                    "auth_url": keystone.auth_url,
                    "username": user,
                    "password": self.password,
                    "project_name": user,
                }
                auth |= {"user_domain_id": "default", "project_domain_id": "default"}
                clouds[name + suffix] = {"auth": auth, "identity_api_version": 3, "regions": regions}
        return {"clouds": clouds}

    def describe(self) -> list[dict[str, Any]]:
        """The sites as `sites.json` has them: name, region, endpoints, auth_url, external network, pid."""
        return [
            {
                "name": site.name,
                "region": site.region,
                "auth_url": site.keystone.auth_url,
                "endpoints": site.endpoints,
                "public_network_id": site.public_network_id,
                "pid": os.getpid(),
            }
            for site in self.sites
        ]


def raise_file_limit() -> None:
    """Allow as many open files as the hard limit does: a thousand sites need thousands of sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _times(layout: Layout, servers: int, number: int, sites: int, start: int) -> Iterator[int]:
    """The creation times of one site's share."""
    if layout == "uniform" or sites == 1:
        return iter(range(start + number, start + servers, sites))
    if layout == "sorted":
        share = -(-servers // sites)
        return iter(range(start + number * share, min(start + (number + 1) * share, start + servers)))
    every = round(1 / (1 - HOT_SHARE))
    if number == 0:
        return (start + k for k in range(servers) if k % every)
    return (start + k for k in range(0, servers, every) if (k // every) % (sites - 1) == number - 1)


def run_simulated(cloud: Cloud, port: int, state_dir: Path) -> None:
    """Serve simulated sites until SIGTERM or SIGINT.

    The Keystones listen from `port` on, the sites at the next ones (0: any free ones). `state_dir` gets
    `clouds.yaml` (mode 0600) and `sites.json`. Raises OSError if a port is taken.
    """
    asyncio.run(_run(cloud, port, state_dir))


async def _run(cloud: Cloud, port: int, state_dir: Path) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    await cloud.start(port)
    try:
        await asyncio.to_thread(_write_state, cloud, state_dir)
        await stop.wait()
    finally:
        await cloud.close()


def _write_state(cloud: Cloud, state_dir: Path) -> None:
    state_dir.mkdir(parents=True, exist_ok=True)
    secret = state_dir / "clouds.yaml"
    secret.touch(mode=0o600)
    secret.chmod(0o600)
    secret.write_text(json.dumps(cloud.clouds_yaml(), indent=1) + "\n")
    (state_dir / "sites.json").write_text(json.dumps(cloud.describe(), indent=1) + "\n")
