"""Copying an image from one site to another: `image.copy@1`, and `image.finish@1` when all sites have it.

The copy has the image's own id, owner, visibility, properties, tags and members, and its bytes, compared by
Glance's own hash. Where the id cannot be used there (something else has it, or had it once) the copy gets
another, and is one thing with the image by name, owner and hash. Bytes stream from site to site and are never
held; a source that breaks off is asked for the rest.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from atoll.gateway.asking import SiteAsker
from atoll.wire.body import Fed
from atoll.wire.client import Broken
from atoll.wire.message import Response
from atoll.worker.actions import Action, Doing
from atoll.workflow.outcomes import Absent, Done, Failed, Refused, Unavailable, Unknown

IMAGE: Final = "image"
MARK: Final = "atoll_run"
"""The property by which a copy is found again by the run that makes it; gone when it is whole."""

RESUMES: Final = 20
"""How often a source that breaks off is asked for the rest, as long as some bytes come each time."""

SETTLE_SECONDS: Final = 10.0
"""How long Glance may take to say that it has the bytes."""

_ITS_OWN: Final = frozenset(
    {
        "id", "status", "checksum", "size", "virtual_size", "created_at", "updated_at", "file", "schema",
        "self", "direct_url", "locations", "stores", "os_hash_algo", "os_hash_value", "protected",
    }
)  # fmt: skip
"""What each site says of its own copy."""

_GLANCES: Final = "os_glance_"
"""Properties that Glance keeps for itself, and refuses from others."""

Image = Mapping[str, Any]


class ImageCopy:
    """The actions. The input: `image`, `source`; the step's site is where the copy is made."""

    def __init__(self, operator: SiteAsker) -> None:
        self._operator = operator

    def actions(self) -> list[Action]:
        """The actions, by their names."""
        return [
            Action(name="image.copy@1", do=self.do, undo=self.undo, verify=self.verify, left=self.left),
            Action(name="image.finish@1", do=self.finish),
        ]

    async def do(self, doing: Doing) -> dict[str, Any]:
        """Make the copy, unless it is there; {id, made, bytes}."""
        source, ident = doing.input["source"], doing.input["image"]
        image = await self._show(doing, source, ident)
        if image is None or image.get("status") != "active":
            state = "not there" if image is None else image.get("status")
            raise Refused(f"the image {ident} is {state} at {source}")
        copy = await self._created(doing, image)
        there = _whole(copy, image)
        if there and MARK not in copy:
            return {"id": copy["id"], "made": False, "bytes": 0}
        try:
            await self._filled(doing, image, str(copy["id"]), there=there)
        except Refused as refused:
            raise Failed(str(refused)) from refused  # for `undo`: the copy was made
        return {"id": copy["id"], "made": True, "bytes": image.get("size")}

    async def _filled(self, doing: Doing, image: Image, ident: str, *, there: bool) -> None:
        if not there:
            await self._upload(doing, image, ident)
            await self._compared(doing, image, ident)
        await self._share(doing, image, ident)

    async def undo(self, doing: Doing) -> None:
        """Delete the copy that this run made; one that was there before stays."""
        made = doing.result
        if made is not None:
            if made["made"]:
                await self._delete(doing, made["id"])
            return
        for copy in await self._marked(doing):
            await self._delete(doing, copy["id"])

    async def left(self, doing: Doing) -> str:
        """The copies that this run has made, or begun."""
        made = doing.result
        if made is None:
            copies = await self._marked(doing)
        else:
            copy = await self._show(doing, doing.site, made["id"]) if made["made"] else None
            copies = [copy] if copy is not None else []
        return ", ".join(f"image {one['id']} ({one.get('status')})" for one in copies)

    async def finish(self, doing: Doing) -> None:
        """Take the mark off."""
        if not doing.input["made"]:
            return
        change = [{"op": "remove", "path": f"/{MARK}"}]
        status, _ = await self._ask(doing, doing.site, "PATCH", f"/{doing.input['id']}", change, patch=True)
        if status not in {200, 404, 409}:  # 409: it has none; 404: somebody has deleted it meanwhile
            raise Unavailable(f"{doing.site} answers {status} to a change of the copy")

    async def verify(self, doing: Doing) -> Done | Absent:
        """Look for the copy: one that is not whole is made again from where it stands."""
        source, ident = doing.input["source"], doing.input["image"]
        image = await self._show(doing, source, ident)
        there = await self._show(doing, doing.site, ident)
        if image is not None and there is not None and _whole(there, image) and MARK not in there:
            return Done({"id": ident, "made": False, "bytes": 0})
        return Absent()  # one of its own is gone on with

    # -- what is there -----------------------------------------------------------------------------

    async def _ask(
        self, doing: Doing, site: str, method: str, target: str, body: object = None, *, patch: bool = False
    ) -> tuple[int, Any]:
        doing.check()
        return await self._operator.ask(site, IMAGE, method, f"/v2/images{target}", body, patch=patch)

    async def _show(self, doing: Doing, site: str, ident: str) -> Image | None:
        status, image = await self._ask(doing, site, "GET", f"/{ident}")
        if status == 404:
            return None
        if status != 200 or not isinstance(image, Mapping):
            raise Unavailable(f"{site} answers {status} for the image {ident}")
        return image

    async def _marked(self, doing: Doing) -> list[Image]:
        """The copies that this very step began."""
        target = f"?{MARK}={doing.mark}&member_status=all"
        status, answer = await self._ask(doing, doing.site, "GET", target)
        if status != 200 or not isinstance(answer, Mapping):
            raise Unavailable(f"{doing.site} answers {status} for a list of images")
        return list(answer.get("images", []))

    # -- making it -----------------------------------------------------------------------------------

    async def _created(self, doing: Doing, image: Image) -> Image:
        """The image at the site, queued unless it is there already. Raises `Refused`."""
        body = _record(image) | {MARK: doing.mark}
        for copy in await self._marked(doing):
            if copy.get("status") == "queued" or _whole(copy, image):
                return copy
            if copy.get("status") == "saving":  # of a try that was cut: Glance has it queued again soon
                raise Unavailable(f"{doing.site} is still saving what came before")
            await self._delete(doing, copy["id"])
        status, made = await self._ask(doing, doing.site, "POST", "", {**body, "id": image["id"]})
        if status == 409:
            there = await self._show(doing, doing.site, str(image["id"]))
            if there is not None and (_whole(there, image) or there.get(MARK) == doing.mark):
                return there
            # The id is another image's there, or was once: Glance gives none out twice.
            status, made = await self._ask(doing, doing.site, "POST", "", body)
        if status != 201 or not isinstance(made, Mapping):
            raise Refused(f"{doing.site} answers {status} to a copy of the image: {_message(made)}")
        return made

    async def _upload(self, doing: Doing, image: Image, ident: str) -> None:
        body, size = Fed(), image.get("size")
        sending = asyncio.get_running_loop().create_task(self._send(doing, ident, body, size))
        try:
            await self._feed(doing, image, body, sending)
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, doing: Doing, ident: str, body: Fed, size: int | None) -> None:
        status, response = await self._operator.stream(
            doing.site,
            IMAGE,
            "PUT",
            f"/v2/images/{ident}/file",
            headers={"Content-Type": "application/octet-stream"},
            body=body,
            length=size,
        )
        said = await self._operator.refusal(doing.site, IMAGE, response) if status >= 300 else ""
        if status >= 500:
            raise Unknown(f"{doing.site} answers {status} to the bytes: {said}")
        if status >= 300:
            raise Refused(f"{doing.site} does not take the bytes ({status}): {said}")

    async def _feed(self, doing: Doing, image: Image, body: Fed, sending: "asyncio.Task[None]") -> None:
        """Pass the bytes on as the site takes them; a source that breaks off is asked for the rest."""
        size, done, digest = image.get("size"), 0, _hash(image)
        for _ in range(RESUMES):
            before, response = done, await self._source(doing, image, done)
            try:
                while data := await response.body.read():
                    doing.check()
                    doing.stop()
                    digest.update(data)
                    done += len(data)
                    body.feed(data)
                    doing.progress(done, size, "bytes")
                    if not await _taken(body, sending):
                        return  # it answered before the end: what it says counts
            except Broken:
                response.close()
            except BaseException:
                response.close()
                raise
            if size is None or done >= size:
                break
            if done == before:
                raise Unavailable(f"{doing.input['source']} broke off after {done:,} bytes")
        if size is not None and done != size:
            raise Unavailable(f"{doing.input['source']} gave {done:,} of {size:,} bytes")
        if image.get("os_hash_value") and digest.hexdigest() != image["os_hash_value"]:
            raise Unavailable(f"the bytes that came from {doing.input['source']} are not the image's")
        body.finish()

    async def _source(self, doing: Doing, image: Image, offset: int) -> Response:
        doing.check()
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        status, response = await self._operator.stream(
            doing.input["source"], IMAGE, "GET", f"/v2/images/{image['id']}/file", headers=headers
        )
        if status != (206 if offset else 200):
            response.close()
            raise Unavailable(f"{doing.input['source']} answers {status} for the bytes")
        return response

    async def _compared(self, doing: Doing, image: Image, ident: str) -> None:
        """Wait until the copy is active, and compare it. Raises `Unavailable`, with nothing left of it."""
        copy = await self._show(doing, doing.site, ident)
        for _ in range(int(SETTLE_SECONDS)):
            if copy is None or copy.get("status") not in {"saving", "importing"}:
                break
            await asyncio.sleep(1.0)
            copy = await self._show(doing, doing.site, ident)
        if copy is not None and _whole(copy, image):
            return
        state = "gone" if copy is None else copy.get("status")
        await self._delete(doing, ident)
        raise Unavailable(f"the copy at {doing.site} was {state}, or not the image's bytes: deleted")

    async def _share(self, doing: Doing, image: Image, ident: str) -> None:
        """Have the copy's members be those of the image."""
        if image.get("visibility") != "shared":
            return
        status, answer = await self._ask(doing, doing.input["source"], "GET", f"/{image['id']}/members")
        if status != 200 or not isinstance(answer, Mapping):
            raise Unavailable(f"{doing.input['source']} answers {status} for the members")
        for one in answer.get("members", []):
            member, said = one["member_id"], one.get("status")
            status, _ = await self._ask(doing, doing.site, "POST", f"/{ident}/members", {"member": member})
            if status not in {200, 409}:
                raise Unavailable(f"{doing.site} answers {status} to a member")
            if said in {"accepted", "rejected"}:
                await self._ask(doing, doing.site, "PUT", f"/{ident}/members/{member}", {"status": said})

    async def _delete(self, doing: Doing, ident: str) -> None:
        status, answer = await self._ask(doing, doing.site, "DELETE", f"/{ident}")
        if status not in {204, 404}:
            raise Unavailable(f"{doing.site} answers {status} to its deletion: {_message(answer)}")


async def _taken(body: Fed, sending: "asyncio.Task[None]") -> bool:
    """Wait until the site has taken what it was fed; False where it has answered instead."""
    hungry = asyncio.get_running_loop().create_task(body.hungry())
    try:
        await asyncio.wait({hungry, sending}, return_when=asyncio.FIRST_COMPLETED)
        return not sending.done()
    finally:
        hungry.cancel()


def _hash(image: Image) -> "hashlib._Hash":
    algorithm = image.get("os_hash_algo")
    known = isinstance(algorithm, str) and algorithm in hashlib.algorithms_available
    return hashlib.new(str(algorithm) if known else "sha512")


def _whole(copy: Image, image: Image) -> bool:
    """Whether a copy has the image's bytes, and is of the same owner."""
    kept = ("os_hash_algo", "os_hash_value", "size", "owner")
    return copy.get("status") == "active" and all(copy.get(key) == image.get(key) for key in kept)


def _record(image: Image) -> dict[str, Any]:
    """What a copy is made with: all that is not each site's own."""
    return {
        key: value
        for key, value in image.items()
        if key not in _ITS_OWN and key != MARK and not key.startswith(_GLANCES) and value is not None
    }


def _message(answer: Any) -> str:
    return str(answer)[:200] if answer else "no reason given"
