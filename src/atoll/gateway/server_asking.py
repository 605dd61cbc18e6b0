"""What steps ask of a site about a server: shown, changed, waited for, imaged, found again, deleted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from atoll.gateway.server_marks import made_for
from atoll.gateway.volume_asking import IMAGES, VolumeAsking, changed, said
from atoll.store import StoreError
from atoll.workflow.outcomes import Failed, Refused, Unavailable

SERVERS: Final = "/v2.1/servers"

GONE: Final = frozenset({"DELETED", "SOFT_DELETED"})
"""What Nova shows of one that is deleted: for a moment before it is no more, or until it is reclaimed."""


@contextmanager
def stored() -> Iterator[None]:
    """Something is read of the store, or written there. Raises `Unavailable`."""
    try:
        yield
    except StoreError as error:
        raise Unavailable(f"the store does not answer: {error}") from error


class ServerAsking(VolumeAsking):
    """One try of a step, at its site."""

    async def server(self, ident: str) -> Mapping[str, Any] | None:
        """A server; None where it is not there. Raises `Unavailable`."""
        status, answer = await self.ask("compute", "GET", f"{SERVERS}/{ident}")
        if status == 404:
            return None
        if status != 200 or not isinstance(answer, Mapping):
            raise Unavailable(f"{self.site} answers {status} for the server {ident}")
        found: Mapping[str, Any] = answer["server"]
        return found

    async def act(self, ident: str, action: Mapping[str, Any]) -> None:
        """Change it by an action. Raises `Unavailable` where it is busy, `Refused`."""
        status, answer = await self.ask("compute", "POST", f"{SERVERS}/{ident}/action", action)
        if status == 409:
            raise Unavailable(f"{self.site}: {said(answer)}")
        if status not in {200, 202}:
            raise Refused(f"{self.site} answers {status} to {next(iter(action))}: {said(answer)}")

    async def until_server(self, ident: str, *states: str) -> None:
        """Wait until it is in one of some states. Raises `Failed`."""

        async def look() -> bool | None:
            server = await self.server(ident)
            if server is None:
                raise Failed(f"the server {ident} at {self.site} was deleted")
            if server["status"] == "ERROR":
                fault = (server.get("fault") or {}).get("message", "")
                raise Failed(f"the server {ident} at {self.site} came to ERROR: {fault}")
            return True if server["status"] in states else None

        await self.until(look)

    async def imaged(self, ident: str, name: str) -> str:
        """Have its disk made an image of a name that nothing else has; the image's id. Raises `Failed`."""
        if not await self.named(IMAGES, name):
            await self.act(ident, {"createImage": {"name": name, "metadata": {}}})

        async def active() -> str | None:
            self.doing.stop()
            images = await self.named(IMAGES, name)
            if not images or images[0]["status"] in {"killed", "deleted"}:
                raise Failed(f"{self.site} gave the image of the server up")
            return str(images[0]["id"]) if images[0]["status"] == "active" else None

        with changed():
            return await self.until(active)

    async def made(self) -> str | None:
        """The site's own id of the server that this step made: it bears the id that its users hold.

        Input: `id`, `server`.
        """

        async def ask(method: str, target: str) -> tuple[int, Any]:
            return await self.ask("compute", method, target)

        given = self.doing.input
        return await made_for(ask, given["id"], str(given["server"]["name"]))

    async def delete_server(self, ident: str) -> None:
        """Delete it, and wait until it is gone. Raises `Refused`."""
        status, answer = await self.ask("compute", "DELETE", f"{SERVERS}/{ident}")
        if status not in {204, 404}:
            raise Refused(f"{self.site} does not delete the server {ident} ({status}): {said(answer)}")
        await self.until_unlisted(ident)

    async def until_unlisted(self, ident: str) -> None:
        """Wait until no list shows it: Nova's show one that is DELETED for as long as it can be asked for."""

        async def gone() -> bool | None:
            server = await self.server(ident)  # one that was in ERROR stays so until it is gone
            return True if server is None or server["status"] == "SOFT_DELETED" else None

        await self.until(gone)
