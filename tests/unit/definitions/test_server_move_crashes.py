"""`server.move`, its worker killed before and after each commit, forward and undoing."""

from collections.abc import Callable, Mapping
from copy import deepcopy

import pytest
from tests.unit.definitions.cinder import SOURCE
from tests.unit.definitions.crashes import USER_DATA, told
from tests.unit.definitions.nova import BODY, AskedAll, Nova
from tests.unit.definitions.sites import Sites
from tests.virtual import Mortal, run_virtually

from atoll.core.settings import Runs as Bounds
from atoll.gateway.server_look import Attached, Server
from atoll.gateway.server_move import ServerMove
from atoll.gateway.server_move_run import planned
from atoll.gateway.volume_copy import VolumeCopy
from atoll.gateway.volume_look import Found
from atoll.worker.actions import Action, Actions
from atoll.workflow.plan import Plan

VOLUME = Found(
    volume="v", size=1, source="paris", target="tokyo", in_use=True, purpose="volume v", bootable=True,
    image_metadata={"os": "x"},
    body={"name": "data", "size": 1, "metadata": {"a": "b"}, "volume_type": "ssd"},
)  # fmt: skip


def _plan(*, by_image: bool) -> Plan:
    return planned(
        Server(
            id="s", own="s", source="paris", target="tokyo", active=True, body=BODY, by_image=by_image,
            volumes=(Attached(found=VOLUME, root=not by_image, goes_with_it=False),),
        ),
        Bounds(),
    )  # fmt: skip


def _world(seed: int = 0, *, by_image: bool) -> Nova:
    sites = Sites(["paris", "oslo", "tokyo"], seed)
    sites.cinder["paris"].volumes["v"] = {**deepcopy(SOURCE), "status": "in-use"}
    return Nova(sites, by_image=by_image)


def _actions(nova: Nova) -> Callable[[Mortal], Mapping[str, Action]]:
    def by(mortal: Mortal) -> Mapping[str, Action]:
        actions, asked = Actions(), AskedAll(nova, mortal)
        actions.add(VolumeCopy(lambda _: asked).actions())
        actions.add(ServerMove(lambda _: asked, asked).actions())
        return actions.by_name

    return by


async def _told(nova: Nova, plan: Plan, *, dies_at: int = 0, after: bool = False) -> tuple[str, int]:
    return await told(_actions(nova), plan, dies_at=dies_at, after=after)


def _check(nova: Nova, state: str, *, by_image: bool) -> None:
    sites = nova.sites
    assert (nova.hidden, nova.expected) == (set(), set())
    assert [one.snapshots for one in sites.cinder.values()] == [{}, {}, {}]
    if state == "undone":
        (server,) = nova.servers["paris"].values()
        assert (server["status"], nova.servers["tokyo"], nova.stands_for) == ("ACTIVE", {}, ("paris", "s"))
        assert list(sites.cinder["paris"].volumes) == ["v"]
        assert sites.cinder["tokyo"].volumes == {}
        assert list(sites.images.values()) == [{}, {}, {}]
        return
    assert state == "done"
    (server,) = nova.servers["tokyo"].values()
    assert (server["status"], nova.servers["paris"]) == ("ACTIVE", {})
    assert nova.stands_for == ("tokyo", server["id"])
    assert (server["metadata"], server["user_data"]) == ({"mine": "1", "atoll_id": "s"}, USER_DATA)
    assert nova.made == 1
    (volume,) = sites.cinder["tokyo"].volumes.values()
    assert (volume["data"], volume["metadata"], server["volumes"]) == (
        SOURCE["data"],
        {"a": "b"},
        [volume["id"]],
    )
    assert sites.cinder["paris"].volumes == sites.images["paris"] == {}
    images = list(sites.images["tokyo"].values())
    assert [(one["atoll_moved"], "atoll_run" in one) for one in images] == (
        [("s", False)] if by_image else []
    )


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("by_image", [False, True])
def test_every_crash_point_of_a_move(by_image: bool, fails: bool) -> None:
    plan = _plan(by_image=by_image)

    async def story(at: int, *, after: bool) -> int:
        nova = _world(by_image=by_image)
        nova.fails = fails
        state, commits = await _told(nova, plan, dies_at=at, after=after)
        assert state == ("undone" if fails else "done")
        _check(nova, state, by_image=by_image)
        return commits

    commits = run_virtually(story(0, after=False))
    assert commits >= 8
    for at in range(1, commits + 1):
        for after in (False, True):
            run_virtually(story(at, after=after))


def test_a_server_whose_answer_was_lost_is_not_made_twice() -> None:
    """It is there and does not run yet when it is looked for."""

    async def story() -> None:
        nova = _world(by_image=False)
        nova.loses = 1
        state, _ = await _told(nova, _plan(by_image=False))
        _check(nova, state, by_image=False)

    run_virtually(story())


@pytest.mark.parametrize("seed", range(6))
def test_faults_now_and_then_and_a_worker_that_dies(seed: int) -> None:
    plan = _plan(by_image=seed % 3 == 0)

    async def story() -> None:
        nova = _world(seed, by_image=seed % 3 == 0)
        nova.sites.faults = 0.05
        state, _ = await _told(nova, plan, dies_at=2 + seed, after=seed % 2 == 0)
        _check(nova, state, by_image=seed % 3 == 0)

    run_virtually(story())
