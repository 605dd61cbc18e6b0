"""The volumes of real sites: which are where, and what they hold."""

from typing import Any

from tests.e2e.sites import Site

OCTETS = {"Content-Type": "application/octet-stream"}


def there(site: Site, name: str) -> list[Any]:
    """The volumes of a name at a site."""
    found: list[Any] = site.admin.get("block-storage", "/volumes/detail?all_tenants=true")["volumes"]
    return [one for one in found if one["name"] == name]


def temporary(run: str, *of: Site) -> list[str]:
    """What a run has at sites for a while only."""
    return [left for site in of for left in site.named(f"atoll-run-{run}")]


def hashed(cloud: Any, volume: str, name: str) -> str:
    """What a volume holds, told by Glance's hash of an image that it is uploaded to."""
    answer = cloud.block_storage.post(
        f"/volumes/{volume}/action",
        json={"os-volume_upload_image": {"image_name": name, "disk_format": "raw"}},
    )
    assert answer.status_code == 202, answer.text
    made = cloud.image.get_image(answer.json()["os-volume_upload_image"]["image_id"])
    return str(cloud.image.wait_for_status(made, "active", ["killed"], 0.5, 300).hash_value)
