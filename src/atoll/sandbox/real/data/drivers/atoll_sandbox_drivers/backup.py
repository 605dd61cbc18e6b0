"""cinder's backup manager, with a small file as the device of every volume.

The stock manager looks for the host's storage hardware as root, then attaches the volume. Nothing is
attached here: the volume's file is read, and a restore writes into the other volume's.
"""

from cinder.backup import manager

from atoll_sandbox_drivers import devices


def no_properties(*_args, **_kwargs):
    """What a host without storage hardware says of itself."""
    return {}


manager.volume_utils.brick_get_connector_properties = no_properties


class SandboxBackupManager(manager.BackupManager):
    def _attach_device(self, ctxt, backup_device, properties, is_snapshot=False):
        return {"device": {"path": str(devices.made(backup_device.id))}}

    def _detach_device(self, *args, **kwargs):
        pass
