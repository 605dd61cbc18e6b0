"""Where the record of a backup is imported: `POST /…/backups/import_record`.

A record is what Cinder exported of a backup, coded. What keeps the bytes is reached from where it was taken;
of what a record says only the volume it was taken of is looked at.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from atoll.gateway import bodies
from atoll.gateway.locate import Locator

RECORD = "backup-record"


async def with_its_volume(locator: Locator, body: dict[str, Any]) -> dict[str, Any]:
    """A body that names the volume of the record in it, where that is known to be at a site."""
    volume = taken_of(body)
    if not bodies.is_id(volume) or await locator.recorded("volume", volume) is None:
        return body
    return {**body, "backup": {"volume_id": volume}}


def taken_of(body: Mapping[str, Any]) -> str:
    """The id of the volume that the backup of a record was taken of; "" where it does not say."""
    record = body.get(RECORD)
    url = record.get("backup_url") if isinstance(record, dict) else None
    try:
        backup = msgspec.json.decode(base64.b64decode(url, validate=True)) if isinstance(url, str) else None
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return ""
    return str(backup.get("volume_id")) if isinstance(backup, dict) else ""
