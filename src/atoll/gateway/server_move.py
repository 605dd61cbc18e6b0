"""The steps of `server.move`, as the user whose server it is; see `server_move_run` for their order."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from atoll.gateway.alias_marks import MARK
from atoll.gateway.aliases import KNOWN_SECONDS
from atoll.gateway.asking import Asks
from atoll.gateway.server_marks import made_for
from atoll.gateway.volume_asking import IMAGES, VOLUMES, VolumeAsking, changed, said
from atoll.store import StoreError
from atoll.worker.actions import Action, Doing
from atoll.workflow.outcomes import Absent, Done, Failed, Refused, Unavailable

VERSION: Final = "compute 2.52"
"""With tags at the create; every site has it."""

SERVERS: Final = "/v2.1/servers"
MOVED: Final = "atoll_moved"
"""The property of an image that was made for a move: the server's id."""

_GONE: Final = frozenset({"DELETED", "SOFT_DELETED"})


class Ids(Protocol):
    """`Aliases`, as far as it is needed here. Raises `StoreError`."""

    async def bind(
        self, alias: str, site: str, site_id: str, *, project_id: str = "", user_id: str = ""
    ) -> bool:
        """Have an id stand for a site's own server."""


class ServerMove:
    """The actions. `asks` gives what asks sites as the user of a run."""

    def __init__(self, asks: Callable[[Doing], Asks], ids: Ids) -> None:
        self._asks = asks
        self._ids = ids

    def actions(self) -> list[Action]:
        """All of them."""
        return [
            Action(name="server.stop@1", do=self.stop, undo=self.start, verify=self.stopped),
            Action(name="server.image@1", do=self.image, undo=self.no_image),
            Action(name="server.name_image@1", do=self.name_image),
            Action(
                name="server.remake@1", do=self.remake, undo=self.unmake, verify=self.remade, left=self.left
            ),
            Action(name="server.rebind@1", do=self.rebind, undo=self.bind_back),
            Action(name="server.delete@1", do=self.delete, verify=self.deleted),
            Action(name="server.delete_volume@1", do=self.delete_volume, verify=self.volume_deleted),
        ]

    def _at(self, doing: Doing) -> VolumeAsking:
        return VolumeAsking(self._asks(doing), doing)

    async def _show(self, at: VolumeAsking, ident: str) -> Mapping[str, Any] | None:
        status, answer = await at.ask("compute", "GET", f"{SERVERS}/{ident}")
        if status == 404:
            return None
        if status != 200 or not isinstance(answer, Mapping):
            raise Unavailable(f"{at.site} answers {status} for the server {ident}")
        found: Mapping[str, Any] = answer["server"]
        return found

    async def _acted(self, at: VolumeAsking, ident: str, action: Mapping[str, Any]) -> Any:
        status, answer = await at.ask("compute", "POST", f"{SERVERS}/{ident}/action", action)
        if status == 409:
            raise Unavailable(f"{at.site}: {said(answer)}")
        if status not in {200, 202}:
            raise Refused(f"{at.site} answers {status} to {next(iter(action))}: {said(answer)}")
        return answer

    async def _until(self, at: VolumeAsking, ident: str, *states: str) -> None:
        """Wait until a server is in one of some states. Raises `Failed`, `Stopped`."""

        async def look() -> bool | None:
            server = await self._show(at, ident)
            if server is None:
                raise Failed(f"the server {ident} at {at.site} was deleted")
            if server["status"] == "ERROR":
                fault = (server.get("fault") or {}).get("message", "")
                raise Failed(f"the server {ident} at {at.site} came to ERROR: {fault}")
            return True if server["status"] in states else None

        await at.until(look)

    # -- where it is ---------------------------------------------------------------------------------

    async def stop(self, doing: Doing) -> None:
        """Stop it. Input: `id`, `active`."""
        at, ident = self._at(doing), doing.input["id"]
        server = await self._show(at, ident)
        if server is None:
            raise Refused(f"the server {ident} at {doing.site} was deleted")
        if server["status"] != "SHUTOFF":
            await self._acted(at, ident, {"os-stop": None})
        with changed():
            await self._until(at, ident, "SHUTOFF")

    async def stopped(self, doing: Doing) -> Done | Absent:
        """Look whether it is stopped."""
        server = await self._show(self._at(doing), doing.input["id"])
        return Done() if server is not None and server["status"] == "SHUTOFF" else Absent()

    async def start(self, doing: Doing) -> None:
        """Start it, if it ran before."""
        at, ident = self._at(doing), doing.input["id"]
        server = await self._show(at, ident)
        if server is None or not doing.input["active"] or server["status"] == "ACTIVE":
            return
        if server["status"] == "SHUTOFF":
            await self._acted(at, ident, {"os-start": None})
        await self._until(at, ident, "ACTIVE")

    async def image(self, doing: Doing) -> dict[str, Any]:
        """Have its disk made an image; {image}. Input: `id`."""
        at, name = self._at(doing), f"atoll-run-{doing.mark}"
        found = await at.named(IMAGES, name)
        if not found:
            await self._acted(at, doing.input["id"], {"createImage": {"name": name, "metadata": {}}})

        async def active() -> str | None:
            doing.stop()
            images = await at.named(IMAGES, name)
            if not images or images[0]["status"] in {"killed", "deleted"}:
                raise Failed(f"{doing.site} gave the image of the server up")
            return str(images[0]["id"]) if images[0]["status"] == "active" else None

        with changed():
            return {"image": await at.until(active)}

    async def no_image(self, doing: Doing) -> None:
        """Delete the image."""
        at = self._at(doing)
        for one in await at.named(IMAGES, f"atoll-run-{doing.mark}"):
            await at.removed(IMAGES, str(one["id"]))

    # -- where it goes -------------------------------------------------------------------------------

    async def name_image(self, doing: Doing) -> None:
        """Say of the image at the target whose disk it is; the mark goes. Input: `image`, `server`."""
        given, asks = doing.input, self._asks(doing)
        named = [
            {"op": "replace", "path": "/name", "value": f"disk of server {given['server']}"},
            {"op": "add", "path": f"/{MOVED}", "value": given["server"]},
        ]
        for change in (named, [{"op": "remove", "path": "/atoll_run"}]):
            doing.check()
            status, answer = await asks.ask(
                doing.site, "image", "PATCH", f"/v2/images/{given['image']}", change, patch=True
            )
            if status not in {200, 404, 409}:  # 409: it has no mark any more
                raise Unavailable(f"{doing.site} answers {status} to a change of the image: {said(answer)}")

    async def _found(self, at: VolumeAsking) -> str | None:
        """The site's own id of the server that bears the one that its users hold."""

        async def ask(method: str, target: str) -> tuple[int, Any]:
            return await at.ask("compute", method, target)

        given = at.doing.input
        return await made_for(ask, given["id"], str(given["server"]["name"]))

    async def remake(self, doing: Doing) -> dict[str, str]:
        """Create it, and wait until it runs; {at_site}. Input: `id`, `server`, `active`."""
        at, given = self._at(doing), doing.input
        ident = await self._found(at)
        if ident is None:
            server = {**given["server"], "metadata": {**given["server"]["metadata"], MARK: given["id"]}}
            status, answer = await at.ask("compute", "POST", SERVERS, {"server": server}, version=VERSION)
            if status != 202:
                raise Refused(f"{doing.site} creates no server ({status}): {said(answer)}")
            ident = str(answer["server"]["id"])
        with changed():
            await self._until(at, ident, "ACTIVE", "SHUTOFF")
            if not given["active"]:
                server_now = await self._show(at, ident)
                if server_now is not None and server_now["status"] == "ACTIVE":
                    await self._acted(at, ident, {"os-stop": None})
                await self._until(at, ident, "SHUTOFF")
        return {"at_site": ident}

    async def remade(self, doing: Doing) -> Done | Absent:
        """Look for it: one that does not run yet is waited for by `remake`."""
        at = self._at(doing)
        ident = await self._found(at)
        server = await self._show(at, ident) if ident is not None else None
        wanted = "ACTIVE" if doing.input["active"] else "SHUTOFF"
        if ident is None or server is None or server["status"] != wanted:
            return Absent()
        return Done({"at_site": ident})

    async def unmake(self, doing: Doing) -> None:
        """Delete it, and wait until it is gone: its volumes go next."""
        at = self._at(doing)
        ident = await self._found(at)
        if ident is not None:
            await self._deleted(at, ident)

    async def left(self, doing: Doing) -> str:
        """The server at the target."""
        ident = await self._found(self._at(doing))
        return "" if ident is None else f"server {ident}"

    # -- its id ----------------------------------------------------------------------------------------

    async def rebind(self, doing: Doing) -> None:
        """Have the id that its users hold stand for the new one, and all gateways know."""
        await self._bind(doing, doing.site, doing.input["at_target"])
        await asyncio.sleep(KNOWN_SECONDS)

    async def bind_back(self, doing: Doing) -> None:
        """Have it stand for the old one."""
        await self._bind(doing, doing.input["source"], doing.input["own"])

    async def _bind(self, doing: Doing, site: str, ident: str) -> None:
        try:
            kept = await self._ids.bind(
                doing.input["id"], site, ident, project_id=doing.project_id, user_id=doing.user_id
            )
        except StoreError as error:
            raise Unavailable(f"the store does not answer: {error}") from error
        if not kept:
            raise Refused("the server was deleted meanwhile")

    # -- its end ---------------------------------------------------------------------------------------

    async def _deleted(self, at: VolumeAsking, ident: str) -> None:
        status, answer = await at.ask("compute", "DELETE", f"{SERVERS}/{ident}")
        if status not in {204, 404}:
            raise Refused(f"{at.site} does not delete the server {ident} ({status}): {said(answer)}")

        async def gone() -> bool | None:
            server = await self._show(at, ident)  # one that was in ERROR stays so until it is gone
            return True if server is None or server["status"] in _GONE else None

        await at.until(gone)

    async def delete(self, doing: Doing) -> None:
        """Delete it where it was. Input: `id`."""
        await self._deleted(self._at(doing), doing.input["id"])

    async def deleted(self, doing: Doing) -> Done | Absent:
        """Look whether it is gone."""
        server = await self._show(self._at(doing), doing.input["id"])
        return Done() if server is None or server["status"] in _GONE else Absent()

    async def delete_volume(self, doing: Doing) -> None:
        """Delete a volume of it where that was; it may have gone with the server. Input: `volume`."""
        at, ident = self._at(doing), doing.input["volume"]
        if await at.show(VOLUMES, ident) is not None:
            with changed():
                await at.removed(VOLUMES, ident)

    async def volume_deleted(self, doing: Doing) -> Done | Absent:
        """Look whether it is gone."""
        return Done() if await self._at(doing).show(VOLUMES, doing.input["volume"]) is None else Absent()
