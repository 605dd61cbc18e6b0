"""Start a Keystone and give it its first administrator."""

import os
from pathlib import Path

from atoll.sandbox.real.commands import Argument, run
from atoll.sandbox.real.configuration import configure_keystone
from atoll.sandbox.real.database import Database
from atoll.sandbox.real.model import Keystone
from atoll.sandbox.real.ports import answers
from atoll.sandbox.real.processes import Processes
from atoll.sandbox.real.schemas import Schemas
from atoll.sandbox.real.serving import Application, closing

FEDERATION = "federation.conf"  # beside keystone.conf, where a Keystone trusts another or is trusted
OLDER_SCRIPT = "keystone-wsgi-public"  # releases before modules for WSGI had scripts


def start_keystone(keystone: Keystone, database: Database, schemas: Schemas, processes: Processes) -> None:
    """Have a bootstrapped Keystone that answers."""
    configure_keystone(keystone, database)
    schemas.keystone(keystone)
    _bootstrap(keystone, database)
    serve_keystone(keystone, processes)


def serve_keystone(keystone: Keystone, processes: Processes) -> None:
    """Have a Keystone answer whose database is there."""
    script = keystone.release.bin / OLDER_SCRIPT
    files = [path.name for path in config_files(keystone)]
    application = Application(
        name=keystone.process,
        site=None if keystone.process == "keystone" else keystone.region,
        module=script if script.exists() else "keystone.wsgi.api",
        port=keystone.port,
        environment={
            "OS_KEYSTONE_CONFIG_DIR": str(keystone.directory),
            "OS_KEYSTONE_CONFIG_FILES": ";".join(files),
        },
        uwsgi_port=keystone.uwsgi_port,
    )
    processes.start(closing(application, keystone.release))
    processes.wait(keystone.process, lambda: answers(keystone.port, "/v3"))


def config_files(keystone: Keystone) -> list[Path]:
    """The files that it reads, the last one's values first."""
    there = [keystone.directory / name for name in ("keystone.conf", FEDERATION)]
    return [path for path in there if path.exists()]


def manage(keystone: Keystone, *words: Argument) -> str:
    """Run keystone-manage and give what it says."""
    files = [word for path in config_files(keystone) for word in ("--config-file", path)]
    return run([keystone.release.bin / "keystone-manage", *files, *words])


def _bootstrap(keystone: Keystone, database: Database) -> None:
    mark = f"bootstrap {keystone.database}"
    keys = [any((keystone.directory / name).iterdir()) for name in ("fernet", "credential")]
    if not all(keys) or not database.done(mark):
        bootstrap(keystone)
        database.mark_done(mark)


def bootstrap(keystone: Keystone) -> None:
    """Make keys, administrator, region and endpoint; each of these commands may be run again."""
    owner = ["--keystone-user", str(os.geteuid()), "--keystone-group", str(os.getegid())]
    for what in ("fernet_setup", "credential_setup"):
        manage(keystone, what, *(owner if os.geteuid() == 0 else []))
    manage(
        keystone,
        *("bootstrap", "--bootstrap-password", keystone.password),
        *("--bootstrap-username", keystone.admin, "--bootstrap-project-name", keystone.admin),
        *("--bootstrap-region-id", keystone.region, "--bootstrap-public-url", keystone.url),
        *("--bootstrap-internal-url", keystone.url, "--bootstrap-admin-url", keystone.url),
    )
