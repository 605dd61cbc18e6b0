"""`server.create`, its worker killed before and after each commit, forward and undoing."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.unit.definitions.crashes import USER_DATA, told
from tests.unit.definitions.sites import LATENCY, Sites, content
from tests.virtual import Mortal, run_virtually

from atoll.core.accepted_servers import AskedServer
from atoll.core.settings import Runs as Bounds
from atoll.gateway.flavor_copy import FlavorCopy
from atoll.gateway.image_copy import ImageCopy
from atoll.gateway.server_create import ServerCreate
from atoll.gateway.server_create_run import Brought, ServerInput, planned
from atoll.store import StoreError
from atoll.worker.actions import Action, Actions, Doing
from atoll.workflow.outcomes import Unavailable, Unknown

BYTES = b"0123456789" * 1000
FLAVOR = {
    "id": "big", "name": "m1.big", "ram": 1, "vcpus": 2, "disk": 3, "swap": "", "description": None,
    "extra_specs": {}, "os-flavor-access:is_public": True, "access": [],
}  # fmt: skip
ALIAS = "11111111-2222-4333-8444-555555555555"
PLAN = planned(
    ServerInput(
        id=ALIAS,
        site="oslo",
        zone="oslo",
        body={"server": {"name": "vm", "metadata": {"mine": "1"}, "user_data": USER_DATA}},
        version="",
        asked={"name": "vm", "flavor": {"id": "big"}},
        bring=[
            Brought(resource="image", id="i", source="paris"),
            Brought(resource="flavor", id="big", source="paris"),
            Brought(resource="keypair", id="k", source="paris"),
        ],
    ),
    Bounds(),
)


class Nova:
    """The servers and keys of the sites, and what the client's id stands for."""

    def __init__(self, sites: Sites) -> None:
        self.sites = sites
        self.servers: dict[str, dict[str, Any]] = {}
        self.made = 0
        self.refuses = False
        self.unbound = 0
        """How often the store does not take for what the id stands."""
        self.keys: dict[str, set[str]] = {"paris": {"k"}, "oslo": set()}
        self.alias: tuple[str, str] = ("", "")

    def answer(self, site: str, method: str, target: str, body: Any) -> tuple[int, Any]:
        """What one request does."""
        path = target.partition("?")[0].split("/v2.1/")[1].split("/")
        if path[0] == "os-keypairs":
            return self._key(site, method, path[1:], body)
        if method == "POST":
            if self.refuses:
                return 400, {"badRequest": {"message": "Flavor's disk is too small"}}
            self.made += 1
            server = {**body["server"], "id": f"own-{self.made}"}
            self.servers[server["id"]] = server
            return 202, {"server": {"id": server["id"]}}
        if method == "DELETE":
            return (204, None) if self.servers.pop(path[1], None) else (404, None)
        return 200, {"servers": list(self.servers.values())}

    def _key(self, site: str, method: str, path: list[str], body: Any) -> tuple[int, Any]:
        keys = self.keys[site]
        if method == "POST":
            keys.add(body["keypair"]["name"])
            return 201, body
        if path[0] not in keys:
            return 404, None
        if method == "DELETE":
            keys.remove(path[0])
            return 204, None
        return 200, {"keypair": {"name": path[0], "fingerprint": "f", "public_key": "ssh-rsa A"}}


class Worker:
    """`Inside`, `Person` and `Ids` of one worker."""

    def __init__(self, nova: Nova, mortal: Mortal) -> None:
        self._nova, self._mortal = nova, mortal

    def asker(self, doing: Doing) -> Any:
        """Itself."""
        del doing
        return _Asker(self)

    async def ask(
        self, doing: Doing, method: str, target: str, body: Any = None, *, version: str = ""
    ) -> tuple[int, Any]:
        """Ask Atoll."""
        del version
        return await self.asked(doing.site, method, target, body)

    async def asked(self, site: str, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        """Ask a site; it lands also where the worker has died."""
        sites = self._nova.sites
        await self._mortal.living()
        fault = sites.random.random() < sites.faults and sites.random.choice("ab")
        if fault == "a":
            raise Unavailable("503")
        landed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def land() -> None:
            given = self._nova.answer(site, method, target, body)
            if not landed.cancelled():
                landed.set_result(given)

        asyncio.get_running_loop().call_later(LATENCY / 2, land)
        given = await landed
        await asyncio.sleep(LATENCY / 2)
        await self._mortal.living()
        if fault == "b":
            raise Unknown("lost") if method != "GET" else Unavailable("cut")
        return given  # type: ignore[no-any-return]  # what `answer` gives

    async def accept(self, alias: str, *, project_id: str, user_id: str, asked: AskedServer) -> None:
        """Show it as BUILD."""
        del alias, project_id, user_id, asked
        await self._mortal.living()
        self._nova.alias = self._nova.alias if self._nova.alias[0] else ("BUILD", "")

    async def bind(self, alias: str, site: str, site_id: str) -> bool:
        """Have it stand for a server."""
        del alias, site
        await self._mortal.living()
        if self._nova.unbound:
            self._nova.unbound -= 1
            raise StoreError("away")
        self._nova.alias = ("bound", site_id)
        return True

    async def fail(self, alias: str, message: str) -> bool:
        """Show it as ERROR."""
        del alias
        await self._mortal.living()
        self._nova.alias = ("ERROR", message)
        return True


class _Asker:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def ask(
        self, site: str, service: str, method: str, target: str, body: Any = None
    ) -> tuple[int, Any]:
        del service
        return await self._worker.asked(site, method, target, body)


def _world(seed: int = 0) -> Nova:
    sites = Sites(["paris", "oslo"], seed)
    sites.images["paris"]["i"] = {"id": "i", "name": "golden", "owner": "p", **content(BYTES)}
    sites.flavors["paris"]["big"] = dict(FLAVOR)
    return Nova(sites)


def _actions(nova: Nova) -> Callable[[Mortal], Mapping[str, Action]]:
    def by(mortal: Mortal) -> Mapping[str, Action]:
        actions, worker = Actions(), Worker(nova, mortal)
        asked = nova.sites.asked_by(mortal)
        actions.add([*ImageCopy(asked).actions(), *FlavorCopy(asked).actions()])
        actions.add(ServerCreate(worker, worker, worker).actions())
        return actions.by_name

    return by


async def _told(nova: Nova, *, dies_at: int = 0, after: bool = False) -> tuple[str, int]:
    return await told(_actions(nova), PLAN, dies_at=dies_at, after=after)


def _check(nova: Nova, state: str) -> None:
    if state == "undone":
        assert nova.servers == {}
        assert nova.sites.images["oslo"] == nova.sites.flavors["oslo"] == {}
        assert nova.keys == {"paris": {"k"}, "oslo": set()}
        assert nova.alias[0] in {"ERROR", ""}
        return
    assert state == "done"
    (server,) = nova.servers.values()
    assert nova.alias == ("bound", server["id"])
    assert (server["metadata"], server["user_data"]) == ({"mine": "1", "atoll_id": ALIAS}, USER_DATA)
    assert nova.made == 1
    (image,) = nova.sites.images["oslo"].values()
    assert image["data"] == BYTES
    assert "atoll_run" not in image
    assert set(nova.sites.flavors["oslo"]) == {"big"}
    assert nova.keys["oslo"] == {"k"}


@pytest.mark.parametrize("refuses", [False, True])
def test_every_crash_point_of_a_server_that_things_are_brought_for(refuses: bool) -> None:
    async def story(at: int, *, after: bool) -> int:
        nova = _world()
        nova.refuses = refuses
        state, commits = await _told(nova, dies_at=at, after=after)
        assert state == ("undone" if refuses else "done")
        _check(nova, state)
        if refuses:
            assert "too small" in nova.alias[1]
        return commits

    commits = run_virtually(story(0, after=False))
    assert commits >= 5
    for at in range(1, commits + 1):
        for after in (False, True):
            run_virtually(story(at, after=after))


def test_a_store_that_is_away_when_the_server_is_made_has_no_second_one_made() -> None:
    async def story() -> None:
        nova = _world()
        nova.unbound = 2
        state, _ = await _told(nova)
        _check(nova, state)

    run_virtually(story())


@pytest.mark.parametrize("seed", range(12))
def test_faults_now_and_then_and_a_worker_that_dies(seed: int) -> None:
    async def story() -> None:
        nova = _world(seed)
        nova.sites.faults = 0.1
        state, _ = await _told(nova, dies_at=2 + seed % 7, after=seed % 2 == 0)
        _check(nova, state)

    run_virtually(story())
