"""What is remembered for one is not told to another: other projects, other users, other roles."""

from collections.abc import AsyncIterator

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import SERVERS, UNKNOWN, ZONES, Client, boot, client_of, server_body

from atoll.sandbox.simulated import Cloud


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await running.settled()
    store = cloud.keystone.store
    store.assignments.add((store.id_of("user", "demo"), store.id_of("project", "alt_demo"), "member"))
    store.add_user("colleague", "x", cloud.keystone.project_id("demo"), "member", "reader")
    return running


@pytest.fixture
async def twice(atoll: Atoll, cloud: Cloud) -> AsyncIterator[tuple[Client, Client]]:
    """The user demo in the project alt_demo: as a member, and with a later token as an administrator."""
    store = cloud.keystone.store
    member = cloud.keystone.token("demo", "alt_demo")
    store.assignments.add((store.id_of("user", "demo"), store.id_of("project", "alt_demo"), "admin"))
    promoted = cloud.keystone.token("demo", "alt_demo")
    async with client_of(atoll, member) as one, client_of(atoll, promoted) as other:
        yield one, other


async def test_the_same_user_in_two_projects_and_two_users_of_one(atoll: Atoll, user: Client, cloud: Cloud):
    path = f"{SERVERS}/{await boot(user, cloud, 'zone2')}"
    async with (
        client_of(atoll, cloud.keystone.token("demo", "alt_demo")) as elsewhere,
        client_of(atoll, cloud.keystone.token("colleague", "demo")) as colleague,
    ):
        for _ in range(3):
            assert [(await one.get(path)).status_code for one in (elsewhere, colleague, user)] == [
                404,
                200,
                200,
            ]


async def test_what_was_not_found_with_fewer_roles_is_found_with_more(
    twice: tuple[Client, Client], user: Client, cloud: Cloud
):
    member, promoted = twice
    path = f"{SERVERS}/{await boot(user, cloud, 'zone2')}"
    for _ in range(2):
        assert (await member.get(path)).status_code == 404
        assert (await promoted.get(path)).status_code == 200
    for _ in range(2):
        assert (await member.get(path)).status_code == 404, "nor is what was found with more found with fewer"


@pytest.mark.parametrize("other", ["in another project", "another user", "with other roles"])
async def test_an_absence_is_of_who_asked(
    twice: tuple[Client, Client], atoll: Atoll, cloud: Cloud, other: str
):
    """Somebody else is not told it but looks anew, with a token that may see more."""
    names = {"in another project": ("demo", "demo"), "another user": ("alt_demo", "alt_demo")}
    async with client_of(atoll, cloud.keystone.token(*names.get(other, ("demo", "demo")))) as client:
        somebody = client if other in names else twice[1]
        for _ in range(2):
            assert (await twice[0].get(f"{SERVERS}/{UNKNOWN}")).status_code == 404
        for site in cloud.sites:
            site.listener.seen.clear()
        assert (await twice[0].get(f"{SERVERS}/{UNKNOWN}")).status_code == 404
        assert questions(cloud) <= 1, "it is remembered"
        assert (await somebody.get(f"{SERVERS}/{UNKNOWN}")).status_code == 404
        assert questions(cloud) > len(cloud.sites)


def questions(cloud: Cloud) -> int:
    """How often sites were asked for what is nowhere."""
    return sum(UNKNOWN in seen.target for site in cloud.sites for seen in site.listener.seen)


async def test_where_an_image_is_that_only_an_administrator_sees(twice: tuple[Client, Client], cloud: Cloud):
    """A member is told the same of it as of one that is nowhere, though its site is known."""
    member, promoted = twice
    ident = cloud.site("site2").image.add(
        "theirs", b"x", owner=cloud.keystone.project_id("demo"), visibility="private", disk_format="raw",
        container_format="bare",
    )["id"]  # fmt: skip
    body, other = server_body(cloud), server_body(cloud)
    body["server"]["imageRef"], other["server"]["imageRef"] = ident, UNKNOWN
    assert (await promoted.post(SERVERS, json=body)).status_code == 202
    for site in cloud.sites:
        site.listener.seen.clear()
    said = [await member.post(SERVERS, json=one) for one in (body, other)]
    assert said[0].status_code == said[1].status_code
    assert said[0].text.replace(ident, UNKNOWN) == said[1].text
    asked = [seen.target for site in cloud.sites for seen in site.listener.seen if ident in seen.target]
    assert len(asked) >= len(cloud.sites), "it was looked for with the member's own token"
