"""Running the gateway: listening, draining on SIGTERM, several processes on one address."""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import structlog
import uvloop

from atoll.core.settings import Config
from atoll.gateway.app import App
from atoll.gateway.build import build
from atoll.gateway.drift import Drift
from atoll.gateway.forward import IDENTITY_HEADERS, SET_BY_US
from atoll.gateway.lane import Lane
from atoll.gateway.parts import Parts
from atoll.gateway.run_receivers import somebody_is_told, tell_of_runs
from atoll.gateway.tallies import Board, Tallies
from atoll.gateway.telemetry import GAUGES, Telemetry
from atoll.sites.pool import Watch
from atoll.store import Registry, Store, StoreError, open_store
from atoll.trust.login import Login
from atoll.trust.sealing import SecretsError
from atoll.wire.message import Request
from atoll.wire.server import ServerConnection, ServerSettings, plain_refusal

log = structlog.get_logger()

NO_LOGINS: Final[Mapping[str, Login]] = MappingProxyType({})
# How often idle connections are looked at (seconds).
SWEEP = 1.0
BACKLOG = 1024
# A worker that dies is started again, but not in a tight loop (seconds).
RESTART_WAIT = 1.0
# How a worker ends that would not start a second time either.
REFUSED = 78
PRUNE_SECONDS = 3600.0
# Objects made before the collector looks at the youngest: a request makes about a hundred.
# Of the heap's end, kept for the next use; the most that glibc takes for both.
KEPT_BYTES = 32 << 20
# As in glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
GC_THRESHOLD = 20_000


def sockets(listen: Sequence[str], *, shared: bool) -> list[socket.socket]:
    """Bound, not yet listening. `shared` lets several processes bind the same. Raises OSError."""
    made = []
    for address in listen:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        one = socket.socket(family, socket.SOCK_STREAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind((host, int(port)))
        made.append(one)
    return made


def tls_context(config: Config) -> ssl.SSLContext | None:
    """The server's TLS, from 1.2 on; None where it speaks plain HTTP."""
    tls = config.gateway.tls
    if tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


async def serve(
    config: Config,
    bound: Sequence[socket.socket],
    *,
    ready: Callable[[], None] = lambda: None,
    stop: asyncio.Event | None = None,
    tallies: Tallies | None = None,
    logins: Mapping[str, Login] = NO_LOGINS,
) -> None:
    """Serve on bound sockets until SIGTERM, SIGINT or `stop`; then finish what is under way and end.

    `logins` were made just now, by the entries of clouds.yaml that credentials name.
    """
    loop = asyncio.get_running_loop()
    stop = stop or asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: tests
            loop.add_signal_handler(name, stop.set)
    app, parts, watch = await _built(config, tallies, logins)
    settings = _settings(config, app, parts)
    tls = tls_context(config)
    servers = [
        await loop.create_server(lambda: ServerConnection(settings), sock=one, ssl=tls, backlog=BACKLOG)
        for one in bound
    ]
    background = [
        loop.create_task(work)
        for work in (
            parts.health.run(),
            Drift(parts).run(),
            parts.locations.run(),
            parts.audit.run(),
            parts.trust.run(),
            parts.registry.follow(),
            parts.aliases.follow(),
            _sweep(settings, parts.telemetry),
            _prune(parts.store),
            tell_of_runs(config, parts.store),
            _be_member(parts),
        )
    ]
    listen = [f"{one.getsockname()[0]}:{one.getsockname()[1]}" for one in bound]
    log.info("serving", public_url=parts.public_url, listen=listen, sites=list(parts.sites.by_name))
    ready()
    try:
        await stop.wait()
        log.info("draining", requests=sum(one.busy for one in settings.connections))
        settings.draining = True
        for server in servers:
            server.close()
        await _drain(settings, config.gateway.drain_seconds)
    finally:
        await _end(parts, background)
        for connection in list(settings.connections):
            connection.abort()
        watch.close()
        await _close(parts)
    log.info("stopped")


async def _built(
    config: Config, tallies: Tallies | None, logins: Mapping[str, Login]
) -> tuple[App, Parts, Watch]:
    """The gateway's parts with what is set up in the store. Raises StoreError, SecretsError."""
    store = await open_store(config.store.url, published=somebody_is_told(config))
    try:
        registry = Registry(store.intent)
        await registry.load()
        app, parts, watch = build(config, store, registry, tallies)
        await parts.aliases.load()
    except BaseException:
        await store.close()
        raise
    try:
        parts.trust.start(logins)
        await parts.tokens.start()
        await parts.worker.start()
    except BaseException:
        watch.close()
        await _close(parts)
        raise
    return app, parts, watch


def _keep_freed_memory() -> None:
    """Have the C library keep what a big list took for the next one, where it is glibc.

    By itself it gives everything over a few megabytes back to the system at once, which then has to clear
    every page of it anew: up to a fifth of the cost of a list.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt(option, KEPT_BYTES)


def _settle_memory() -> None:
    """Keep the collector from going through what lives as long as the process, again and again."""
    gc.collect()
    gc.freeze()
    _keep_freed_memory()
    gc.set_threshold(GC_THRESHOLD, 20, 50)


def _settings(config: Config, app: App, parts: Parts) -> ServerSettings:
    """What every connection of clients is given."""

    def refusal(status: int, reason: str, request: Request | None) -> tuple[list[bytes], bytes]:
        parts.telemetry.count("request_refused", str(status))
        return plain_refusal(status, reason, request)

    return ServerSettings(
        app.handle,
        drop=IDENTITY_HEADERS | SET_BY_US,
        header_bytes=config.limits.header_bytes,
        refusal=refusal,
        lane=Lane(app, parts).take,
    )


async def _close(parts: Parts) -> None:
    """Write out what waits to be written, and close the files and the store."""
    parts.telemetry.close()
    parts.audit.close()
    parts.tokens.close()
    parts.trust.close()
    await parts.locations.close()
    await parts.store.close()


async def _end(parts: Parts, tasks: Sequence[asyncio.Task[None]]) -> None:
    await parts.worker.close()
    await parts.outcomes.close()
    await parts.equivalents.close()
    await parts.marks.close()
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _be_member(parts: Parts) -> None:
    """Have the worker in the group of all, where there is one."""
    if parts.group is not None:
        await parts.group.run(lambda: parts.worker.id, parts.store.run_views.workers)


async def _prune(store: Store) -> None:
    """Drop expired cursors and old tombstones now and then."""
    while True:
        await asyncio.sleep(PRUNE_SECONDS)
        try:
            pruned = await store.prune(time.time())
            await store.aliases.prune()
        except StoreError as error:
            log.warning("not_pruned", reason=str(error)[:256])
        else:
            log.info("pruned", cursors=pruned.cursors, tombstones=pruned.tombstones)


async def _sweep(settings: ServerSettings, telemetry: Telemetry) -> None:
    loop = asyncio.get_running_loop()
    while True:
        telemetry.publish()
        await asyncio.sleep(SWEEP)
        now = loop.time()
        for connection in list(settings.connections):
            connection.close_if_idle(now)


async def _drain(settings: ServerSettings, seconds: float) -> None:
    """Let requests under way finish; idle connections are closed at once."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while settings.connections and loop.time() < end:
        for connection in list(settings.connections):
            connection.close_if_idle(loop.time())
        await asyncio.sleep(0.02)
    if settings.connections:
        log.warning("drain_cut", requests=len(settings.connections))


def run(
    config: Config,
    *,
    ready: Callable[[], None] = lambda: None,
    logins: Mapping[str, Login] = NO_LOGINS,
) -> None:
    """Serve in this process, or in as many as the configuration says, until stopped. Raises OSError."""
    workers = config.gateway.workers
    if workers == 1:
        _process(config, sockets(config.gateway.listen, shared=False), ready=ready, logins=logins)
        return
    # Bound once here, so that a port that is taken is told before any worker starts.
    for one in sockets(config.gateway.listen, shared=True):
        one.close()
    _supervise(config, workers)


def _process(
    config: Config,
    bound: Sequence[socket.socket],
    *,
    ready: Callable[[], None] = lambda: None,
    tallies: Tallies | None = None,
    logins: Mapping[str, Login] = NO_LOGINS,
) -> None:
    """Serve in a process that does nothing else, and whose memory is therefore the gateway's to settle."""

    def begun() -> None:
        _settle_memory()
        ready()

    uvloop.run(serve(config, bound, ready=begun, tallies=tallies, logins=logins))


def _supervise(config: Config, workers: int) -> None:
    """Keep `workers` processes running; pass SIGTERM and SIGINT on and wait for them."""
    children: dict[int, int] = {}
    board = Board(workers)
    stopping = refused = False

    def stop(signum: int, frame: object) -> None:
        del signum, frame
        nonlocal stopping
        stopping = True
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    for number in range(workers):
        children[_start(config, board, number)] = number
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while children:
        try:
            pid, status = os.wait()
        except InterruptedError:
            continue
        number = children.pop(pid, -1)
        if os.waitstatus_to_exitcode(status) == REFUSED and not stopping:
            refused = True
            stop(signal.SIGTERM, None)
        if number >= 0:
            board.tallies(number).clear(*GAUGES)
        if not stopping:
            log.error("worker_died", worker=number, status=os.waitstatus_to_exitcode(status))
            time.sleep(RESTART_WAIT)
            children[_start(config, board, number)] = number
    if refused:
        sys.exit(1)


def _start(config: Config, board: Board, number: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 0
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        listening = sockets(config.gateway.listen, shared=True)
        _process(config, listening, tallies=board.tallies(number))
    except SecretsError as error:
        log.error("not_started", reason=str(error))  # noqa: TRY400 - it says what to do
        code = REFUSED
    except Exception:
        log.exception("worker_failed")
        code = 1
    finally:
        sys.stdout.flush()
        os._exit(code)
