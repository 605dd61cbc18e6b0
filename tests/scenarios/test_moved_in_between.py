"""What is asked, changed and deleted in the very moment in which a server is another one by its id."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.running import Atoll
from tests.scenarios.conftest import SERVERS, Client, boot
from tests.scenarios.probes import comes_to
from tests.scenarios.test_accepted_servers import accepted
from tests.scenarios.test_lists_between import ANOTHER, after, delete, ids, store, whose
from tests.scenarios.test_server_moves import move, moved, server_at

from atoll.gateway import list_reads, lists
from atoll.gateway.aliases import Aliases
from atoll.gateway.forward import Forward
from atoll.sandbox.simulated import Cloud, Fault
from atoll.store import Locations, Store

__all__ = ["after", "store"]  # fixtures
First = Callable[[type, str, Callable[[], Awaitable[Any]]], None]


@pytest.fixture
async def atoll(moving: Atoll) -> Atoll:
    """A gateway that moves things."""
    return moving


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> First:
    """Have something happen before a method of the gateway is called for the first time."""

    def before(of: type, method: str, happens: Callable[[], Awaitable[Any]]) -> None:
        plain, begun = getattr(of, method), False

        async def calling(*given: Any, **more: Any) -> Any:
            nonlocal begun
            if not begun:
                begun = True
                await happens()
            return await plain(*given, **more)

        monkeypatch.setattr(of, method, calling)

    return before


class Moving:
    """A server at the first site, and the one at the second that is to be it; `id` is what its user holds."""

    def __init__(self, user: Client, cloud: Cloud, store: Store) -> None:
        self.user, self.cloud, self.store = user, cloud, store
        self.id = self.old = self.new = ""

    async def begun(self, *, before: bool) -> "Moving":
        """It is at both, for the first time or not."""
        self.old = self.id = await boot(self.user, self.cloud, "site1", name="old")
        self.new = await boot(self.user, self.cloud, "site2", name="new")
        if before:
            self.id = str(uuid.uuid4())
            await self.store.aliases.bind(self.id, "site1", self.old, **whose(self.cloud))
        await self.store.aliases.hide("site2", self.new)
        await self.known()
        return self

    async def known(self) -> None:
        """The gateway has read what has changed: it does where it knows nothing of an id."""
        await self.user.get(f"{SERVERS}/{uuid.uuid4()}")

    async def done(self) -> None:
        """Its id means the new one."""
        bound = {"was": ("site1", self.old), **whose(self.cloud)}
        await self.store.aliases.bind(self.id, "site2", self.new, **bound)
        await self.known()

    async def done_and_gone(self) -> None:
        """And the old one is deleted."""
        await self.done()
        delete(self.cloud, self.old)


@pytest.fixture
async def server(user: Client, cloud: Cloud, store: Store) -> Moving:
    """One that is being moved."""
    return Moving(user, cloud, store)


@pytest.mark.parametrize("below", ["", "/metadata", "/os-interface"])
@pytest.mark.parametrize("before", [False, True])
async def test_a_404_of_the_old_one_is_no_answer(
    user: Client, server: Moving, first: First, below: str, before: bool
) -> None:
    await server.begun(before=before)
    first(Forward, "send", server.done_and_gone)
    assert (await user.get(f"{SERVERS}/{server.id}{below}?a=1")).status_code == 200  # not in the lane


async def test_a_404_of_the_old_one_is_no_answer_in_the_lane(
    user: Client, cloud: Cloud, server: Moving
) -> None:
    await server.begun(before=False)
    assert (await user.get(f"{SERVERS}/{server.id}")).json()["server"]["name"] == "old"
    cloud.site("site1").faults.add(Fault("latency", path=server.old, seconds=1.0, count=1))
    asked = asyncio.create_task(user.get(f"{SERVERS}/{server.id}"))
    async with asyncio.timeout(30):
        while not cloud.site("site1").faults.hits:  # noqa: ASYNC110 - a site's
            await asyncio.sleep(0.01)
    await server.done_and_gone()
    assert (await asked).status_code == 200


async def test_it_is_moved_while_it_is_looked_up(
    user: Client, server: Moving, first: First, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.begun(before=False)
    monkeypatch.setattr(Locations, "cached", lambda *_: None)  # a gateway that was just started
    first(Locations, "find", server.done)
    assert (await user.get(f"{SERVERS}/{server.id}")).json()["server"]["name"] == "new"


async def test_a_list_that_ends_after_it_does_not_bring_the_old_one_back(
    user: Client, cloud: Cloud, server: Moving, first: First
) -> None:
    await server.begun(before=False)
    first(lists.Lists, "_answer", server.done)
    assert await ids(user, SERVERS) == [server.id]
    for _ in range(2):
        assert (await user.get(f"{SERVERS}/{server.id}")).json()["server"]["name"] == "new"
        await server.known()
    delete(cloud, server.old)
    assert (await user.get(f"{SERVERS}/{server.id}")).status_code == 200


@pytest.mark.parametrize("before", [False, True])
async def test_what_is_deleted_is_so_wherever_it_is(
    user: Client, cloud: Cloud, server: Moving, first: First, before: bool
) -> None:
    await server.begun(before=before)
    first(Forward, "send", server.done)
    assert (await user.delete(f"{SERVERS}/{server.id}")).status_code == 204
    assert (await user.get(f"{SERVERS}/{server.id}")).status_code == 404
    assert [len(site.compute.instances) for site in cloud.sites] == [0, 0, 0]


@pytest.mark.parametrize("before", [False, True])
async def test_what_was_changed_of_the_old_one_is_to_be_done_again(
    user: Client, server: Moving, first: First, before: bool
) -> None:
    await server.begun(before=before)
    first(Forward, "send", server.done)
    path, body = f"{SERVERS}/{server.id}/metadata", {"metadata": {"a": "b"}}
    answer = await user.post(path, json=body)
    assert (answer.status_code, "Do it again" in answer.text, server.id in answer.text) == (409, True, True)
    assert (await user.post(path, json=body)).status_code == 200
    assert (await user.get(path)).json() == body


async def test_an_action_on_the_old_one_that_is_gone_is_done_to_the_new_one(
    user: Client, server: Moving, first: First
) -> None:
    await server.begun(before=True)
    first(Forward, "send", server.done_and_gone)
    answer = await user.post(f"{SERVERS}/{server.id}/action", json={"reboot": {"type": "SOFT"}})
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("before", [False, True])
async def test_a_list_by_its_id(
    admin: Client, server: Moving, after: Callable[..., None], before: bool
) -> None:
    await server.begun(before=before)
    path = f"{SERVERS}?all_tenants=1&uuid={server.id}"
    after(1, server.done)
    assert await ids(admin, path) == [server.id]


@pytest.mark.parametrize("kind", ["moved", "accepted"])
async def test_pages_go_on_after_one_that_came_to_another_site(
    user: Client, cloud: Cloud, store: Store, kind: str
) -> None:
    """It is the newest by now, and a client that has seen it is not sent back there."""
    others = [await boot(user, cloud, "site1", name=f"vm{number}") for number in range(3)]
    one = await boot(user, cloud, "site1") if kind == "moved" else await accepted(user, store, cloud)
    seen = await ids(user, f"{SERVERS}?limit=1")
    while page := await ids(user, f"{SERVERS}?limit=1&marker={seen[-1]}"):
        seen += page
        assert len(seen) < 9, seen
        if page == [one]:
            new = await boot(user, cloud, "site2", name="new")
            was = {"was": ("site1", one), **whose(cloud)} if kind == "moved" else {}
            await store.aliases.bind(one, "site2", new, **was)
            await user.get(f"{SERVERS}/{ANOTHER}")
    assert sorted(seen) == sorted([*others, one])


async def test_an_accepted_one_is_listed_once_while_the_site_that_has_it_is_away(
    user: Client, cloud: Cloud, store: Store, first: First
) -> None:
    alias = await accepted(user, store, cloud)
    new = await boot(user, cloud, "site2")
    cloud.site("site2").faults.add(Fault("status", service="compute", status=503))

    async def bound() -> None:
        await store.aliases.bind(alias, "site2", new)
        await user.get(f"{SERVERS}/{ANOTHER}")

    first(list_reads.ListReads, "round", bound)
    answer = await user.get(SERVERS, headers={"OpenStack-API-Version": "compute 2.69"})
    assert [(one["id"], one.get("status")) for one in answer.json()["servers"]] == [(alias, "UNKNOWN")]


async def test_a_run_for_one_that_another_gateway_has_bound_just_now(
    user: Client, cloud: Cloud, store: Store
) -> None:
    own, alias = await server_at(user, cloud, "site1"), str(uuid.uuid4())
    await store.aliases.bind(alias, "site1", own, **whose(cloud))
    assert (await move(user, alias, "site2")).status_code == 202


async def test_one_whose_site_is_no_more(user: Client, cloud: Cloud, store: Store) -> None:
    alias = str(uuid.uuid4())
    await store.aliases.bind(alias, "site9", ANOTHER, **whose(cloud))
    assert (await user.get(f"{SERVERS}/{alias}")).status_code == 404
    assert (await move(user, alias, "site2")).status_code == 404


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("method", ["hide", "bind"])
async def test_deleted_by_its_user_during_a_move_it_stays_deleted(
    user: Client, cloud: Cloud, first: First, times: int, method: str
) -> None:
    server = await server_at(user, cloud, "site1")
    if times == 2:
        await moved(user, server, "site2")

    async def deleted() -> None:
        assert (await user.delete(f"{SERVERS}/{server}")).status_code == 204
        assert (await user.get(f"{SERVERS}/{server}")).status_code == 404

    first(Aliases, method, deleted)
    run = (await move(user, server, "site2" if times == 1 else "site1")).json()["run"]["id"]
    ended = await comes_to(user, run, "done", "undone", "dirty", "parked")
    assert (ended["state"], "deleted meanwhile" in ended["reason"]) == ("undone", True), ended
    assert (await user.get(f"{SERVERS}/{server}")).status_code == 404
    assert await ids(user, SERVERS) == []
    assert [len(site.compute.instances) for site in cloud.sites] == [0, 0, 0]
