"""By which way a volume goes to another site: by a store of backups that both have, or else by an image.

By backups nothing passes through Atoll. What stands against that is said in the purpose of the run.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from atoll.gateway.call import Call
from atoll.gateway.parts import Parts
from atoll.gateway.volume_look import STORAGE, Found, Look, by_image, going
from atoll.services.catalog import SERVICES
from atoll.sites.site import Site
from atoll.workflow.outcomes import Failure

_LIMITS: Final = {
    "backups": ("maxTotalBackups", "totalBackupsUsed"),
    "backup_gigabytes": ("maxTotalBackupGigabytes", "totalBackupGigabytesUsed"),
    "volumes": ("maxTotalVolumes", "totalVolumesUsed"),
    "snapshots": ("maxTotalSnapshots", "totalSnapshotsUsed"),
    "gigabytes": ("maxTotalVolumeGigabytes", "totalGigabytesUsed"),
}


async def chosen(parts: Parts, call: Call, found: Found) -> Found:
    """The way that it goes, with the reason in its purpose. Changes nothing."""
    source, target = (parts.sites.by_name[name] for name in (found.source, found.target))
    against = await _against(parts, call, found, source, target)
    if against:
        return going(found, f"{by_image(found)} ({against})")
    way = f"a backup (both have the store {source.backup_store}: no bytes pass through Atoll)"
    return going(found, way, source.backup_store)


async def _against(parts: Parts, call: Call, found: Found, source: Site, target: Site) -> str:
    """What stands against backups, the first of it; "" for nothing."""
    if not source.backup_store or source.backup_store != target.backup_store:
        return "no store of backups is said to be both's"
    aside = call.aside(call.deadline, versioned=False)
    aside.service = SERVICES[STORAGE]
    for site in (source, target):
        if not parts.operator.operates(aside, site):
            return f"backups are exported by an administrator, and Atoll is none at {site.name}"
    backup = {"backups": 1, "backup_gigabytes": found.size}
    read = {"volumes": 1, "snapshots": 1, "gigabytes": 2 * found.size}
    looked = Look(parts, aside)
    said = await asyncio.gather(
        _service(parts, source),
        _service(parts, target),
        _encryption(parts, looked, target, found.body.get("volume_type", "")),
        _room(looked.told(source, "limits"), source, backup | read),
        _room(_asked(parts, target, "/v3/limits"), target, backup),
    )
    return next((one for one in said if one), "")


async def _service(parts: Parts, site: Site) -> str:
    """Why a site could make or restore no backup now; "" where it could."""
    answer = await _asked(parts, site, "/v3/os-services?binary=cinder-backup")
    if answer is None:
        return f"{site.name} does not say whether it makes backups"
    up = any((one.get("status"), one.get("state")) == ("enabled", "up") for one in answer.get("services", ()))
    return "" if up else f"no cinder-backup is up at {site.name}"


async def _encryption(parts: Parts, looked: Look, site: Site, wanted: str) -> str:
    """Whether a volume of a type would be encrypted: Cinder restores data into it as that is, in clear."""
    types = await looked.told(site, "types?limit=1000") or {}
    ids = [one["id"] for one in types.get("volume_types", ()) if wanted in {one["name"], one["id"]}]
    if not ids:
        default = await looked.told(site, "types/default") or {}
        ids = [one["id"] for one in default.values()]
    answer = await _asked(parts, site, f"/v3/types/{ids[0]}/encryption") if ids else None
    if answer is None:
        return f"{site.name} does not say whether its type encrypts"
    return f"its type at {site.name} encrypts, and backups are restored in clear" if answer else ""


async def _room(asked: Any, site: Site, wanted: Mapping[str, int]) -> str:
    """For what a quota has no room; "" where all fits, or the site says nothing of it."""
    answer = await asked
    limits = answer["limits"]["absolute"] if answer is not None else {}
    for what, amount in wanted.items():
        most, used = _LIMITS[what]
        if 0 <= limits.get(most, -1) < limits.get(used, 0) + amount:
            return f"no quota for {what.replace('_', ' ')} at {site.name}"
    return ""


async def _asked(parts: Parts, site: Site, path: str) -> Any:
    """What a site says to its operator; None where it does not."""
    try:
        status, answer = await parts.operator.ask(site.name, STORAGE, "GET", path)
    except Failure:
        return None
    return answer if status == 200 else None
