"""Copies of servers made, used and deleted, the worker killed before and after each commit."""

from collections.abc import Callable, Mapping
from copy import deepcopy

import msgspec
import pytest
from msgspec.structs import replace
from tests.unit.definitions.cinder import SOURCE
from tests.unit.definitions.crashes import SECRETS, USER_DATA, told
from tests.unit.definitions.nova import BODY, DISK, AskedAll, Nova
from tests.unit.definitions.sites import Sites, content
from tests.unit.definitions.test_server_move_crashes import VOLUME
from tests.virtual import Mortal, run_virtually

from atoll.core.settings import Runs as Bounds
from atoll.gateway import server_evacuate_run, server_protect_run
from atoll.gateway.server_disks_run import Disk
from atoll.gateway.server_look import Attached, Server
from atoll.gateway.server_move import ServerMove
from atoll.gateway.server_recovery import Content, ServerRecovery
from atoll.gateway.volume_copy import VolumeCopy
from atoll.store import RecoveryPoint, RecoveryPoints
from atoll.worker.actions import Action, Actions
from atoll.workflow.plan import Plan


class World:
    """The sites, with a server of the first, and the recovery points."""

    def __init__(self, *, by_image: bool, older: bool) -> None:
        sites = Sites(["paris", "oslo", "tokyo"], 0)
        sites.cinder["paris"].volumes["v"] = {**deepcopy(SOURCE), "status": "in-use"}
        self.nova = Nova(sites, by_image=by_image)
        self.by_image = by_image
        self.points: dict[str, RecoveryPoint] = {}
        if older:
            copy = {**deepcopy(SOURCE), "id": "copy", "status": "available"}
            sites.cinder["oslo"].volumes["copy"] = copy
            if by_image:
                sites.images["oslo"]["disk"] = {"id": "disk", "owner": "p", **content(DISK)}
            self.points["older"] = self._older()

    def _older(self) -> RecoveryPoint:
        copied = Content(
            body=BODY, active=True, image="disk" if self.by_image else None,
            disks=(Disk("copy", root=not self.by_image, goes_with_it=True),),
        )  # fmt: skip
        return RecoveryPoint(
            id="older", server="s", project_id="p", user_id="u", source="paris", own="s", target="oslo",
            content=msgspec.json.encode(copied).decode(), made_at=0.0,
        )  # fmt: skip

    def actions(self, mortal: Mortal) -> Mapping[str, Action]:
        """What a worker can do."""
        actions, asked = Actions(), AskedAll(self.nova, mortal)
        actions.add(VolumeCopy(lambda _: asked).actions())
        actions.add(ServerMove(lambda _: asked, asked).actions())
        actions.add(ServerRecovery(lambda _: asked, Points(self.points, mortal), asked).actions())
        return actions.by_name

    def held(self, site: str) -> tuple[list[str], int]:
        """The volumes and how many images there are at a site."""
        sites = self.nova.sites
        return list(sites.cinder[site].volumes), len(sites.images[site])


class Points(RecoveryPoints):
    """Recovery points that a worker reaches as long as it lives."""

    def __init__(self, every: dict[str, RecoveryPoint], mortal: Mortal) -> None:
        self._every, self._mortal = every, mortal

    async def put(self, point: RecoveryPoint) -> None:
        await self._mortal.living()
        self._every.setdefault(point.id, point)

    async def drop(self, ident: str) -> None:
        await self._mortal.living()
        self._every.pop(ident, None)

    async def claim(self, ident: str, run_id: str, instead_of: str = "") -> RecoveryPoint | None:
        await self._mortal.living()
        found = self._every.get(ident)
        if found is None or found.claimed_by not in {None, run_id, instead_of}:
            return None
        self._every[ident] = replace(found, claimed_by=run_id)
        return self._every[ident]

    async def release(self, ident: str, run_id: str) -> None:
        await self._mortal.living()
        found = self._every.get(ident)
        if found is not None and found.claimed_by == run_id:
            self._every[ident] = replace(found, claimed_by=None)


def _killed_at_every_commit(
    world: Callable[[], World], plan: Callable[[World], Plan], check: Callable[[World, str], None]
) -> None:
    async def story(at: int, *, after: bool) -> int:
        this = world()
        state, commits = await told(this.actions, plan(this), dies_at=at, after=after)
        check(this, state)
        return commits

    commits = run_virtually(story(0, after=False))
    for at in range(1, commits + 1):
        for after in (False, True):
            run_virtually(story(at, after=after))


def _protection(this: World) -> Plan:
    server = Server(
        id="s", own="s", source="paris", target="tokyo", active=True, body=BODY, by_image=this.by_image,
        volumes=(Attached(found=VOLUME, root=not this.by_image, goes_with_it=True),),
    )  # fmt: skip
    return server_protect_run.planned(server, list(this.points.values()), Bounds())


@pytest.mark.parametrize(("by_image", "refused"), [(True, False), (False, True)])
def test_every_crash_point_of_a_protection(by_image: bool, refused: bool) -> None:
    def world() -> World:
        this = World(by_image=by_image, older=True)
        this.nova.sites.refuses = "tokyo" if refused else ""
        return this

    def check(this: World, state: str) -> None:
        assert state == ("undone" if refused else "done")
        (server,) = this.nova.servers["paris"].values()
        assert (server["status"], this.nova.made, this.nova.stands_for) == ("ACTIVE", 0, ("paris", "s"))
        assert this.held("paris") == (["v"], 0)
        assert [one.snapshots for one in this.nova.sites.cinder.values()] == [{}, {}, {}]
        (point,) = this.points.values()
        if refused:
            assert (point.id, point.claimed_by) == ("older", None)
            assert this.held("oslo") == (["copy"], int(by_image))
            assert this.held("tokyo") == ([], 0)
            return
        copied = msgspec.json.decode(point.content, type=Content)
        assert (USER_DATA in point.content, SECRETS.opened(copied.body)) == (False, BODY)
        assert this.held("oslo") == ([], 0)
        assert this.held("tokyo") == ([copied.disks[0].volume], int(by_image))
        assert (copied.disks[0].root, copied.disks[0].goes_with_it) == (not by_image, True)
        copy = this.nova.sites.cinder["tokyo"].volumes[copied.disks[0].volume]
        assert (copy["data"], copy["metadata"]) == (SOURCE["data"], {"a": "b"})
        assert (copied.image in this.nova.sites.images["tokyo"]) is by_image

    _killed_at_every_commit(world, _protection, check)


@pytest.mark.parametrize(
    ("by_image", "fails", "old"), [(True, False, False), (False, True, False), (True, False, True)]
)
def test_every_crash_point_of_an_evacuation(by_image: bool, fails: bool, old: bool) -> None:
    def world() -> World:
        this = World(by_image=by_image, older=True)
        this.nova.fails, this.nova.old = fails, old
        return this

    def plan(this: World) -> Plan:
        point = this.points["older"]
        copied = msgspec.json.decode(point.content, type=Content)
        return server_evacuate_run.planned(server_evacuate_run.Found(point=point, content=copied))

    def check(this: World, state: str) -> None:
        assert (state, this.nova.hidden) == ("undone" if fails else "done", set())
        assert this.nova.expected == set()
        volumes = this.nova.sites.cinder["oslo"].volumes
        if fails:
            assert this.points["older"].claimed_by is None
            assert (list(this.nova.servers["paris"]), this.nova.servers["oslo"]) == (["s"], {})
            assert (this.nova.stands_for, volumes["copy"]["status"]) == (("paris", "s"), "available")
            assert this.held("paris") == (["v"], 0)
            return
        assert (this.points, this.nova.servers["paris"]) == ({}, {})
        (server,) = this.nova.servers["oslo"].values()
        going = [] if old else ["copy"]
        assert (server["status"], server["volumes"], server["going"]) == ("ACTIVE", ["copy"], going)
        assert this.nova.stands_for == ("oslo", server["id"])
        assert (this.nova.made, server["metadata"]) == (1, {"mine": "1", "atoll_id": "s"})
        assert server["user_data"] == USER_DATA
        assert this.held("paris") == (["v"], int(by_image))
        assert this.nova.sites.cinder["paris"].volumes["v"]["status"] == "available"

    _killed_at_every_commit(world, plan, check)


@pytest.mark.parametrize("by_image", [False, True])
def test_every_crash_point_of_deleting_copies(by_image: bool) -> None:
    def plan(this: World) -> Plan:
        return server_protect_run.dropped("s", list(this.points.values()), {"oslo"})

    def check(this: World, state: str) -> None:
        assert (state, this.points, this.held("oslo")) == ("done", {}, ([], 0))
        assert this.held("paris") == (["v"], 0)

    _killed_at_every_commit(lambda: World(by_image=by_image, older=True), plan, check)


def test_every_crash_point_of_forgetting_copies_at_a_removed_site() -> None:
    def world() -> World:
        this = World(by_image=True, older=True)
        this.nova.sites.removed.add("oslo")
        return this

    def plan(this: World) -> Plan:
        return server_protect_run.dropped("s", list(this.points.values()), {"paris"})

    def check(this: World, state: str) -> None:
        assert (state, this.points, this.held("oslo")) == ("done", {}, (["copy"], 1))

    _killed_at_every_commit(world, plan, check)


def test_what_another_run_uses_is_not_deleted() -> None:
    async def story() -> tuple[World, str]:
        this = World(by_image=True, older=True)
        plan = server_protect_run.dropped("s", list(this.points.values()), {"oslo"})
        this.points["older"] = replace(this.points["older"], claimed_by="another")
        return this, (await told(this.actions, plan))[0]

    this, state = run_virtually(story())
    assert (state, list(this.points), this.held("oslo")) == ("done", ["older"], (["copy"], 1))


def test_what_another_run_uses_is_not_used() -> None:
    async def story() -> tuple[World, str]:
        this = World(by_image=True, older=True)
        point = this.points["older"]
        copied = msgspec.json.decode(point.content, type=Content)
        plan = server_evacuate_run.planned(server_evacuate_run.Found(point=point, content=copied))
        this.points["older"] = replace(point, claimed_by="another")  # meanwhile
        return this, (await told(this.actions, plan))[0]

    this, state = run_virtually(story())
    assert (state, this.points["older"].claimed_by, this.nova.made) == ("undone", "another", 0)


def test_the_copies_of_a_server_that_is_elsewhere_by_now_are_not_kept() -> None:
    async def story() -> tuple[World, str]:
        this = World(by_image=True, older=True)
        this.nova.stands_for = ("oslo", "s-1")
        return this, (await told(this.actions, _protection(this)))[0]

    this, state = run_virtually(story())
    assert (state, list(this.points)) == ("undone", ["older"])
    assert (this.held("oslo"), this.held("tokyo")) == ((["copy"], 1), ([], 0))
