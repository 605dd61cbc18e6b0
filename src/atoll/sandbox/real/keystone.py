"""Start a Keystone and give it its first administrator."""

import os

from atoll.sandbox.real.commands import Argument, run
from atoll.sandbox.real.configuration import configure_keystone
from atoll.sandbox.real.database import Database
from atoll.sandbox.real.model import Keystone
from atoll.sandbox.real.ports import answers
from atoll.sandbox.real.processes import Processes
from atoll.sandbox.real.schemas import Schemas
from atoll.sandbox.real.serving import Application, closing

OLDER_SCRIPT = "keystone-wsgi-public"  # releases before modules for WSGI had scripts


def start_keystone(keystone: Keystone, database: Database, schemas: Schemas, processes: Processes) -> None:
    """Have a bootstrapped Keystone that answers."""
    configure_keystone(keystone, database)
    schemas.keystone(keystone)
    _bootstrap(keystone, database)
    script = keystone.release.bin / OLDER_SCRIPT
    application = Application(
        name=keystone.process,
        site=None if keystone.process == "keystone" else keystone.region,
        module=script if script.exists() else "keystone.wsgi.api",
        port=keystone.port,
        environment={"OS_KEYSTONE_CONFIG_DIR": str(keystone.directory)},
    )
    processes.start(closing(application, keystone.release))
    processes.wait(keystone.process, lambda: answers(keystone.port, "/v3"))


def _bootstrap(keystone: Keystone, database: Database) -> None:
    """Make keys, administrator, region and endpoint; each of these commands may be run again."""
    mark = f"bootstrap {keystone.database}"
    keys = [any((keystone.directory / name).iterdir()) for name in ("fernet", "credential")]
    if all(keys) and database.done(mark):
        return
    manage: list[Argument] = [
        *(keystone.release.bin / "keystone-manage", "--config-file", keystone.directory / "keystone.conf")
    ]
    owner = ["--keystone-user", str(os.geteuid()), "--keystone-group", str(os.getegid())]
    for what in ("fernet_setup", "credential_setup"):
        run([*manage, what, *(owner if os.geteuid() == 0 else [])])
    run(
        [
            *(*manage, "bootstrap", "--bootstrap-password", keystone.password),
            *("--bootstrap-username", keystone.admin, "--bootstrap-project-name", keystone.admin),
            *("--bootstrap-region-id", keystone.region, "--bootstrap-public-url", keystone.url),
            *("--bootstrap-internal-url", keystone.url, "--bootstrap-admin-url", keystone.url),
        ]
    )
    database.mark_done(mark)
