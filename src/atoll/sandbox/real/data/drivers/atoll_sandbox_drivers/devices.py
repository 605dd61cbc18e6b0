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
