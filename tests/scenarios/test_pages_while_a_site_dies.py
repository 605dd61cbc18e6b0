"""A site that dies in the middle of a list of volumes, images, networks: named, and nothing else is lost."""

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest
from tests.scenarios.conftest import Client

from atoll.sandbox.simulated import Cloud, Fault, Site
from atoll.sandbox.simulated.network_kinds import KINDS

EACH = 4  # things of each site
LIMIT = 3
VOLUME = "/block-storage/v3"


def volumes(cloud: Cloud, site: Site) -> str:
    """A volume of demo's."""
    project, user = cloud.keystone.project_id("demo"), cloud.keystone.store.id_of("user", "demo")
    return site.block_storage.made_for(project, user, {})


def snapshots(cloud: Cloud, site: Site) -> str:
    return site.block_storage.snapshot_for(volumes(cloud, site), "s")


def groups(cloud: Cloud, site: Site) -> str:
    one = site.block_storage.new(name="g", status="available", project_id=cloud.keystone.project_id("demo"))
    site.block_storage.groups.groups[one["id"]] = one
    return str(one["id"])


def images(cloud: Cloud, site: Site) -> str:
    owner = cloud.keystone.project_id("demo")
    name = f"dies {site.clock():.0f}"  # of the same name and bytes they would be one
    return str(site.image.add(name, name.encode(), owner=owner, visibility="private")["id"])


def network_of(kind: str, cloud: Cloud, site: Site) -> str:
    store, project = cloud.keystone.store, cloud.keystone.project_id("demo")
    token = store.issue(store.id_of("user", "demo"), project, ["password"], frozenset({"member"}))
    given: dict[str, Any] = {"name": f"dies {site.clock():.0f}"}
    if kind != "networks":
        given["network_id"] = site.network.records.create(token, KINDS["networks"], {"name": "n"})["id"]
    return str(site.network.records.create(token, KINDS[kind], given)["id"])


# (what makes one, its list, the service as faults name it, what the list is asked besides)
LISTS: dict[str, tuple[Callable[[Cloud, Site], str], str, str, str]] = {
    "volumes": (volumes, f"{VOLUME}/volumes", "volume", ""),
    "snapshots": (snapshots, f"{VOLUME}/snapshots", "volume", ""),
    "groups": (groups, f"{VOLUME}/groups", "volume", ""),
    "images": (images, "/image/v2/images", "image", "&visibility=private"),
    "networks": (partial(network_of, "networks"), "/network/v2.0/networks", "network",
                 "&sort_key=name&sort_dir=desc&shared=false&router:external=false"),
    "ports": (partial(network_of, "ports"), "/network/v2.0/ports", "network",
              "&sort_key=name&sort_dir=desc&device_owner="),
}  # fmt: skip


class Walked:
    """Pages of a list as a client reads them."""

    def __init__(self, client: httpx.AsyncClient, path: str, query: str) -> None:
        self._client = client
        self._plural = path.removesuffix("/detail").rpartition("/")[2]
        self._path = path
        self._query = f"?limit={LIMIT}{query}"
        self.ids: list[str] = []
        self.answers: list[httpx.Response] = []

    async def page(self) -> list[str]:
        """The next page, asked for by the last id as clients do; empty after the last."""
        marker = f"&marker={self.ids[-1]}" if self.ids else ""
        answer = await self._client.get(self._path + self._query + marker)
        assert answer.status_code == 200, answer.text
        self.answers.append(answer)
        new = [one["id"] for one in answer.json()[self._plural]]
        self.ids += new
        return new

    async def first_whole(self) -> httpx.Response:
        """The first page for who is to miss nothing."""
        return await self._client.get(self._path + self._query, headers={"X-Atoll-Partial": "refuse"})

    async def rest(self) -> None:
        """All pages to the end."""
        while await self.page():
            assert len(self.answers) < 20


Things = tuple[Walked, list[str], dict[str, str], str]


@pytest.fixture(params=LISTS)
async def there(request: pytest.FixtureRequest, user: Client, cloud: Cloud) -> Things:
    """A walk to come, all ids in their order, the site of each, and the service's name in faults."""
    make, path, service, query = LISTS[request.param]
    user.headers["OpenStack-API-Version"] = "volume 3.60"
    made, sites = [], {}
    for number in range(3 * EACH):
        for site in cloud.sites:
            site.clock = partial(float, 1_700_000_000.0 + number * 60)
        site = cloud.sites[number % 3]
        made.append(make(cloud, site))
        sites[made[-1]] = site.name
    return Walked(user, path, query), made[::-1], sites, service


async def test_before_it_dies_the_list_is_whole(
    there: Things,
) -> None:
    walked, every, _, _ = there
    await walked.rest()
    assert [one for one in walked.ids if one in set(every)] == every


async def test_between_two_pages(there: Things, cloud: Cloud) -> None:
    walked, every, sites, _ = there
    first = await walked.page()
    cloud.site("site2").faults.add(Fault("refuse"))
    await walked.rest()
    wanted = [one for one in every if sites[one] != "site2" or one in first]
    assert [one for one in walked.ids if one in sites] == wanted
    assert len(walked.ids) == len(set(walked.ids))
    assert "x-atoll-missing-sites" not in walked.answers[0].headers
    for answer in walked.answers[1:]:
        assert "site2" in answer.headers["x-atoll-missing-sites"]


@pytest.mark.parametrize("kind", ["cut", "not_json"])
async def test_in_the_middle_of_a_page(there: Things, cloud: Cloud, kind: Any) -> None:
    walked, every, sites, service = there
    first = await walked.page()
    cloud.site("site2").faults.add(Fault(kind, service=service, method="GET"))
    second = await walked.page()
    cloud.site("site2").faults.clear()
    assert "site2" in walked.answers[1].headers["x-atoll-missing-sites"]
    wanted = [one for one in every if sites[one] != "site2" or one in first]
    ours = [one for one in walked.ids if one in sites]
    assert ours == wanted[: len(ours)]
    assert second
    strict = await walked.first_whole()
    assert strict.status_code == 200, "it is back"


async def test_on_the_first_page_and_nobody_is_to_miss_anything(there: Things, cloud: Cloud) -> None:
    walked, _, _, _ = there
    cloud.site("site3").faults.add(Fault("refuse"))
    answer = await walked.first_whole()
    assert (answer.status_code, "site3" in answer.text) == (503, True)
