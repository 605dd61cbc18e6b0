"""Entries of clouds.yaml as clouds and their sites: who can be logged in, and what belongs together.

An entry is a way to log in, a cloud of Atoll's a project at a Keystone: several entries may be one. Decides
and says; writes nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

from atoll.cli.config_commands import endpoints_by_region
from atoll.trust.clouds_yaml import Entry
from atoll.trust.clouds_yaml import read_entry as read_cloud
from atoll.trust.login import CloudAway, Login, LoginError, login
from atoll.trust.records import CloudRecord, is_administrators

AT_ONCE: Final = 16
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")

Endpoints = Mapping[str, str]
"""URLs by service type."""


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that could be logged in with: its regions with their endpoints."""

    name: str
    entry: Entry
    login: Login
    regions: Mapping[str, Endpoints]

    @property
    def keystone(self) -> str:
        """Which Keystone it leads to."""
        return self.entry.cloud.auth_url.lower()

    def site(self, region: str) -> str:
        """What the site of a region of it is called."""
        return named(self.name) if len(self.regions) == 1 else f"{named(self.name)}-{named(region)}"


@dataclass(frozen=True, slots=True)
class Failed:
    """An entry that could not be logged in with. `entry` is there where the cloud is only away."""

    name: str
    reason: str
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class OwnSite:
    """A site to be: a region with its endpoints."""

    name: str
    region: str
    endpoints: Endpoints


@dataclass(slots=True)
class OwnCloud:
    """A cloud to be. `entry` is how one logs in there, `projects` are entries of other projects of it.

    `admin`: by the entry one is an administrator there.
    """

    name: str
    entry: str
    record: CloudRecord
    project_id: str
    admin: bool
    sites: list[OwnSite] = field(default_factory=list)
    projects: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Arranged:
    """The clouds to be, and what to say: entries (or regions) that are left out and why, and what else.

    `logins` are those that were made, by entry.
    """

    clouds: list[OwnCloud] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    logins: dict[str, Login] = field(default_factory=dict)

    def sites(self) -> Iterator[tuple[OwnCloud, OwnSite]]:
        """Every site with its cloud."""
        return ((cloud, site) for cloud in self.clouds for site in cloud.sites)


def named(text: str) -> str:
    """A name as sites and clouds may have it."""
    return _NOT_IN_NAMES.sub("-", text).strip("-._")[:63] or "cloud"


def logged_in(names: Sequence[str]) -> tuple[list[Found], list[Failed]]:
    """Log in by each entry: those that can be used, and why the others cannot."""
    with ThreadPoolExecutor(min(AT_ONCE, len(names))) as threads:
        made = list(threads.map(_log_in, names))
    return [one for one in made if isinstance(one, Found)], [one for one in made if isinstance(one, Failed)]


def _log_in(name: str) -> Found | Failed:
    entry = None
    try:
        entry = read_cloud(name)
        who = login(entry.cloud, entry.options, private=True, catalog=True)
    except CloudAway as error:
        return Failed(name, str(error), entry)
    except LoginError as error:
        return Failed(name, str(error))
    catalog = [dict(one) for one in who.catalog]
    regions = endpoints_by_region(catalog, entry.regions, who.project_id, entry.interface)
    if not regions:
        there = ", ".join(endpoints_by_region(catalog, (), who.project_id, entry.interface))
        if there and entry.regions:
            return Failed(name, f"there is no region {', '.join(entry.regions)}; there are {there}")
        return Failed(
            name, f"its catalogue has no {entry.interface} endpoint of a service that can be served"
        )
    return Found(name, entry, who, regions)


def arranged(found: Sequence[Found]) -> Arranged:
    """What the entries are together.

    Entries of one project of one Keystone are one cloud, with a site for each region. An entry of another
    project there is a cloud of its own where its regions are, and where they are taken another project of
    the cloud that has them: a region is one site, since what is public there would be listed twice.
    """
    made = Arranged(logins={one.name: replace(one.login, catalog=()) for one in found})
    for one in found:
        _arrange(made, one)
    for cloud in made.clouds:
        if cloud.admin:
            made.notes.append(
                f"{cloud.entry}: your account is an administrator's there: networks and images of all its "
                "projects are listed. Other users that you make here get nothing of it"
            )
    return made


def _arrange(made: Arranged, one: Found) -> None:
    project_id = one.login.project_id
    mine = [cloud for cloud in made.clouds if cloud.record.auth_url.lower() == one.keystone]
    own = next((cloud for cloud in mine if cloud.project_id == project_id), None)
    taken = {
        site.region: (cloud, site) for cloud in mine for site in cloud.sites if site.region in one.regions
    }
    free = [region for region in one.regions if region not in taken]
    if own is not None:
        _extend(made, own, one, free)
        if not free:
            made.left[one.name] = (
                f"it is of the same project and region as {own.entry}, which is used instead"
                if len(taken) == 1
                else f"it is of the same project and regions as {own.entry}, which is used instead"
            )
    elif taken:
        hosts = {cloud.name: cloud for cloud, _ in taken.values()}
        for host in hosts.values():
            host.projects.append(one.name)
        if free:
            made.left[f"{one.name} in {', '.join(free)}"] = (
                f"{one.name} is another project of the cloud {next(iter(hosts))}, which has not got that: "
                "to have it too, make an entry with that region only"
            )
    else:
        cloud = OwnCloud(
            named(one.name), one.name, one.entry.cloud, project_id, admin=is_administrators(one.login.roles)
        )
        if any(cloud.name == other.name for other in made.clouds):
            made.left[one.name] = f"there is a cloud {cloud.name} already: rename the entry in clouds.yaml"
            return
        _extend(made, cloud, one, free)
        if cloud.sites:
            made.clouds.append(cloud)


def _extend(made: Arranged, cloud: OwnCloud, one: Found, regions: Sequence[str]) -> None:
    """Add regions of an entry to a cloud, each as a site, unless its name or its endpoints are taken."""
    for region in regions:
        site = OwnSite(one.site(region), region, one.regions[region])
        there = [*made.sites(), *((cloud, other) for other in cloud.sites)]
        what = one.name if len(one.regions) == 1 else f"{one.name} in {region}"
        if same := next((other for _, other in there if other.name == site.name), None):
            made.left[what] = (
                f"there is a site {site.name} already, in the region {same.region}: rename one of the entries"
            )
        elif twin := next((other for _, other in there if _one_place(site, other)), None):
            made.left[what] = (
                f"its endpoints are those of the site {twin.name}, by another auth_url: name one of the "
                "entries, or give both the same auth_url"
            )
        else:
            cloud.sites.append(site)


def _one_place(one: OwnSite, other: OwnSite) -> bool:
    urls = {url.lower() for url in other.endpoints.values()}
    return any(url.lower() in urls for url in one.endpoints.values())
