"""What the volumes and snapshots of a simulated Cinder hold, and how that gets to images and back."""

from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.block_storage import BlockStorage

Json = dict[str, Any]
_CORE = (
    "checksum",
    "container_format",
    "disk_format",
    "image_id",
    "image_name",
    "min_disk",
    "min_ram",
    "size",
)
_NOT_TOLD = (
    "owner", "visibility", "status", "protected", "os_hidden", "id", "name", "created_at", "updated_at",
    "tags", "os_hash_algo", "os_hash_value", "virtual_size", "stores",
)  # fmt: skip


class VolumeContents:
    """The bytes of volumes and snapshots. An upload to an image takes `upload_seconds`."""

    def __init__(self, storage: "BlockStorage") -> None:
        self.storage = storage
        self.upload_seconds = 0.0
        self._held: dict[str, bytes] = {}

    def of(self, ident: str) -> bytes:
        """What a volume or a snapshot holds."""
        return self._held.get(ident, b"volume " + ident.encode())

    def write(self, ident: str, data: bytes) -> None:
        """Have it hold something else."""
        self._held[ident] = data

    def create(self, ident: str, given: Json) -> None:
        """Fill a volume that is made of a snapshot, a volume or an image."""
        for key in ("snapshot_id", "source_volid"):
            if given.get(key):
                self.write(ident, self.of(given[key]))
        stored = self.storage.site.image.stored.get(given.get("imageRef") or "")
        if stored is not None and stored.kept and not stored.synthetic:
            self.write(ident, stored.whole())

    def image_of(self, call: Call, image_id: str | None) -> Json:
        """What a volume made of an image says of that. Raises Fault 400."""
        if not image_id:
            return {}
        image = self.storage.site.image.visible(call.who, image_id)
        if image is None:
            raise Fault(400, "Invalid image identifier or unable to access requested image.")
        if image["status"] != "active":
            raise Fault(400, f"Image {image_id} is unacceptable: Image {image_id} is not active.")
        told = {key: str(value) for key, value in image.items() if key not in _NOT_TOLD and value is not None}
        return {**told, "image_id": image_id, "image_name": image["name"]}

    def upload(self, call: Call, volume: Json, value: Json) -> Response:
        """Answer `os-volume_upload_image`."""
        if call.minor < 1 and "visibility" in value:
            extra = "Additional properties are not allowed ('visibility' was unexpected)"
            raise Fault(
                400, f"Invalid input for field/attribute os-volume_upload_image. Value: {value}. {extra}"
            )
        allowed = ("available", "in-use") if value.get("force") else ("available",)
        if volume["status"] not in allowed:
            raise Fault(400, f"Invalid volume: Volume {volume['id']} status must be {' or '.join(allowed)}")
        name, service = value.get("image_name", ""), self.storage.site.image
        kept = {key: text for key, text in volume["image"].items() if key not in _CORE}
        image = service.add(
            name, owner=call.project_id, disk_format=value.get("disk_format", "raw"), container_format="bare",
            visibility=value.get("visibility", "private" if call.minor else "shared"), **kept,
        )  # fmt: skip
        before, volume["status"] = volume["status"], "uploading"

        def done() -> None:
            volume.update(status=before, updated_at=self.storage.now())
            if image["id"] in service.images:
                service.fill(image, self.of(volume["id"]))

        if self.upload_seconds:
            image["status"] = "saving"
            self.storage.later(self.upload_seconds, done)
        else:
            done()
        shown = {
            "id": volume["id"],
            "image_id": image["id"],
            "image_name": name,
            "status": "uploading",
            "size": volume["size"],
        }
        return self.storage.json({"os-volume_upload_image": shown | {"volume_type": None}}, 202)
