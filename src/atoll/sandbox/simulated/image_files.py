"""The data of a simulated Glance's images: upload, download, ranges, activation. Streams both ways."""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault, Routes

if TYPE_CHECKING:
    from atoll.sandbox.simulated.image import Image

Json = dict[str, Any]
_BLOCK = bytes(range(256)) * 256  # 64 KiB, what synthetic images are made of


class Stored:
    """An image's data: digests and size of all of it, the bytes themselves up to `keep`."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.size = 0
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha512 = hashlib.sha512()
        self.synthetic = False
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Take a piece of an upload."""
        self.size += len(data)
        self.md5.update(data)
        self.sha512.update(data)
        if self.size <= self.keep:
            self._data += data
        else:
            self._data.clear()

    @property
    def kept(self) -> bool:
        """Whether the data can be downloaded."""
        return self.synthetic or self.size <= self.keep

    def whole(self) -> bytes:
        """The data, as far as it is kept."""
        return bytes(self._data)

    def blocks_of(self, size: int, start: int = 0) -> Iterator[bytes]:
        """`size` bytes of the synthetic pattern from an offset."""
        at, end = start, start + size
        while at < end:
            offset = at % len(_BLOCK)
            piece = _BLOCK[offset : offset + end - at]
            at += len(piece)
            yield piece

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`."""
        if self.synthetic:
            for block in self.blocks_of(end - start, start):
                yield block
            return
        for at in range(start, end, 65536):
            yield bytes(self._data[at : min(at + 65536, end)])


class ImageFiles:
    """`/v2/images/{id}/file` and the actions on data."""

    def __init__(self, image: "Image") -> None:
        self.image = image

    def add_routes(self, routes: Routes) -> None:
        """Register the routes."""
        routes.add("PUT", "/v2/images/{id}/file", self._upload)
        routes.add("GET", "/v2/images/{id}/file", self._download)
        routes.add("PUT", "/v2/images/{id}/stage", self._upload)
        routes.add("POST", "/v2/images/{id}/import", self._import)
        routes.add("GET", "/v2/images/{id}/tasks", self._list_tasks)
        routes.add("POST", "/v2/images/{id}/actions/deactivate", lambda call: self._set(call, "deactivated"))
        routes.add("POST", "/v2/images/{id}/actions/reactivate", lambda call: self._set(call, "active"))

    def _find(self, call: Call) -> Json:
        image = self.image.visible(call.who, call.params["id"])
        if image is None:
            raise Fault(404, f"No image found with ID {call.params['id']}")
        return image

    async def _upload(self, call: Call) -> Response:
        kind = call.request.header("content-type") or ""
        if kind != "application/octet-stream":
            message = f"The request media type {kind} is not supported by this server."
            raise Fault(415, message, f"Invalid content type {kind}")
        image = self._find(call)
        if image["owner"] != call.project_id and not call.admin:
            raise Fault(403, "You are not authorized to complete upload_image action.")
        staged = call.request.path.endswith("/stage")
        if image["status"] != "queued" and not (staged and image["status"] == "uploading"):
            raise Fault(409, f"Image status transition from {image['status']} to saving is not allowed")
        stored = Stored(self.image.keep_bytes)
        image["status"] = "saving"
        try:
            async for data in call.request.chunks():
                stored.feed(data)
        except (
            BaseException
        ):  # the client went away: Glance puts the image back so that it can be tried again
            image["status"] = "queued"
            raise
        if image["id"] not in self.image.images:
            raise Fault(
                410, f"Image {image['id']} could not be found after upload. The image may have been deleted."
            )
        stored.feed(self.image.spoils)
        self.image.finish_upload(image, stored)
        if staged:
            image["status"] = "uploading"
        return Response(204, [("Content-Type", "text/html; charset=UTF-8")])

    def _import(self, call: Call) -> Response:
        image = self._find(call)
        if image["status"] != "uploading":
            raise Fault(409, f"Image status transition from {image['status']} to importing is not allowed")
        image["status"] = "active"
        given = {"image_id": image["id"], "import_req": call.body}
        self.image.admin.add_task("api_image_import", given, image["owner"])
        return Response(202, [("Content-Type", "text/html; charset=UTF-8")])

    def _list_tasks(self, call: Call) -> Response:
        image = self._find(call)
        tasks = [
            {**task, "image_id": image["id"]}
            for task in self.image.admin.tasks.values()
            if task["input"].get("image_id") == image["id"]
        ]
        return self.image.json({"tasks": tasks})

    def _download(self, call: Call) -> Response:
        image = self._find(call)
        if image["status"] == "deactivated" and not call.admin:
            raise Fault(403, "The requested image has been deactivated. Image data download is forbidden.")
        stored = self.image.stored.get(image["id"])
        if stored is None:
            return Response(204)
        if not stored.kept:
            raise Fault(503, f"The simulation keeps no data of images above {stored.keep} bytes.")
        headers = [("Content-Type", "application/octet-stream"), ("Content-MD5", image["checksum"])]
        start, end = _range(call, stored.size)
        if (start, end) == (0, stored.size):
            return Response(200, headers, stored.read(0, end), length=end)
        headers.insert(1, ("Content-Range", f"bytes {start}-{end - 1}/{stored.size}"))
        return Response(206, headers, stored.read(start, end), length=end - start)

    def _set(self, call: Call, status: str) -> Response:
        image = self._find(call)
        if not call.admin:
            action = "deactivate" if status == "deactivated" else "reactivate"
            raise Fault(403, f"You are not authorized to complete {action} action.")
        if image["status"] not in ("active", "deactivated"):
            raise Fault(403, f"Not allowed to {status} image in status '{image['status']}'")
        image["status"] = status
        return Response(204, [("Content-Type", "text/html; charset=UTF-8")])


def _range(call: Call, size: int) -> tuple[int, int]:
    """The half-open range asked for; the whole if none. Raises Fault 416."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", call.request.header("range") or "")
    if match is None or match[0] == "bytes=-":
        return 0, size
    if not match[1]:
        return max(0, size - int(match[2])), size
    start = int(match[1])
    if start >= size:
        allowed = f"Start position MUST be in the inclusive range [0, {size - 1}]."
        message = f"Invalid start position in Range header. {allowed}"
        raise Fault(416, "The Range requested is not available.", message)
    return start, min(int(match[2]) + 1, size) if match[2] else size
