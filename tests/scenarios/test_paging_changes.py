"""R4: pages of lists that change while they are read, any size and layout: union, order, exactly once."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of, until
from tests.scenarios.conftest import SERVERS, Client, instances_of, sql

from atoll.sandbox.simulated import Cloud, Fault
from atoll.sandbox.simulated.instances import Instance

DETAIL = f"{SERVERS}/detail"
VOLUMES = "/block-storage/v3/volumes/detail"
LOSE_CURSORS = "DELETE FROM cursors;"
PLENTY = 60  # pages: more means that it does not end


@dataclass
class Story:
    """What is listed, and what happens before each page from the second on.

    `ages` are those of each site's servers (seconds: ties are likely), `largest` the largest pages of each.
    """

    ages: list[list[int]]
    largest: list[int]
    limit: int
    changes: list[str] = field(default_factory=list)
    filtered: bool = False
    way: str = "desc"
    key: str = "created_at"
    path: str = DETAIL


STORIES = st.builds(
    Story,
    ages=st.lists(st.lists(st.integers(0, 5), max_size=9), min_size=3, max_size=3),
    largest=st.lists(st.integers(1, 8), min_size=3, max_size=3),
    limit=st.integers(1, 12),
    changes=st.lists(st.sampled_from(["", "delete", "delete marker", "create", "lose cursors"]), max_size=6),
    filtered=st.booleans(),
    way=st.sampled_from(["asc", "desc"]),
    key=st.sampled_from(["created_at", "display_name"]),
    path=st.sampled_from([DETAIL, SERVERS]),
)


class World:
    """The servers of a story, in the sites."""

    def __init__(self, cloud: Cloud, story: Story) -> None:
        self.cloud, self.story = cloud, story
        self.now = int(time.time())
        for site, largest, ages in zip(cloud.sites, story.largest, story.ages, strict=True):
            for old in instances_of(site):
                self.delete(old)
            site.compute.max_limit = largest
            site.bulk(iter(self.now - age for age in ages))
            for at, one in enumerate(instances_of(site)):
                # Few names, so that they tie too, in either case: MySQL does not tell them apart.
                one.name = ("web", "DB", "db", "Web")[at % 4] + ("-drop" if at % 3 == 2 else "")
        self.deleted: set[str] = set()

    def servers(self) -> list[Instance]:
        """What there is, as one cloud would list it: sites in order where the sort keys tie."""
        order = [(self.story.key, self.story.way)]
        if self.story.key != "created_at":
            order.append(("created_at", self.story.way))
        found = [
            (site, place, one)
            for site, of_site in enumerate(self.cloud.sites)
            for place, one in enumerate(
                one for one in of_site.compute.instances.sorted(None, order) if one.gone is None
            )
        ]
        value = (
            (lambda one: one.name.lower()) if self.story.key == "display_name" else lambda one: one.created
        )
        if self.story.way == "desc":
            found.sort(key=lambda at: value(at[2]), reverse=True)  # stable: sites stay in order
        else:
            found.sort(key=lambda at: value(at[2]))
        return [one for _, _, one in found if not self.story.filtered or "drop" not in one.name]

    def delete(self, one: Instance) -> None:
        """As the site's user would, at the site itself."""
        one.vm_state, one.gone = "deleted", self.now
        for site in self.cloud.sites:
            site.compute.instances.touch(one)

    def change(self, what: str, seen: list[str]) -> None:
        """Let something happen between two pages."""
        there = self.servers()
        if what == "create":
            self.cloud.sites[len(seen) % 3].bulk(iter([self.now + 60]))
        elif what == "delete marker":
            gone = [one for one in there if one.id == seen[-1]]
            for one in gone:
                self.delete(one)
            self.deleted |= {one.id for one in gone}
        elif what == "delete" and there:
            one = there[(7 * len(seen)) % len(there)]
            self.delete(one)
            self.deleted.add(one.id)


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """As everywhere, but for the limit on lists, which a few hundred in a second meet."""
    limits = {"fan_out_per_second": 100_000, "fan_out_burst": 100_000}
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=limits)
    await running.settled()
    return running


@given(story=STORIES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_stays_is_shown_once_and_in_order(
    user: Client, cloud: Cloud, atoll: Atoll, story: Story
) -> None:
    """A model of the true sites against the pages; servers that come or go while it is read may be missed."""
    world = World(cloud, story)
    before = [one.id for one in world.servers()]
    params = {"limit": str(story.limit), "sort_key": story.key, "sort_dir": story.way}
    if story.filtered:
        params["name"] = "^(web|db)$"
    found: list[str] = []
    for change in ["", *story.changes, *[""] * PLENTY]:
        if change == "lose cursors":
            await sql(atoll.database, LOSE_CURSORS)
        elif change:
            world.change(change, found)
        answer = await user.get(story.path, params={**params, **({"marker": found[-1]} if found else {})})
        if change == "lose cursors" and found[-1] in world.deleted:
            # Nobody knows any more where it was: what Nova says of a marker that is nowhere.
            assert (answer.status_code, found[-1] in answer.text) == (400, True)
            return
        assert answer.status_code == 200, answer.text
        page = [one["id"] for one in answer.json()["servers"]]
        if not page:
            break
        found += page
    assert not page, "it does not end"
    assert len(found) == len(set(found)), "something is shown twice"
    there = [one.id for one in world.servers()]
    assert [one for one in found if one in set(there)] == [one for one in there if one in set(found)]
    assert set(found) >= set(before) - world.deleted, "something is left out that stayed"


async def volume(client: Client, zone: str, name: str) -> str:
    """A volume at a site; its id."""
    answer = await client.post(
        "/block-storage/v3/volumes", json={"volume": {"name": name, "size": 1, "availability_zone": zone}}
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["volume"]["id"])


@pytest.fixture
async def volumes(user: Client, cloud: Cloud) -> list[str]:
    """Volumes, newest first, each at another site than the one before."""
    made = [await volume(user, f"site{number % 3 + 1}", f"v{number}") for number in range(9)]
    for number, ident in enumerate(made):
        for site in cloud.sites:
            if (record := site.block_storage.volumes.get(ident)) is not None:
                record["created_at"] = f"2026-01-01T00:00:0{number}.000000"
    return made[::-1]


def forget(cloud: Cloud, ident: str) -> None:
    """Delete a volume at its site, behind the gateway's back."""
    for site in cloud.sites:
        site.block_storage.volumes.pop(ident, None)


async def volumes_after(user: Client, marker: str | None = None) -> Any:
    """A page of four volumes."""
    params = {"limit": "4", "sort": "created_at:desc"} | ({"marker": marker} if marker else {})
    return await user.get(VOLUMES, params=params)


async def test_a_service_that_forgets_markers_loses_no_item(
    user: Client, cloud: Cloud, volumes: list[str]
) -> None:
    """Cinder refuses a marker that is deleted; to the client only its own is one."""
    page = (await volumes_after(user)).json()["volumes"]
    assert [one["id"] for one in page] == volumes[:4]
    forget(cloud, volumes[2])
    forget(cloud, volumes[1])
    answer = await volumes_after(user, volumes[3])
    assert answer.status_code == 200, answer.text
    assert "x-atoll-missing-sites" not in answer.headers
    assert [one["id"] for one in answer.json()["volumes"]] == volumes[4:8]


async def test_a_deleted_marker_is_what_the_service_says(
    user: Client, cloud: Cloud, volumes: list[str]
) -> None:
    assert (await volumes_after(user)).status_code == 200
    forget(cloud, volumes[3])
    answer = await volumes_after(user, volumes[3])
    assert answer.status_code == 404, answer.text
    assert f"Volume {volumes[3]} could not be found." in answer.text


async def test_a_deleted_server_is_still_a_marker(user: Client, cloud: Cloud) -> None:
    """Nova goes on after a server that was deleted meanwhile, whichever site had it."""
    cloud.bulk(12, "uniform")
    wanted = [one["id"] for one in (await user.get(SERVERS)).json()["servers"]]
    assert len((await user.get(SERVERS, params={"limit": "4"})).json()["servers"]) == 4
    assert (await user.delete(f"{SERVERS}/{wanted[3]}")).status_code == 204
    answer = await user.get(SERVERS, params={"limit": "4", "marker": wanted[3]})
    assert [one["id"] for one in answer.json()["servers"]] == wanted[4:8]


async def test_a_deleted_marker_without_a_cursor_gives_no_list_of_one_site(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    """The first site still knows it, and would answer with its own servers alone."""
    cloud.bulk(12, "uniform")
    first = instances_of(cloud.sites[0])[1].id
    assert (await user.delete(f"{SERVERS}/{first}")).status_code == 204
    await sql(atoll.database, LOSE_CURSORS)
    answer = await user.get(SERVERS, params={"limit": "4", "marker": first})
    assert answer.status_code == 400, answer.text
    assert answer.json() == {"badRequest": {"code": 400, "message": f"marker [{first}] not found"}}


async def test_the_empty_page_after_the_last_one_costs_one_round(user: Client, cloud: Cloud) -> None:
    """Clients go on until a page is empty: that must not walk all sites from the start."""
    cloud.bulk(30, "uniform")
    found = (await user.get(SERVERS, params={"limit": "30"})).json()["servers"]
    for site in cloud.sites:
        site.listener.seen.clear()
    answer = await user.get(SERVERS, params={"limit": "30", "marker": found[-1]["id"]})
    assert answer.json() == {"servers": []}
    assert [len(site.listener.seen) for site in cloud.sites] == [1, 1, 1]


# -- brief lists, which do not show what they are sorted by ----------------------------------------------


def lists_asked(cloud: Cloud) -> list[str]:
    """The lists of servers that the sites were asked for since the last time: their paths."""
    asked = [seen.target for site in cloud.sites for seen in site.listener.seen if "/servers" in seen.target]
    for site in cloud.sites:
        site.listener.seen.clear()
    return [target.partition("?")[0].rpartition("/")[2] for target in asked]


async def test_a_brief_list_is_read_in_brief_once_the_times_are_known(user: Client, cloud: Cloud) -> None:
    cloud.bulk(60, "uniform")
    lists_asked(cloud)
    first = await user.get(SERVERS)
    assert lists_asked(cloud) == ["detail"] * 3
    again = await user.get(SERVERS)
    assert lists_asked(cloud) == ["servers"] * 3
    assert again.json() == first.json()
    assert [one["id"] for one in first.json()["servers"]] == [
        one["id"] for one in (await user.get(DETAIL)).json()["servers"]
    ]


async def test_only_the_times_of_what_is_new_are_read(user: Client, cloud: Cloud) -> None:
    cloud.bulk(60, "uniform")
    assert len((await user.get(SERVERS)).json()["servers"]) == 60
    cloud.site("site2").bulk(iter([int(time.time()) + 60]))
    lists_asked(cloud)
    found = (await user.get(SERVERS)).json()["servers"]
    assert sorted(lists_asked(cloud)) == ["detail", "servers", "servers", "servers"]
    (new,) = (one for one in instances_of(cloud.site("site2")) if one.created > time.time())
    assert found[0]["id"] == new.id
    assert len(found) == 61
    assert (await user.get(SERVERS)).json()["servers"] == found


async def test_a_brief_list_shows_what_a_site_shows(user: Client, cloud: Cloud) -> None:
    cloud.bulk(6, "uniform")
    (page,) = [(await user.get(SERVERS)).json()["servers"]]
    assert all(list(one) == ["id", "name", "links"] for one in page)
    assert (await user.get(SERVERS)).json()["servers"] == page


async def test_a_list_that_changes_between_brief_and_detail_is_read_whole(user: Client, cloud: Cloud) -> None:
    """The times of what is new are asked for, and by then something else is new."""
    cloud.bulk(6, "uniform")
    assert len((await user.get(SERVERS)).json()["servers"]) == 6
    site, now = cloud.site("site2"), int(time.time())
    site.bulk(iter([now + 60]))
    lists_asked(cloud)
    site.faults.add(Fault("latency", path="servers/detail", count=1))
    asking = asyncio.ensure_future(user.get(SERVERS))
    await until(lambda: site.faults.hits)
    site.bulk(iter([now + 120]))
    site.faults.clear()
    found = (await asking).json()["servers"]
    assert lists_asked(cloud).count("detail") == 2, "the few that were new, then the page"
    assert [one["id"] for one in found[:2]] == [one.id for one in instances_of(site)[:2]]
    assert len(found) == 8
