"""Every definition of a run. A kind of run adds its line here, and its actions to `build`."""

from typing import Final

from atoll.gateway import (
    flavor_copy_run,
    image_copy_run,
    probe_run,
    server_create_run,
    server_evacuate_run,
    server_move_run,
    server_protect_run,
    transaction_run,
    volume_copy_run,
)
from atoll.gateway.definitions import Definitions

DEFINITIONS: Final = Definitions(
    (
        flavor_copy_run.FLAVOR_COPY,
        image_copy_run.IMAGE_COPY,
        probe_run.PROBE,
        server_create_run.SERVER_CREATE,
        server_evacuate_run.SERVER_EVACUATE,
        server_move_run.SERVER_MOVE,
        server_protect_run.SERVER_PROTECT,
        server_protect_run.SERVER_UNPROTECT,
        transaction_run.TRANSACTION,
        volume_copy_run.VOLUME_COPY,
        volume_copy_run.VOLUME_MOVE,
    )
)
