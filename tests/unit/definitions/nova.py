"""A simulated Nova of several sites for crash tests of runs, and for what the ids stand that users hold."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from tests.unit.definitions.crashes import USER_DATA
from tests.unit.definitions.sites import Asked, Sites, content
from tests.virtual import Mortal

from atoll.store import Alias
from atoll.workflow.outcomes import Unknown

DISK = b"disk of the server" * 500
BODY = {
    "name": "vm", "flavorRef": "42", "metadata": {"mine": "1"}, "networks": "none", "user_data": USER_DATA,
}  # fmt: skip
LOOKS = 2
"""How often something is looked at before it is as it is to be."""


class Nova:
    """The servers of all sites, and for what the id stands that users hold."""

    def __init__(self, sites: Sites, *, by_image: bool) -> None:
        self.sites = sites
        image = "base" if by_image else ""
        first = {**BODY, "id": "s", "status": "ACTIVE", "image": image, "volumes": ["v"], "wanted": None}
        first["going"] = ["v"]
        self.servers: dict[str, dict[str, dict[str, Any]]] = {"paris": {"s": first}, "oslo": {}, "tokyo": {}}
        self.stands_for = ("paris", "s")
        self.hidden: set[tuple[str, str]] = set()
        self.expected: set[tuple[str, str]] = set()
        """Sites and the id that users hold: a server that says it is this one is not shown."""
        self.made = 0
        self.fails = False
        self.old = False
        """Whether volumes go with their servers cannot be changed."""
        self.loses = 0
        """Answers to creates that are lost."""

    def listed(self) -> list[tuple[str, str]]:
        """What a list shows at this moment."""
        return [
            (site, ident)
            for site, servers in self.servers.items()
            for ident, one in servers.items()
            if (site, ident) not in self.hidden
            and (site, (one.get("metadata") or {}).get("atoll_id")) not in self.expected
        ]

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
            devices = given.get("block_device_mapping_v2", [])
            volumes = [one for one in devices if one["destination_type"] == "volume"]
            server["volumes"] = [one["uuid"] for one in volumes]
            server["going"] = [one["uuid"] for one in volumes if one["delete_on_termination"]]
            self._disks_are_there(site, given)
            self._attached(site, server, "in-use")
            servers[server["id"]] = server
            return 202, {"server": {"id": server["id"]}}
        if parts and parts[0] == "detail":
            return 200, {"servers": [dict(one) for one in servers.values()]}
        if parts[0] not in servers:
            return 404, None
        server = servers[parts[0]]
        if len(parts) == 3:
            return self._attachment(site, server, parts[2], method, body)
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
                for one in server["going"]:
                    del self.sites.cinder[site].volumes[one]
                return 404, None
        attached = [{"id": one, "delete_on_termination": one in server["going"]} for one in server["volumes"]]
        return 200, {"server": {**server, "os-extended-volumes:volumes_attached": attached}}

    def _attachment(
        self, site: str, server: dict[str, Any], volume: str, method: str, body: Any
    ) -> tuple[int, Any]:
        if volume not in server["volumes"]:
            return 404, None
        if method == "DELETE":
            server["volumes"].remove(volume)
            server["going"].remove(volume)
            self.sites.cinder[site].volumes[volume]["status"] = "available"
            return 202, None
        if self.old:
            return 406, {"computeFault": {"message": "Version 2.85 is not supported by the API."}}
        if body is None:
            goes = volume in server["going"]
            return 200, {"volumeAttachment": {"volumeId": volume, "delete_on_termination": goes}}
        server["going"] = [one for one in server["going"] if one != volume]
        server["going"] += [volume] if body["volumeAttachment"]["delete_on_termination"] else []
        return 202, None

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
            given = self._nova.answer(site, method, path[3:], body)
            assert len(self._nova.listed()) <= 1
            return given
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
        self,
        alias: str,
        site: str,
        site_id: str,
        *,
        project_id: str = "",
        user_id: str = "",
        was: tuple[str, str] | None = None,
    ) -> bool:
        """Have the id stand for a server."""
        del project_id, user_id
        assert alias == "s"
        await self._mortal.living()
        if was is not None:
            self._nova.hidden.add(was)
        self._nova.stands_for = (site, site_id)
        self._nova.hidden.discard((site, site_id))
        assert len(self._nova.listed()) <= 1
        return True

    async def hide(self, site: str, site_id: str) -> None:
        """Have a server not shown until the id stands for it."""
        await self._mortal.living()
        if self._nova.stands_for != (site, site_id):
            self._nova.hidden.add((site, site_id))

    async def unhide(self, site: str, site_id: str) -> None:
        """Forget that it is not shown."""
        await self._mortal.living()
        self._nova.hidden.discard((site, site_id))
        assert len(self._nova.listed()) <= 1

    async def expect(self, alias: str, site: str, *, project_id: str) -> None:
        """Have a server not shown that says it is this one."""
        assert project_id == "p"
        await self._mortal.living()
        self._nova.expected.add((site, alias))

    async def expect_no_more(self, alias: str) -> None:
        """Have it shown."""
        await self._mortal.living()
        self._nova.expected = {one for one in self._nova.expected if one[1] != alias}
        assert len(self._nova.listed()) <= 1

    async def of(self, alias: str) -> Alias | None:
        """What is on record of the id: nothing of one that is its site's own."""
        await self._mortal.living()
        site, ident = self._nova.stands_for
        if ident == alias:
            return None
        return Alias(
            id=alias, project_id="p", user_id="u", state="bound", site=site, site_id=ident, found=False,
            asked=None, message=None, code=None, created_at=0.0, changed_at=0.0,
        )  # fmt: skip
