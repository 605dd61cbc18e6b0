"""`server.move`, its worker killed before and after each commit, forward and undoing."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest
from tests.unit.definitions.cinder import SOURCE
from tests.unit.definitions.crashes import told
from tests.unit.definitions.sites import Asked, Sites, content
from tests.virtual import Mortal, run_virtually

from atoll.core.settings import Runs as Bounds
from atoll.gateway.server_look import Attached, Server
from atoll.gateway.server_move import ServerMove
from atoll.gateway.server_move_run import planned
from atoll.gateway.volume_copy import VolumeCopy
from atoll.gateway.volume_look import Found
from atoll.worker.actions import Action, Actions
from atoll.workflow.outcomes import Unknown
from atoll.workflow.plan import Plan

DISK = b"disk of the server" * 500
VOLUME = Found(
    volume="v", size=1, source="paris", target="tokyo", in_use=True, purpose="volume v", bootable=True,
    image_metadata={"os": "x"},
    body={"name": "data", "size": 1, "metadata": {"a": "b"}, "volume_type": "ssd"},
)  # fmt: skip
BODY = {"name": "vm", "flavorRef": "42", "metadata": {"mine": "1"}, "networks": "none"}
LOOKS = 2
"""How often something is looked at before it is as it is to be."""


def _plan(*, by_image: bool) -> Plan:
    return planned(
        Server(
            id="s", own="s", source="paris", target="tokyo", active=True, body=BODY, by_image=by_image,
            volumes=(Attached(found=VOLUME, root=not by_image, goes_with_it=False),),
        ),
        Bounds(),
    )  # fmt: skip


class Nova:
    """The servers of all sites, and for what the id stands that users hold."""

    def __init__(self, sites: Sites, *, by_image: bool) -> None:
        self.sites = sites
        image = "base" if by_image else ""
        first = {**BODY, "id": "s", "status": "ACTIVE", "image": image, "volumes": ["v"], "wanted": None}
        self.servers: dict[str, dict[str, dict[str, Any]]] = {"paris": {"s": first}, "oslo": {}, "tokyo": {}}
        self.stands_for = ("paris", "s")
        self.made = 0
        self.fails = False
        self.loses = 0
        """Answers to creates that are lost."""

    def answer(  # noqa: PLR0911 - one for each thing that is asked
        self, site: str, method: str, parts: list[str], body: Any
    ) -> tuple[int, Any]:
        """What one request does."""
        servers = self.servers[site]
        if method == "POST" and not parts:
            self.made += 1
            given = body["server"]
            server = {**deepcopy(given), "id": f"s-{self.made}", "status": "BUILD", "looks": 0}
            server["wanted"] = "ERROR" if self.fails else "ACTIVE"
            server["fault"] = {"message": "No valid host"}
            server["volumes"] = [
                one["uuid"]
                for one in given.get("block_device_mapping_v2", [])
                if one["destination_type"] == "volume"
            ]
            self._disks_are_there(site, given)
            self._attached(site, server, "in-use")
            servers[server["id"]] = server
            return 202, {"server": {"id": server["id"]}}
        if parts and parts[0] == "detail":
            return 200, {"servers": [dict(one) for one in servers.values()]}
        if parts[0] not in servers:
            return 404, None
        server = servers[parts[0]]
        if method == "DELETE":
            server |= {"wanted": "gone", "looks": 0}
            return 204, None
        if parts[1:] == ["action"]:
            return self._act(site, server, body)
        server["looks"] = server.get("looks", 0) + 1
        if server["wanted"] and server["looks"] >= LOOKS:
            server["status"], server["wanted"] = server["wanted"], None
            if server["status"] == "gone":
                del servers[parts[0]]
                self._attached(site, server, "available")
                return 404, None
        return 200, {"server": dict(server)}

    def _disks_are_there(self, site: str, given: Mapping[str, Any]) -> None:
        if image := given.get("imageRef"):
            assert self.sites.images[site][image]["data"] == DISK
        for one in given.get("block_device_mapping_v2", []):
            if one["source_type"] == "volume":
                assert self.sites.cinder[site].volumes[one["uuid"]]["status"] == "available"

    def _attached(self, site: str, server: Mapping[str, Any], status: str) -> None:
        for volume in server["volumes"]:
            self.sites.cinder[site].volumes[volume]["status"] = status

    def _act(self, site: str, server: dict[str, Any], body: Any) -> tuple[int, Any]:
        (action,) = body
        if action == "createImage":
            images = self.sites.images[site]
            ident = f"snap-{len(images)}"
            images[ident] = {"id": ident, "name": body[action]["name"], "owner": "p", **content(DISK)}
        else:
            server |= {"wanted": {"os-stop": "SHUTOFF", "os-start": "ACTIVE"}[action], "looks": 0}
        return 202, None


class AskedAll(Asked):
    """What sites are asked, their servers too."""

    def __init__(self, nova: Nova, worker: Mortal) -> None:
        super().__init__(nova.sites, worker)
        self._nova, self._mortal = nova, worker

    async def ask(
        self, name: str, service: str, method: str, target: str, body: Any = None, **more: Any
    ) -> tuple[int, Any]:
        """As sites are asked; the answer to a create may be lost."""
        given = await super().ask(name, service, method, target, body, **more)
        if self._nova.loses and service == "compute" and (method, target) == ("POST", "/v2.1/servers"):
            self._nova.loses -= 1
            raise Unknown("the answer was lost")
        return given

    def _answer(self, site: str, service: str, method: str, target: str, body: Any) -> tuple[int, Any]:
        path = target.partition("?")[0].split("/")
        if service == "compute":
            return self._nova.answer(site, method, path[3:], body)
        if service == "image" and method == "PATCH":
            return self._patched(self._nova.sites.images[site].get(path[3]), body)
        return super()._answer(site, service, method, target, body)

    @staticmethod
    def _patched(image: dict[str, Any] | None, changes: list[dict[str, Any]]) -> tuple[int, Any]:
        if image is None:
            return 404, None
        for one in changes:
            key = one["path"][1:]
            if one["op"] == "remove" and image.pop(key, None) is None:
                return 409, None
            if one["op"] != "remove":
                image[key] = one["value"]
        return 200, dict(image)

    async def bind(
        self, alias: str, site: str, site_id: str, *, project_id: str = "", user_id: str = ""
    ) -> bool:
        """Have the id stand for a server."""
        del project_id, user_id
        assert alias == "s"
        await self._mortal.living()
        self._nova.stands_for = (site, site_id)
        return True


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
    assert server["metadata"] == {"mine": "1", "atoll_id": "s"}
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
