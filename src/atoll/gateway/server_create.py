"""The steps of `server.create`: the id that a client has, a key, and the server itself."""

from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec

from atoll.core.accepted_servers import AskedServer
from atoll.core.server_says import MARK
from atoll.gateway.asking import SiteAsker
from atoll.gateway.server_marks import made_for
from atoll.gateway.transaction import Asks
from atoll.gateway.volume_asking import said
from atoll.store import StoreError
from atoll.worker.actions import Action, Doing
from atoll.workflow.outcomes import Absent, Done, Failed, Refused, Unavailable

SERVERS: Final = "/compute/v2.1/servers"
KEYPAIRS: Final = "/v2.1/os-keypairs"


class Ids(Protocol):
    """`Aliases`, as far as it is needed here. All raise `StoreError`."""

    async def accept(self, alias: str, *, project_id: str, user_id: str, asked: AskedServer) -> None:
        """Give a client an id."""

    async def bind(self, alias: str, site: str, site_id: str) -> bool:
        """Have it stand for a site's own server; False where its user has deleted it."""

    async def fail(self, alias: str, message: str) -> bool:
        """Have it shown as ERROR."""


class Person(Protocol):
    """Asks a site as the user of a run."""

    def asker(self, doing: Doing) -> SiteAsker:
        """What asks as that user."""


class ServerCreate:
    """The actions."""

    def __init__(self, inside: Asks, person: Person, ids: Ids) -> None:
        self._inside = inside
        self._person = person
        self._ids = ids

    def actions(self) -> tuple[Action, ...]:
        """All of them."""
        return (
            Action(name="server.accept@1", do=self.accept, undo=self.fail),
            Action(
                name="server.keypair@1",
                do=self.keypair,
                undo=self.no_keypair,
                verify=self.keypair_made,
                left=self.key_left,
            ),
            Action(name="server.make@1", do=self.make, undo=self.unmake, verify=self.made, left=self.left),
        )

    # -- the id ------------------------------------------------------------------------------------

    async def accept(self, doing: Doing) -> None:
        """Have the server shown as BUILD, unless it is already."""
        asked = msgspec.convert(doing.input["asked"], AskedServer)
        try:
            await self._ids.accept(
                doing.input["id"], project_id=doing.project_id, user_id=doing.user_id, asked=asked
            )
        except StoreError as error:
            raise Unavailable(f"the store does not answer: {error}") from error

    async def fail(self, doing: Doing) -> None:
        """Have it shown as ERROR, with the reason for which the run is undone."""
        try:
            await self._ids.fail(doing.input["id"], f"{doing.reason} (run {doing.run_id})")
        except StoreError as error:
            raise Unavailable(f"the store does not answer: {error}") from error

    # -- a key -------------------------------------------------------------------------------------

    async def _key(self, doing: Doing, site: str) -> Mapping[str, Any] | None:
        name = quote(doing.input["name"], safe="")
        doing.check()
        status, answer = await self._person.asker(doing).ask(site, "compute", "GET", f"{KEYPAIRS}/{name}")
        if status == 404:
            return None
        if status != 200 or not isinstance(answer, Mapping):
            raise Unavailable(f"{site} answers {status} for the keypair")
        found: Mapping[str, Any] = answer["keypair"]
        return found

    async def keypair(self, doing: Doing) -> dict[str, bool]:
        """Import the key at the site, unless it is there; {made}."""
        source = await self._key(doing, doing.input["source"])
        if source is None:
            raise Refused(f"the keypair {doing.input['name']} was deleted")
        if (there := await self._key(doing, doing.site)) is not None:
            if there.get("fingerprint") != source.get("fingerprint"):
                raise Refused(f"{doing.site} has another keypair {doing.input['name']}")
            return {"made": doing.again}
        body = {"keypair": {"name": source["name"], "public_key": source["public_key"]}}
        doing.check()
        asker = self._person.asker(doing)
        status, _ = await asker.ask(doing.site, "compute", "POST", KEYPAIRS, body)
        if status not in {200, 201}:
            raise Refused(f"{doing.site} answers {status} to the keypair")
        return {"made": True}

    async def keypair_made(self, doing: Doing) -> Done | Absent:
        """Look whether it was imported: it was not there when the run was accepted."""
        return Absent() if await self._key(doing, doing.site) is None else Done({"made": True})

    async def key_left(self, doing: Doing) -> str:
        """The key, where this run imported it."""
        there = await self._key(doing, doing.site)
        made = doing.result is None or doing.result["made"]
        return f"keypair {doing.input['name']}" if there is not None and made else ""

    async def no_keypair(self, doing: Doing) -> None:
        """Delete what was imported."""
        if doing.result is not None and not doing.result["made"]:
            return
        name = quote(doing.input["name"], safe="")
        doing.check()
        asker = self._person.asker(doing)
        status, _ = await asker.ask(doing.site, "compute", "DELETE", f"{KEYPAIRS}/{name}")
        if status not in {200, 202, 204, 404}:
            raise Unavailable(f"{doing.site} answers {status} to the deletion of the keypair")

    # -- the server --------------------------------------------------------------------------------

    async def _at_site(self, doing: Doing, method: str, target: str) -> tuple[int, Any]:
        doing.check()
        asker = self._person.asker(doing)
        answer: tuple[int, Any] = await asker.ask(doing.site, "compute", method, target)
        return answer

    async def _found(self, doing: Doing) -> str | None:
        """The site's own id of the server that bears the client's."""

        async def ask(method: str, target: str) -> tuple[int, Any]:
            return await self._at_site(doing, method, target)

        return await made_for(ask, doing.input["id"], str(doing.input["body"]["server"].get("name", "")))

    async def make(self, doing: Doing) -> dict[str, str]:
        """Have the site make it, and the client's id stand for it."""
        ident = await self._found(doing) if doing.again else None
        if ident is None:
            given = doing.opened(doing.input["body"])
            server = {
                **given["server"],
                "metadata": {**(given["server"].get("metadata") or {}), MARK: doing.input["id"]},
            }
            doing.check()
            status, answer = await self._inside.ask(
                doing, "POST", SERVERS, {**given, "server": server}, version=doing.input["version"]
            )
            if status != 202 or not isinstance(answer, Mapping):
                raise Refused(f"{doing.site} answers {status}: {said(answer)}")
            ident = str(answer["server"]["id"])
        return await self._bound(doing, ident)

    async def _bound(self, doing: Doing, ident: str) -> dict[str, str]:
        try:
            kept = await self._ids.bind(doing.input["id"], doing.site, ident)
        except StoreError as error:
            raise Unavailable(f"the store does not answer: {error}") from error
        if not kept:
            raise Failed("the server was deleted while it was made")
        return {"id": doing.input["id"], "at_site": ident}

    async def made(self, doing: Doing) -> Done | Absent:
        """Look for it."""
        ident = await self._found(doing)
        if ident is None:
            return Absent()
        return Done(await self._bound(doing, ident))

    async def left(self, doing: Doing) -> str:
        """The site's own server."""
        ident = await self._found(doing)
        return "" if ident is None else f"server {ident}"

    async def unmake(self, doing: Doing) -> None:
        """Delete it."""
        ident = await self._found(doing)
        if ident is None:
            return
        status, _ = await self._at_site(doing, "DELETE", f"/v2.1/servers/{ident}")
        if status not in {204, 404}:
            raise Unavailable(f"{doing.site} answers {status} to the deletion of the server")
