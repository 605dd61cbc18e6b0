"""The steps of `server.move`, as the user whose server it is; see `server_move_run` for their order."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from atoll.core.server_says import MARK
from atoll.gateway.aliases import KNOWN_SECONDS
from atoll.gateway.asking import SiteAsker
from atoll.gateway.server_asking import GONE, SERVERS, ServerAsking, stored
from atoll.gateway.volume_asking import IMAGES, VOLUMES, changed, said
from atoll.worker.actions import Action, Doing
from atoll.workflow.outcomes import Absent, Done, Refused, Unavailable

VERSION: Final = "compute 2.52"
"""With tags at the create; every site has it."""

MOVED: Final = "atoll_moved"
"""The property of an image that was made for a move: the server's id."""


class Ids(Protocol):
    """`Aliases`, as far as it is needed here. Raises `StoreError`."""

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
        """Have an id stand for a site's own server; the one that it `was` before is not shown any more."""

    async def hide(self, site: str, site_id: str) -> None:
        """Have a site's own server not shown until an id stands for it."""

    async def unhide(self, site: str, site_id: str) -> None:
        """Forget that it is not shown."""

    async def expect(self, alias: str, site: str, *, project_id: str) -> None:
        """Have one that is about to be made not shown."""

    async def expect_no_more(self, alias: str) -> None:
        """Forget that it is about to be made."""


class ServerMove:
    """The actions. `asks` gives what asks sites as the user of a run."""

    def __init__(self, asks: Callable[[Doing], SiteAsker], ids: Ids) -> None:
        self._asks = asks
        self._ids = ids

    def actions(self) -> list[Action]:
        """All of them."""
        return [
            Action(name="server.expect@1", do=self.expect, undo=self.expect_no_more),
            Action(name="server.stop@1", do=self.stop, undo=self.start, verify=self.stopped),
            Action(name="server.image@1", do=self.image, undo=self.no_image),
            Action(name="server.name_image@1", do=self.name_image),
            Action(
                name="server.remake@1", do=self.remake, undo=self.unmake, verify=self.remade, left=self.left
            ),
            Action(name="server.rebind@1", do=self.rebind, undo=self.bind_back),
            Action(name="server.still@1", do=self.still),
            Action(name="server.delete@1", do=self.delete, verify=self.deleted),
            Action(name="server.delete_volume@1", do=self.delete_volume, verify=self.volume_deleted),
        ]

    def _at(self, doing: Doing) -> ServerAsking:
        return ServerAsking(self._asks(doing), doing)

    # -- that it comes ------------------------------------------------------------------------------

    async def expect(self, doing: Doing) -> None:
        """Have all gateways know that a server comes that is not to be shown beside this one. Input: `id`."""
        with stored():
            await self._ids.expect(doing.input["id"], doing.site, project_id=doing.project_id)

    async def expect_no_more(self, doing: Doing) -> None:
        """Have none expected."""
        with stored():
            await self._ids.expect_no_more(doing.input["id"])

    # -- where it is ---------------------------------------------------------------------------------

    async def stop(self, doing: Doing) -> None:
        """Stop it. Input: `id`, `active`."""
        at, ident = self._at(doing), doing.input["id"]
        server = await at.server(ident)
        if server is None:
            raise Refused(f"the server {ident} at {doing.site} was deleted")
        if server["status"] != "SHUTOFF":
            await at.act(ident, {"os-stop": None})
        with changed():
            await at.until_server(ident, "SHUTOFF")

    async def stopped(self, doing: Doing) -> Done | Absent:
        """Look whether it is stopped."""
        server = await self._at(doing).server(doing.input["id"])
        return Done() if server is not None and server["status"] == "SHUTOFF" else Absent()

    async def start(self, doing: Doing) -> None:
        """Start it, if it ran before."""
        at, ident = self._at(doing), doing.input["id"]
        server = await at.server(ident)
        if server is None or not doing.input["active"] or server["status"] == "ACTIVE":
            return
        if server["status"] == "SHUTOFF":
            await at.act(ident, {"os-start": None})
        await at.until_server(ident, "ACTIVE")

    async def image(self, doing: Doing) -> dict[str, Any]:
        """Have its disk made an image; {image}. Input: `id`."""
        at = self._at(doing)
        return {"image": await at.imaged(doing.input["id"], f"atoll-run-{doing.mark}")}

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

    async def remake(self, doing: Doing) -> dict[str, str]:
        """Create it, and wait until it runs; {at_site}. Input: `id`, `server`, `active`."""
        at, given = self._at(doing), doing.input
        ident = await at.made()
        if ident is None:
            body = doing.opened(given["server"])
            server = {**body, "metadata": {**body["metadata"], MARK: given["id"]}}
            status, answer = await at.ask("compute", "POST", SERVERS, {"server": server}, version=VERSION)
            if status != 202:
                raise Refused(f"{doing.site} creates no server ({status}): {said(answer)}")
            ident = str(answer["server"]["id"])
        await self._hidden(doing, ident)
        with changed():
            await at.until_server(ident, "ACTIVE", "SHUTOFF")
            if not given["active"]:
                server_now = await at.server(ident)
                if server_now is not None and server_now["status"] == "ACTIVE":
                    await at.act(ident, {"os-stop": None})
                await at.until_server(ident, "SHUTOFF")
        return {"at_site": ident}

    async def _hidden(self, doing: Doing, ident: str) -> None:
        """It is not shown until its id is the new one's: known by its own id now."""
        with stored():
            await self._ids.hide(doing.site, ident)
            await self._ids.expect_no_more(doing.input["id"])

    async def remade(self, doing: Doing) -> Done | Absent:
        """Look for it: one that does not run yet is waited for by `remake`."""
        at = self._at(doing)
        ident = await at.made()
        server = await at.server(ident) if ident is not None else None
        wanted = "ACTIVE" if doing.input["active"] else "SHUTOFF"
        if ident is None or server is None or server["status"] != wanted:
            return Absent()
        await self._hidden(doing, ident)
        return Done({"at_site": ident})

    async def unmake(self, doing: Doing) -> None:
        """Delete it, and wait until it is gone: its volumes go next."""
        at = self._at(doing)
        ident = await at.made()
        if ident is not None:
            await at.delete_server(ident)
            await self._unhide(doing, ident)

    async def left(self, doing: Doing) -> str:
        """The server at the target."""
        ident = await self._at(doing).made()
        return "" if ident is None else f"server {ident}"

    # -- its id ----------------------------------------------------------------------------------------

    async def rebind(self, doing: Doing) -> None:
        """Have the id that its users hold stand for the new one, and all gateways know.

        The old one is not shown from then on, unless it `stays`: nobody would ever see it again.
        """
        given = doing.input
        was = None if given.get("stays") else (given["source"], given["own"])
        await self._bind(doing, (doing.site, given["at_target"]), was)
        await asyncio.sleep(KNOWN_SECONDS)

    async def bind_back(self, doing: Doing) -> None:
        """Have it stand for the old one."""
        given = doing.input
        await self._bind(doing, (given["source"], given["own"]), (doing.site, given["at_target"]))

    async def _bind(self, doing: Doing, now: tuple[str, str], was: tuple[str, str] | None) -> None:
        with stored():
            kept = await self._ids.bind(
                doing.input["id"], *now, project_id=doing.project_id, user_id=doing.user_id, was=was
            )
        if not kept:
            raise Refused("the server was deleted meanwhile")

    async def _unhide(self, doing: Doing, ident: str) -> None:
        with stored():
            await self._ids.unhide(doing.site, ident)

    async def still(self, doing: Doing) -> None:
        """Look whether it is where it was: until now its users may have deleted it there. Input: `id`."""
        server = await self._at(doing).server(doing.input["id"])
        if server is None or server["status"] in GONE or server.get("OS-EXT-STS:task_state") == "deleting":
            raise Refused("the server was deleted meanwhile")

    # -- its end ---------------------------------------------------------------------------------------

    async def delete(self, doing: Doing) -> None:
        """Delete it where it was. Input: `id`."""
        await self._at(doing).delete_server(doing.input["id"])
        await self._unhide(doing, doing.input["id"])

    async def deleted(self, doing: Doing) -> Done | Absent:
        """Look whether it is gone."""
        at, ident = self._at(doing), doing.input["id"]
        server = await at.server(ident)
        if server is not None and server["status"] not in GONE:
            return Absent()
        await at.until_unlisted(ident)
        await self._unhide(doing, doing.input["id"])
        return Done()

    async def delete_volume(self, doing: Doing) -> None:
        """Delete a volume of it where that was; it may have gone with the server. Input: `volume`."""
        at, ident = self._at(doing), doing.input["volume"]
        if await at.show(VOLUMES, ident) is not None:
            with changed():
                await at.removed(VOLUMES, ident)

    async def volume_deleted(self, doing: Doing) -> Done | Absent:
        """Look whether it is gone."""
        return Done() if await self._at(doing).show(VOLUMES, doing.input["volume"]) is None else Absent()
