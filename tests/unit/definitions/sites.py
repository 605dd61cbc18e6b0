"""Flavors, images and volumes of a few sites in memory, asked by workers that die."""

import asyncio
import hashlib
import random
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.unit.definitions.cinder import Cinder
from tests.virtual import Mortal

from atoll.gateway.asking import SiteAsker
from atoll.wire.body import Body
from atoll.wire.client import Broken
from atoll.workflow.outcomes import Unavailable, Unknown

LATENCY: Final = 0.02
PIECE: Final = 1000


class Answer:
    """A response with bytes to come; it may break off after some."""

    def __init__(self, data: bytes, breaks_after: int | None = None) -> None:
        self._data, self._breaks_after = data, breaks_after
        self._at = 0
        self.body = self

    async def read(self) -> bytes:
        await asyncio.sleep(LATENCY / 10)
        if self._breaks_after is not None and self._at >= self._breaks_after:
            raise Broken("cut", answered=True)
        piece = self._data[self._at : self._at + PIECE]
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """Nothing."""


class Sites:
    """What all sites have, by site and id. `made`: how often something of a name was made at a site."""

    def __init__(self, names: list[str], seed: int = 0) -> None:
        self.images: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in names}
        self.flavors: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in names}
        self.burned: dict[str, set[str]] = {name: set() for name in names}
        self.store: dict[str, bytes] = {}
        self.cinder = {name: Cinder(name, self.images[name], content, self.store) for name in names}
        self.refuses: str = ""
        self.removed: set[str] = set()
        self.faults = 0.0
        self.random = random.Random(seed)  # noqa: S311 - repeatable

    def asked_by(self, worker: Mortal) -> "Asked":
        """As a worker asks them."""
        return Asked(self, worker)


class Asked(SiteAsker):
    """What workers ask."""

    def __init__(self, sites: Sites, worker: Mortal) -> None:
        self._every, self._worker = sites, worker

    async def ask(
        self, name: str, service: str, method: str, target: str, body: Any = None, **_: Any
    ) -> tuple[int, Any]:
        await self._worker.living()
        fault = self._every.random.random() < self._every.faults and self._every.random.choice("ab")
        if fault == "a":
            await asyncio.sleep(LATENCY)
            raise Unavailable("503")
        landed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def land() -> None:
            given = self._answer(name, service, method, target, body)
            if not landed.cancelled():
                landed.set_result(given)

        asyncio.get_running_loop().call_later(LATENCY / 2, land)  # whoever dies meanwhile
        given = await landed
        await asyncio.sleep(LATENCY / 2)
        await self._worker.living()
        if fault == "b" and method != "GET":
            raise Unknown("the answer was lost")
        return given  # type: ignore[no-any-return]  # what `_answer` gives

    def knows(self, name: str) -> bool:
        return name not in self._every.removed

    def _answer(self, site: str, service: str, method: str, target: str, body: Any) -> tuple[int, Any]:
        path = urlsplit(target).path
        query = {key: values[0] for key, values in parse_qs(urlsplit(target).query).items()}
        parts = path.split("/")[3:]
        if service == "image":
            return self._image(site, method, parts, query, body)
        if service == "block-storage":
            below = [part for part in path.split("/")[2:] if part != "{project}"]
            return self._every.cinder[site].answer(method, below, query, body, admin="{project}" not in path)
        return self._flavor(site, method, parts, body)

    def _image(  # noqa: PLR0911 - one for each thing that is asked
        self, site: str, method: str, parts: list[str], query: Mapping[str, str], body: Any
    ) -> tuple[int, Any]:
        images = self._every.images[site]
        if method == "POST" and not parts:
            ident = body.get("id") or f"own-{len(images)}-{site}"
            if ident in images or ident in self._every.burned[site]:
                return 409, None
            images[ident] = {**body, "id": ident, "status": "queued", "size": None}
            return 201, dict(images[ident])
        if method == "GET" and not parts:
            wanted = {key: query[key] for key in ("atoll_run", "name") if key in query}.items()
            return 200, {"images": [dict(one) for one in images.values() if wanted <= _flat(one).items()]}
        image = images.get(parts[0])
        if image is None:
            return 404, None
        if method == "DELETE":
            del images[parts[0]]
            self._every.burned[site].add(parts[0])
            return 204, None
        if method == "PATCH":
            return (409, None) if image.pop("atoll_run", None) is None else (200, dict(image))
        return (200, dict(image)) if len(parts) == 1 else (200, {"members": []})

    def _flavor(  # noqa: C901, PLR0911 - one for each thing that is asked
        self, site: str, method: str, parts: list[str], body: Any
    ) -> tuple[int, Any]:
        flavors = self._every.flavors[site]
        if method == "POST" and not parts:
            given = body["flavor"]
            if given["id"] in flavors:
                return 409, None
            flavors[given["id"]] = {**given, "extra_specs": {}, "access": []}
            return 200, None
        flavor = flavors.get(parts[0])
        if flavor is None:
            return 404, None
        match method, parts[1:]:
            case "GET", []:
                return 200, {"flavor": {key: value for key, value in flavor.items() if key != "access"}}
            case "DELETE", []:
                del flavors[parts[0]]
                return 202, None
            case "PUT", []:
                flavor |= body["flavor"]
            case "GET", ["os-flavor-access"]:
                return 200, {"flavor_access": [{"tenant_id": one} for one in flavor["access"]]}
            case "POST", ["os-extra_specs"]:
                if site == self._every.refuses:
                    return 400, "no such specs"
                flavor["extra_specs"] |= body["extra_specs"]
            case "POST", ["action"]:
                flavor["access"] = sorted({*flavor["access"], body["addTenantAccess"]["tenant"]})
        return 200, {}

    async def stream(
        self,
        name: str,
        service: str,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        length: int | None = None,
    ) -> tuple[int, Any]:
        await self._worker.living()
        del service, length
        image = self._every.images[name][target.split("/")[3]]
        if method == "GET":
            first = int(re.sub(r"\D", "", (headers or {}).get("Range", "")) or 0)
            breaks = PIECE * 2 if self._every.random.random() < self._every.faults else None
            return (206 if first else 200), Answer(image["data"][first:], breaks)
        assert body is not None
        return await self._uploaded(name, image, body)

    async def _uploaded(self, site: str, image: dict[str, Any], body: Body) -> tuple[int, Any]:
        if image["status"] != "queued":
            return 409, Answer(b"")
        image["status"], data = "saving", b""
        try:
            while piece := await body.read():
                data += piece
                await asyncio.sleep(LATENCY / 10)
                if self._worker.dead:
                    break
        finally:
            image["status"] = "queued"  # as Glance has it when an upload is cut
        await self._worker.living()
        if site == self._every.refuses:
            return 413, Answer(b"")
        image |= content(data)
        return 204, Answer(b"")

    async def refusal(self, name: str, service: str, response: Any) -> str:
        """What a refusal says."""
        del name, service, response
        return "too large"


def _flat(image: Mapping[str, Any]) -> dict[str, Any]:
    return {key: image[key] for key in ("atoll_run", "name") if key in image}


def content(data: bytes) -> dict[str, Any]:
    """What Glance says of an image with these bytes."""
    digest = hashlib.sha512(data).hexdigest()
    return {
        "status": "active",
        "data": data,
        "size": len(data),
        "os_hash_algo": "sha512",
        "os_hash_value": digest,
    }
