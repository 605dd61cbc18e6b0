"""cinder's FakeLoggingVolumeDriver plus the data paths it leaves to LVM.

The stock fake driver inherits LVM's image copies, which would call qemu-img
and write under /dev/cinder-volumes; here a volume is a file, as long as what
was last put into it.
"""

import io

from cinder.tests import fake_driver

from atoll_sandbox_drivers import devices
from atoll_sandbox_drivers import images


class SandboxDriver(fake_driver.FakeLoggingVolumeDriver):
    def clone_image(self, context, volume, image_location, image_meta, image_service):
        if image_meta.get("disk_format") == "raw":
            with devices.made(volume.id).open("wb") as device:
                image_service.download(context, image_meta["id"], device)
        return {}, True

    def copy_image_to_volume(self, context, volume, image_service, image_id, *args, **kwargs):
        pass

    def copy_volume_to_image(self, context, volume, image_service, image_meta):
        kind = image_meta.get("disk_format")
        with devices.made(volume.id).open("rb") as device:
            data = device if kind == "raw" else io.BytesIO(images.image_data(kind))
            image_service.update(context, image_meta["id"], {}, data)

    def create_snapshot(self, snapshot):
        devices.copied(snapshot.volume_id, snapshot.id)

    def delete_snapshot(self, snapshot):
        devices.removed(snapshot.id)

    def create_volume_from_snapshot(self, volume, snapshot):
        devices.copied(snapshot.id, volume.id)

    def create_cloned_volume(self, volume, src_vol):
        devices.copied(src_vol["id"], volume.id)

    def extend_volume(self, volume, new_size):  # not in 24.x's fake driver
        pass

    def delete_volume(self, volume):
        devices.removed(volume.id)

    def revert_to_snapshot(self, context, volume, snapshot):
        devices.copied(snapshot.id, volume.id)

    def retype(self, context, volume, new_type, diff, host):
        return True, None

    def migrate_volume(self, context, volume, host):
        return True, None

    def manage_existing(self, volume, existing_ref):
        return {}

    def manage_existing_get_size(self, volume, existing_ref):
        return 1

    def manage_existing_snapshot(self, snapshot, existing_ref):
        return {}

    def manage_existing_snapshot_get_size(self, snapshot, existing_ref):
        return snapshot.volume_size

    def unmanage_snapshot(self, snapshot):
        pass

    def unmanage(self, volume):
        pass

    def _update_volume_stats(self):
        super()._update_volume_stats()
        self._stats["pools"][0].update(
            reserved_percentage=0,
            multiattach=True,
            thin_provisioning_support=True,
            max_over_subscription_ratio=20,
            total_capacity_gb=100000,
            free_capacity_gb=100000,
        )
        self._stats["replication_enabled"] = False
        self._stats["pools"][0].update(replication_enabled=False, group_replication_enabled=False)
