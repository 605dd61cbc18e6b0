"""Bring the sandbox up, take it down, say how it is. One of these at a time for a state directory."""

import contextlib
import errno
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from atoll.sandbox.real import federation
from atoll.sandbox.real.catalog import fill_keystone
from atoll.sandbox.real.clouds import describe, write_descriptions
from atoll.sandbox.real.configuration import configure_site, write
from atoll.sandbox.real.database import Database
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.installation import require_disk, require_packages, require_release
from atoll.sandbox.real.keystone import start_keystone
from atoll.sandbox.real.layout import MAX_SITES, OLDER_INDEX, Layout, locate
from atoll.sandbox.real.messaging import Messaging
from atoll.sandbox.real.model import Site, main_sites, newest
from atoll.sandbox.real.older import PREFIX, older_release, older_site
from atoll.sandbox.real.processes import Processes, ServiceStatus
from atoll.sandbox.real.region import map_cells, start_site, wait_for_site
from atoll.sandbox.real.schemas import SITE_SERVICES, Schemas
from atoll.sandbox.real.seed import seed

INFRASTRUCTURE = ("rabbitmq", "mariadb", "epmd")  # stopped last, in this order
WORKERS = 2  # a start is mostly Python importing itself; more at once only swaps turns
STOP_GRACE = 20  # seconds the broker and the database get to write what they hold


@dataclass(frozen=True)
class Wanted:
    """What `up` shall give. Sites and computes that were once there are started again, never fewer."""

    sites: int = 2
    computes: int = 1
    older: bool = False
    federated: bool = False  # the older site's Keystone believes the others'
    fresh_schema: bool = False
    install: bool = True


@dataclass(frozen=True)
class Parts:
    """What the steps of a start share."""

    layout: Layout
    processes: Processes
    database: Database
    messaging: Messaging
    schemas: Schemas
    say: Callable[[str], None]


def up(
    wanted: Wanted | None = None,
    *,
    state: Path | None = None,
    port_base: int | None = None,
    say: Callable[[str], None] = print,
) -> Layout:
    """Start the sites, or what of them does not run; give where they are described.

    Safe to repeat after any end of an earlier call. Raises `SandboxError` with what to do.
    """
    layout = locate(state, port_base)
    wanted = wanted or Wanted()
    if not 1 <= wanted.sites <= MAX_SITES or wanted.computes < 1:
        raise SandboxError(f"sites are 1 to {MAX_SITES}, computes at least 1")
    with _disk_faults(layout), _alone(layout):
        wanted = _remember(layout, wanted)
        require_disk(layout.state)
        require_packages(install=wanted.install, say=say)
        require_release(newest(layout), install=wanted.install, say=say)
        if wanted.federated:
            federation.require_packages(install=wanted.install, say=say)
        if wanted.older:
            require_release(older_release(layout), install=wanted.install, say=say)
        _start(_parts(layout, say), wanted)
    return layout


def down(
    *,
    wipe: bool = False,
    older_only: bool = False,
    state: Path | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Stop what runs and give how many services that were; with `wipe` the data goes too.

    Needs no port base: it goes by the pid files. Raises `SandboxError` while an `up` is at work.
    """
    layout = locate(state)
    if not layout.run.exists():
        return 0
    with _alone(layout):
        processes = Processes(layout)
        names = [name for name in processes.names() if name.startswith(PREFIX) or not older_only]
        stopped = processes.stop(name for name in names if name not in INFRASTRUCTURE)
        for name in INFRASTRUCTURE:
            if name in names:
                stopped += processes.stop([name], grace=STOP_GRACE)
        say(f"stopped {stopped} services")
        if older_only:
            _forget_older(layout)
        if wipe and not older_only:
            shutil.rmtree(layout.run)
            shutil.rmtree(federation.web_directory(layout), ignore_errors=True)
            say(f"removed {layout.run}")
    return stopped


def status(*, state: Path | None = None) -> list[ServiceStatus]:
    """Describe every service that was started and not stopped since."""
    layout = locate(state)
    return Processes(layout).status() if layout.pids.exists() else []


def _parts(layout: Layout, say: Callable[[str], None]) -> Parts:
    processes = Processes(layout)
    database = Database(layout, processes)
    schemas = Schemas(layout, database, say)
    return Parts(layout, processes, database, Messaging(layout, processes), schemas, say)


def _start(parts: Parts, wanted: Wanted) -> None:
    groups = [main_sites(parts.layout, wanted.sites, wanted.computes)]
    if wanted.older:
        groups.append([older_site(parts.layout)])
    sites = [site for group in groups for site in group]
    if wanted.fresh_schema:
        for release in {site.release for site in sites}:
            parts.schemas.forget(release)
    parts.messaging.start([*(site.vhost for site in groups[0]), f"r{OLDER_INDEX}"])
    parts.database.start()
    for site in sites:
        configure_site(site, parts.database, parts.messaging)
    for group in groups:
        _prepare(parts, group)
    parts.messaging.wait()
    for site in sites:
        parts.say(f"starting {site.region} (OpenStack {site.release.name})")
        start_site(site, parts.processes)
    described = []
    for site in sites:
        wait_for_site(site, parts.processes, parts.database)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(seed, sites))
        described = list(pool.map(describe, sites))
    write_descriptions(parts.layout, sites, described)
    if wanted.federated:
        federation.federate(parts.layout, groups[0][0].keystone, groups[1][0].keystone, parts.processes)
        parts.say("the Keystone of the older site believes that of the others")
    parts.say(f"{len(sites)} sites are up; source {parts.layout.run}/openrc")


def _prepare(parts: Parts, group: list[Site]) -> None:
    """Databases, Keystone, catalog and cells of the sites of one Keystone.

    The first site's databases come first: they leave the dumps that the others load.
    """
    first, *others = group
    with ThreadPoolExecutor(WORKERS) as pool:
        keystone = pool.submit(start_keystone, first.keystone, parts.database, parts.schemas, parts.processes)
        list(pool.map(lambda service: parts.schemas.service(first, service), SITE_SERVICES))
        keystone.result()
        parts.say(f"{first.keystone.process} is up")
        catalog = pool.submit(fill_keystone, first.keystone, group)
        jobs = [(site, service) for site in others for service in SITE_SERVICES]
        list(pool.map(lambda job: parts.schemas.service(*job), jobs))
        list(pool.map(lambda site: map_cells(site, parts.database), group))
        catalog.result()


def _remember(layout: Layout, wanted: Wanted) -> Wanted:
    """Servers live on every site and compute that ever was: start those again, on the ports they had."""
    kept = layout.run / "size.json"
    with contextlib.suppress(FileNotFoundError, ValueError):
        before = json.loads(kept.read_text())
        if before["port_base"] != layout.port_base:
            raise SandboxError(
                f"the data in {layout.run} is for port base {before['port_base']}, not {layout.port_base}: "
                "give that one, or `down --wipe` first"
            )
        wanted = replace(
            wanted,
            sites=max(wanted.sites, before["sites"]),
            computes=max(wanted.computes, before["computes"]),
            older=wanted.older or before["older"],
            federated=wanted.federated or before.get("federated", False),
        )
    if wanted.federated and not wanted.older:
        raise SandboxError("the Keystone that believes another is the older site's: add --older")
    size = {key: getattr(wanted, key) for key in ("sites", "computes", "older", "federated")}
    write(kept, json.dumps({**size, "port_base": layout.port_base}))
    return wanted


def _forget_older(layout: Layout) -> None:
    """The next `up` starts the older site only when asked."""
    kept = layout.run / "size.json"
    if kept.exists():
        write(kept, json.dumps({**json.loads(kept.read_text()), "older": False, "federated": False}))


@contextlib.contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Hold the state directory; the lock goes with our process, however that ends."""
    for directory in (layout.state, layout.run, layout.pids, layout.logs):
        directory.mkdir(parents=True, exist_ok=True)
    layout.run.chmod(0o700)
    with (layout.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as held:
            raise SandboxError(f"another `up` or `down` is at work in {layout.state}: wait for it") from held
        yield


@contextlib.contextmanager
def _disk_faults(layout: Layout) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        if fault.errno == errno.ENOSPC:
            raise SandboxError(f"the disk of {layout.state} is full: free some space, start again") from fault
        if fault.errno in {errno.EACCES, errno.EROFS}:
            raise SandboxError(
                f"{fault.filename}: not writable; set ATOLL_CACHE to a directory of yours"
            ) from fault
        raise
