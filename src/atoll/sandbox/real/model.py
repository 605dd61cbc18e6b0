"""What the sandbox is made of: releases, Keystones and sites, as frozen descriptions. No I/O."""

from dataclasses import dataclass, field
from pathlib import Path

from atoll.sandbox.real.layout import OLDER_INDEX, Layout, region_name

PASSWORD = "sandbox"  # noqa: S105 - a throw-away cloud on the loopback; the same for every user of it
OLDER_PASSWORD = "sandbox-older"  # noqa: S105 - likewise, and told apart so that a mix-up shows


@dataclass(frozen=True)
class Credentials:
    """A user with its password in one project of one Keystone; domains by name."""

    auth_url: str
    username: str
    password: str = field(repr=False)
    project: str
    user_domain: str = "Default"
    project_domain: str = "Default"


@dataclass(frozen=True)
class Release:
    """One OpenStack release: its pins, virtual environment and configuration templates."""

    name: str
    pins: str
    venv: Path
    templates: tuple[str, ...]
    volume_service: tuple[str, str]  # type and name in the catalog

    @property
    def bin(self) -> Path:
        """Where its commands are."""
        return self.venv / "bin"


@dataclass(frozen=True)
class Keystone:
    """One Keystone, with the names of the users and domains it is given."""

    process: str
    region: str
    port: int
    database: str
    directory: Path
    release: Release
    admin: str
    password: str = field(repr=False)
    users: tuple[str, ...]
    domain_id: str
    user_domain: str
    uwsgi_port: int | None = None  # the same by uWSGI's own protocol, for a web server before it

    @property
    def url(self) -> str:
        """The identity API."""
        return f"http://127.0.0.1:{self.port}/v3"

    @property
    def admin_credentials(self) -> Credentials:
        """The administrator, in its own project."""
        return Credentials(self.url, self.admin, self.password, self.admin)

    def credentials(self, user: str) -> Credentials:
        """One of `users`, each in a project of its own name."""
        return Credentials(self.url, user, self.password, user, self.user_domain, self.user_domain)


@dataclass(frozen=True)
class Site:
    """One region with its own services; `keystone` may be shared with other sites."""

    index: int
    computes: int
    keystone: Keystone
    layout: Layout

    @property
    def region(self) -> str:
        """Its name, in Keystone and everywhere."""
        return region_name(self.index)

    @property
    def release(self) -> Release:
        """A site is of the release of its Keystone."""
        return self.keystone.release

    @property
    def directory(self) -> Path:
        """Its configuration and data."""
        return self.layout.run / self.region

    @property
    def older(self) -> bool:
        """Whether this is the site of the older release."""
        return self.index == OLDER_INDEX

    def port(self, service: str) -> int:
        """The port of nova, cinder, placement, glance or neutron."""
        return self.layout.port(self.index, service)

    def url(self, service: str) -> str:
        """Where that service answers."""
        return f"http://127.0.0.1:{self.port(service)}"

    def process(self, service: str) -> str:
        """The name of a process of this site."""
        return f"{self.region.lower()}-{service}"

    def database(self, service: str) -> str:
        """The name of a database of this site."""
        return f"{service}_r{self.index}"

    @property
    def vhost(self) -> str:
        """Its virtual host in the message broker."""
        return f"r{self.index}"


def newest(layout: Layout) -> Release:
    """Describe the release that all sites but the older one run."""
    return Release("2026.2", "pins.txt", layout.venv, ("templates",), ("block-storage", "cinder"))


def main_keystone(layout: Layout) -> Keystone:
    """Describe the Keystone that the sites of the newest release share."""
    return Keystone(
        process="keystone",
        region="RegionOne",
        port=layout.port(0),
        database="keystone",
        directory=layout.run / "keystone",
        release=newest(layout),
        admin="admin",
        password=PASSWORD,
        users=("demo", "alt_demo"),
        domain_id="default",
        user_domain="Default",
    )


def main_sites(layout: Layout, sites: int, computes: int) -> list[Site]:
    """Describe the sites of the newest release, RegionOne first."""
    keystone = main_keystone(layout)
    return [Site(index, computes, keystone, layout) for index in range(1, sites + 1)]
