"""What a volume holds: a small file, made when it is first wanted."""

import pathlib

from oslo_config import cfg

CONTENT = 1 << 16  # bytes, whatever the size of the volume


def path(volume_id):
    """Where the file of a volume is."""
    return pathlib.Path(cfg.CONF.state_path) / "devices" / str(volume_id)


def made(volume_id):
    """The path of the file, which is there."""
    here = path(volume_id)
    if not here.exists():
        here.parent.mkdir(parents=True, exist_ok=True)
        line = f"volume {volume_id}\n".encode()
        here.write_bytes((line * (CONTENT // len(line) + 1))[:CONTENT])
    return here


def copied(source_id, target_id):
    """Have a volume or a snapshot hold what another one holds."""
    path(target_id).write_bytes(made(source_id).read_bytes())


def removed(volume_id):
    """Forget what one holds."""
    path(volume_id).unlink(missing_ok=True)
