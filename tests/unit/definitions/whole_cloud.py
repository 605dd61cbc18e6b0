"""Atoll as runs ask it, in memory: a few kinds of resource, asked by workers that die."""

import ast
import asyncio
import random
import re
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.virtual import Mortal

from atoll.worker.actions import Doing
from atoll.workflow.outcomes import SiteAway, Unavailable, Unknown

LATENCY: Final = 0.02
READY: Final = 2
"""How often something is looked at before it can be used, or is gone."""

_COLLECTIONS: Final = {
    "volumes": ("volume", "creating", "available"),
    "servers": ("server", "BUILD", "ACTIVE"),
    "networks": ("network", "ACTIVE", "ACTIVE"),
}


class WholeCloud:
    """All that there is, by collection and id. `made` counts creates by name."""

    def __init__(self, seed: int = 0) -> None:
        self.things: dict[str, dict[str, dict[str, Any]]] = {many: {} for many in _COLLECTIONS}
        self.keypairs: dict[str, Any] = {}
        self.attached: dict[tuple[str, str], int] = {}
        self.made: dict[str, int] = {}
        self.refuses = ""
        self.faults = 0.0
        self.random = random.Random(seed)  # noqa: S311 - repeatable
        self._number = 0

    def add(self, many: str, name: str) -> str:
        """Something that is there before."""
        ident = self._new(many, {"name": name})["id"]
        self.things[many][ident] |= {"status": _COLLECTIONS[many][2], "looks": READY}
        return str(ident)

    def _new(self, many: str, given: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        thing = {**given, "id": f"{many[:-1]}-{self._number}", "status": _COLLECTIONS[many][1], "looks": 0}
        self.things[many][thing["id"]] = thing
        self.made[given["name"]] = self.made.get(given["name"], 0) + 1
        return thing

    def names(self) -> dict[str, list[str]]:
        """What there is."""
        found = {many: sorted(one["name"] for one in kept.values()) for many, kept in self.things.items()}
        return {**found, "keypairs": sorted(self.keypairs), "attached": [str(one) for one in self.attached]}

    def marks(self) -> list[str]:
        """The marks that are still on something."""
        return re.findall(r"atoll_run[^\"]{0,40}", str(self.things))

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        """What one request does."""
        path = urlsplit(target).path
        query = {key: values[0] for key, values in parse_qs(urlsplit(target).query).items()}
        parts = path.split("/")[3:]
        if parts[0] == "{project}":
            parts = parts[1:]
        if parts[0] == "os-keypairs":
            return self._keypair(method, parts[1:], body)
        if len(parts) > 2 and parts[2] == "os-volume_attachments":
            return self._attachment(method, parts[1], parts[3:], body)
        return self._thing(parts[0], method, parts[1:], query, body)

    def _thing(  # noqa: C901, PLR0911 - one for each thing that is asked
        self, many: str, method: str, parts: list[str], query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        one = _COLLECTIONS[many][0]
        kept = self.things[many]
        if method == "POST":
            given = body[one]
            if given["name"] == self.refuses:
                return 403, {"forbidden": {"message": "over quota"}}
            return 202, {one: dict(self._new(many, given))}
        if not parts or parts[0] == "detail":
            items = [dict(thing) for thing in kept.values() if self._fits(thing, query)]
            return 200, {many: items}
        thing = kept.get(parts[0])
        if thing is None:
            return 404, {"itemNotFound": {"message": "gone"}}
        if parts[1:2] == ["metadata"]:
            return (204, None) if thing.get("metadata", {}).pop(parts[2], None) else (404, None)
        match method:
            case "PUT":
                thing |= body[one]
            case "DELETE":
                if many == "volumes" and any(volume == parts[0] for _, volume in self.attached):
                    return 400, {"badRequest": {"message": "in use"}}
                thing["status"], thing["looks"] = "deleting", 0
                return 202, None
        thing["looks"] += 1
        if thing["looks"] >= READY:
            if thing["status"] == "deleting":
                del kept[parts[0]]
                self.attached = {key: 1 for key in self.attached if parts[0] not in key}
                return 404, None
            thing["status"] = _COLLECTIONS[many][2]
        if many == "volumes":
            servers = [server for server, volume in self.attached if volume == parts[0]]
            state = "in-use" if servers and thing["status"] == "available" else thing["status"]
            return 200, {one: {**thing, "status": state, "attachments": [{"server_id": s} for s in servers]}}
        return 200, {one: dict(thing)}

    @staticmethod
    def _fits(thing: dict[str, Any], query: dict[str, str]) -> bool:
        if "description" in query and thing.get("description") != query["description"]:
            return False
        if "metadata" in query:
            wanted = ast.literal_eval(query["metadata"])
            return bool(wanted.items() <= thing.get("metadata", {}).items())
        return re.search(query.get("name", ""), thing["name"]) is not None

    def _keypair(self, method: str, parts: list[str], body: Any) -> tuple[int, Any]:
        if method == "POST":
            name = body["keypair"]["name"]
            if name in self.keypairs:
                return 409, {"conflictingRequest": {"message": "there is one"}}
            self.keypairs[name] = body["keypair"]
            self.made[name] = self.made.get(name, 0) + 1
            return 201, {"keypair": body["keypair"]}
        if parts[0] not in self.keypairs:
            return 404, None
        if method == "DELETE":
            del self.keypairs[parts[0]]
            return 204, None
        return 200, {"keypair": self.keypairs[parts[0]]}

    def _attachment(self, method: str, server: str, parts: list[str], body: Any) -> tuple[int, Any]:
        if server not in self.things["servers"]:
            return 404, None
        if method == "POST":
            key = (server, body["volumeAttachment"]["volumeId"])
            if key in self.attached:
                return 400, {"badRequest": {"message": "attached already"}}
            self.attached[key] = 1
            return 200, {"volumeAttachment": {"id": key[1]}}
        key = (server, parts[0])
        if key not in self.attached:
            return 404, None
        if method == "DELETE":
            del self.attached[key]
            return 202, None
        return 200, {"volumeAttachment": {"id": key[1]}}


class AskedInside:
    """`Inside`, as a worker asks it: what is asked lands also where the worker has died."""

    def __init__(self, cloud: WholeCloud, worker: Mortal) -> None:
        self._cloud, self._worker = cloud, worker

    async def ask(
        self, doing: Doing, method: str, target: str, body: Any = None, *, version: str = ""
    ) -> tuple[int, Any]:
        """Ask."""
        del doing, version
        await self._worker.living()
        random_, faults = self._cloud.random, self._cloud.faults
        fault = random_.random() < faults and random_.choice(["before", "after", "away"])
        if fault in {"before", "away"}:
            await asyncio.sleep(LATENCY)
            raise SiteAway("oslo", "away") if fault == "away" else Unavailable("503")
        landed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def land() -> None:
            given = self._cloud.answer(method, target, body)
            if not landed.cancelled():
                landed.set_result(given)

        asyncio.get_running_loop().call_later(LATENCY / 2, land)
        given = await landed
        await asyncio.sleep(LATENCY / 2)
        await self._worker.living()
        if fault == "after":
            raise Unknown("the answer was lost") if method != "GET" else Unavailable("cut")
        return given  # type: ignore[no-any-return]  # what `answer` gives
