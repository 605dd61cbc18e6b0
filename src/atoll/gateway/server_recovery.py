"""The steps of `server.protect`, `server.unprotect` and `server.evacuate`, as the user whose server it is."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from atoll.gateway.asking import SiteAsker
from atoll.gateway.parts import Parts
from atoll.gateway.server_asking import GONE, SERVERS, ServerAsking, stored
from atoll.gateway.server_disks_run import Disk
from atoll.gateway.volume_asking import IMAGES, VOLUMES, Kind, changed, said
from atoll.store import Alias, RecoveryPoint, RecoveryPoints
from atoll.worker.actions import Action, Doing
from atoll.workflow.journal import ENDED
from atoll.workflow.outcomes import Absent, Done, Refused, SiteAway, Unavailable

VERSION: Final = "compute 2.85"
"""From which on it can be changed whether a volume goes with its server."""

SNAPSHOT: Final = "openstack --os-volume-api-version 3.0 volume snapshot create --force"
"""Of a volume in use. The command leaves `--force` out where it may choose the version itself."""

SHOWN: Final = "compute 2.46"
"""Says whether a volume goes with its server; every site has it."""

READABLE: Final = frozenset({"ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED"})
"""The states of an old server in which its disk can be made an image; one that is ACTIVE is stopped first."""

ATTACHED: Final = "os-extended-volumes:volumes_attached"


class Ids(Protocol):
    """`Aliases`, as far as it is needed here. Raises `StoreError`."""

    async def of(self, alias: str) -> Alias | None:
        """What is on record of an id."""

    async def unhide(self, site: str, site_id: str) -> None:
        """Forget that a site's own server is not shown."""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a recovery point says of its server."""

    body: dict[str, Any]
    """What it is created with, but for its disks."""
    active: bool
    image: str | None
    """The copy of its own disk; None where it has none, or boots from the image that it was made from."""
    disks: tuple[Disk, ...]
    """The copies of its volumes, the one that it boots from first."""
    image_bytes: int | None = None
    volumes_gib: int | None = None

    @property
    def size_bytes(self) -> int | None:
        """What the copies take; None where that is not known."""
        if self.volumes_gib is None or (self.image is not None and not self.image_bytes):
            return None
        return (self.volumes_gib << 30) + (self.image_bytes or 0)


async def used_by(parts: Parts, point: RecoveryPoint) -> str:
    """The run that uses or drops a recovery point; "" where there is none, or it was killed meanwhile."""
    if point.claimed_by is None:
        return ""
    run = await parts.store.run_views.show(point.claimed_by)
    return point.claimed_by if run is not None and run.state not in ENDED else ""


class ServerRecovery:
    """The actions. `asks` gives what asks sites as the user of a run."""

    def __init__(self, asks: Callable[[Doing], SiteAsker], points: RecoveryPoints, aliases: Ids) -> None:
        self._asks = asks
        self._points = points
        self._aliases = aliases

    def actions(self) -> list[Action]:
        """All of them."""
        return [
            Action(name="recovery.record@1", do=self.record, undo=self.unrecord),
            Action(name="recovery.drop@1", do=self.drop),
            Action(name="recovery.claim@1", do=self.claim, undo=self.release),
            Action(name="recovery.use@1", do=self.use),
            Action(name="server.volumes_go@1", do=self.volumes_go),
            Action(name="server.retire@1", do=self.retire, verify=self.retired),
        ]

    def _at(self, doing: Doing) -> ServerAsking:
        return ServerAsking(self._asks(doing), doing)

    # -- recovery points ---------------------------------------------------------------------------

    async def record(self, doing: Doing) -> None:
        """Write the recovery point down. Input: `server`, `source`, `own`, `target`, `content`, `made_at`.

        Raises `Refused` where the server is at another site by now.
        """
        given = doing.input
        point = RecoveryPoint(
            id=doing.run_id,
            server=given["server"],
            project_id=doing.project_id,
            user_id=doing.user_id,
            source=given["source"],
            own=given["own"],
            target=given["target"],
            content=msgspec.json.encode(doing.secrets.renewed(given["content"])).decode(),
            made_at=given["made_at"],
        )
        with stored():
            alias = await self._aliases.of(point.server)
            if alias is not None and (alias.site, alias.site_id) != (point.source, point.own):
                raise Refused(f"the server {point.server} is at {alias.site} by now")
            await self._points.put(point)

    async def unrecord(self, doing: Doing) -> None:
        """Forget it."""
        with stored():
            await self._points.drop(doing.run_id)

    async def drop(self, doing: Doing) -> dict[str, Any] | None:
        """Delete the copies of a recovery point, unless another run uses it. Input: `point`, `instead_of`.

        {left}: the copies, where their site is none of Atoll's any more.
        """
        ident = doing.input["point"]
        with stored():
            point = await self._points.claim(ident, doing.run_id, doing.input["instead_of"])
        if point is None:
            return None
        content = msgspec.json.decode(point.content, type=Content)
        copies = [(VOLUMES, str(one.volume)) for one in content.disks]
        copies += [(IMAGES, content.image)] if content.image else []
        known = self._asks(doing).knows(doing.site)
        if known:
            await _delete(self._at(doing), copies)
        with stored():
            await self._points.drop(ident)
        left = [{"site": doing.site, "kind": kind.one, "id": copy} for kind, copy in copies]
        return None if known else {"left": left}

    async def claim(self, doing: Doing) -> None:
        """Be the only run that uses a recovery point. Input: `point`, `instead_of`."""
        given = doing.input
        with stored():
            if await self._points.claim(given["point"], doing.run_id, given["instead_of"]) is None:
                raise Refused("another run uses the recovery point, or has dropped it")

    async def release(self, doing: Doing) -> None:
        """Let others use it."""
        with stored():
            await self._points.release(doing.input["point"], doing.run_id)

    async def use(self, doing: Doing) -> None:
        """Forget a recovery point: its copies are the server's disks by now. Input: `point`."""
        with stored():
            await self._points.drop(doing.input["point"])

    # -- the new server ----------------------------------------------------------------------------

    async def volumes_go(self, doing: Doing) -> dict[str, Any]:
        """Have volumes deleted with the server, as those before; {kept} where the site cannot say so.

        Only now: a server that was made in vain does not take the copies with it. Input: `server`, `volumes`.
        """
        at, given = self._at(doing), doing.input
        kept = [one for one in given["volumes"] if not await _goes(at, given["server"], one, goes=True)]
        return {"kept": kept}

    # -- the old one -------------------------------------------------------------------------------

    async def retire(self, doing: Doing) -> dict[str, Any] | None:
        """Stop the old server, have its disk made an image, keep its volumes, delete it; {image, volumes}.

        Input: `id`, `own`. Raises `Refused` for one of which no image can be made: that is an operator's.
        """
        at, own = self._at(doing), doing.input["own"]
        if not self._asks(doing).knows(doing.site):
            raise Refused(
                f"{doing.site} is none of Atoll's any more: the old server {own} there was not stopped. Do "
                "so there and kill the run, or add the site again and redo the run"
            )
        try:
            server = await at.server(own)
        except Unavailable as error:  # it is coming back, and that takes as long as it takes
            raise SiteAway(doing.site, str(error)) from error
        if server is None or server["status"] in GONE:
            await at.until_unlisted(own)
            await self._unhide(doing)
            return None
        if server["status"] not in READABLE:
            raise Refused(
                f"the old server {own} at {doing.site} is {server['status']}: stop it there, or delete it "
                "there, and redo the run"
            )
        if server["status"] == "ACTIVE":
            await at.act(own, {"os-stop": None})
        with changed():
            await at.until_server(own, *READABLE - {"ACTIVE"})
            image = await at.imaged(own, _left(doing)) if server.get("image") else None
            volumes = [str(one["id"]) for one in server.get(ATTACHED) or []]
            for one in volumes:
                await _keep(at, own, one)
            await at.delete_server(own)
        await self._unhide(doing)
        return {"image": image, "volumes": volumes}

    async def _unhide(self, doing: Doing) -> None:
        with stored():
            await self._aliases.unhide(doing.site, doing.input["own"])

    async def retired(self, doing: Doing) -> Done | Absent:
        """Look whether it is gone."""
        at, own = self._at(doing), doing.input["own"]
        server = await at.server(own)
        if server is not None and server["status"] not in GONE:
            return Absent()
        await at.until_unlisted(own)
        await self._unhide(doing)
        images = await at.named(IMAGES, _left(doing))
        return Done({"image": str(images[0]["id"]) if images else None})


async def _delete(at: ServerAsking, copies: Sequence[tuple[Kind, str]]) -> None:
    for kind, copy in copies:
        if await at.show(kind, copy) is not None:
            with changed():
                await at.removed(kind, copy)


def _left(doing: Doing) -> str:
    """The name of the image of what the old server's disk held; its run's id tells two of them apart."""
    return f"disk of server {doing.input['id']} as {doing.site} had it, run {doing.run_id}"


async def _keep(at: ServerAsking, server: str, volume: str) -> None:
    """Have a volume stay when its server is deleted; where the site cannot be told so, it is detached.

    Raises `Refused` for the one that it boots from, which cannot be detached.
    """
    if await _goes(at, server, volume, goes=False) or not await _attached(at, server, volume, going=True):
        return
    status, answer = await at.ask("compute", "DELETE", f"{SERVERS}/{server}/os-volume_attachments/{volume}")
    if status == 409:
        raise Unavailable(f"{at.site}: {said(answer)}")
    if status not in {202, 404}:
        raise Refused(
            f"the old server {server} at {at.site} would take its volume {volume} with it. A volume that has "
            f"a snapshot stays: there, `{SNAPSHOT} --volume {volume} kept-{volume}`, once that is available "
            f"`openstack server delete {server}`, then redo the run; the snapshot can be deleted then"
        )

    async def detached() -> bool | None:
        return None if await _attached(at, server, volume) else True

    await at.until(detached)


async def _attached(at: ServerAsking, server: str, volume: str, *, going: bool = False) -> bool:
    """Whether a server has a volume; `going`: one that goes with it, as far as the site says."""
    status, answer = await at.ask("compute", "GET", f"{SERVERS}/{server}", version=SHOWN)
    if status != 200:
        raise Unavailable(f"{at.site} answers {status} for the server {server}")
    return any(
        one["id"] == volume and (not going or one.get("delete_on_termination", True))
        for one in answer["server"].get(ATTACHED) or []
    )


async def _goes(at: ServerAsking, server: str, volume: str, *, goes: bool) -> bool:
    """Say whether a volume is deleted with its server; whether the site has taken it in."""
    target = f"{SERVERS}/{server}/os-volume_attachments/{volume}"
    status, answer = await at.ask("compute", "GET", target, version=VERSION)
    if status == 200 and bool(answer["volumeAttachment"].get("delete_on_termination")) is goes:
        return True
    body = {"volumeAttachment": {"volumeId": volume, "delete_on_termination": goes}}
    status, answer = await at.ask("compute", "PUT", target, body, version=VERSION)
    if status == 409:
        raise Unavailable(f"{at.site}: {said(answer)}")
    return status == 202
