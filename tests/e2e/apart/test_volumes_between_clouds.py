"""A volume is moved between clouds that share nothing, one of them of an older release."""

import json
import os
from typing import Any

import pytest
from tests.e2e.runs import Runs
from tests.e2e.sites import Site
from tests.e2e.volumes import OCTETS, hashed, temporary, there

BYTES = 8 * 1024 * 1024


@pytest.mark.parametrize("back", [False, True], ids=["to the older", "to the newest"])
def test_a_volume_is_moved_with_what_it_holds(cloud: Any, two: list[Site], name: str, back: bool) -> None:
    source, target = two[::-1] if back else two
    image = cloud.image.create_image(
        name, data=None, disk_format="raw", container_format="bare", allow_duplicates=True,
        atoll_sites=source.region.lower(),
    )  # fmt: skip
    cloud.image.put(f"/images/{image.id}/file", data=os.urandom(BYTES), headers=OCTETS)
    volume = cloud.block_storage.create_volume(
        name=name, size=1, image_id=image.id, metadata={"a": "b"}, availability_zone=source.region.lower()
    )
    cloud.block_storage.wait_for_status(volume, "available", ["error"], 0.5, 300)
    runs = Runs(cloud)
    run = runs.ended(runs.start("volume.move", volume=volume.id, site=target.region.lower()))
    assert run["state"] == "done", json.dumps(run)
    assert there(source, name) == []
    (moved,) = there(target, name)
    assert (moved["status"], moved["metadata"], moved["bootable"]) == ("available", {"a": "b"}, "true")
    assert hashed(cloud, moved["id"], f"{name}-2") == cloud.image.get_image(image.id).hash_value
    assert temporary(run["id"], source, target) == []
