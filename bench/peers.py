"""What is measured: Atoll and its peers, each a process in front of the same site."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.backend import HEADERS, SERVER_PATH
from bench.ports import free_port
from bench.processes import Process, get, running, wait_for
from bench.things import paths

COMPUTE = ("compute",)
# Where a site has its services, below its address.
PATHS = {"compute": "/v2.1", "block-storage": "/volume/v3", "network": "/network", "image": "/image"}


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a peer runs: its folder, the sites' ports (the first has the things), the core, services."""

    folder: Path
    sites: list[int]
    core: int
    services: Sequence[str] = COMPUTE


@dataclass(frozen=True, slots=True)
class Target:
    """A proxy that answers: its process, and where it is asked for the thing."""

    process: Process
    port: int
    path: str


Start = Callable[[Setting], AbstractContextManager[Target]]


@contextmanager
def haproxy_running(setting: Setting) -> Iterator[tuple[int, Process]]:
    """HAProxy as a plain reverse proxy of the first site: keep-alive on both sides, one thread, no log."""
    port = free_port()
    file = setting.folder / "haproxy.cfg"
    file.write_text(f"""
global
    maxconn 4096
    nbthread 1
defaults
    mode http
    option http-keep-alive
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{port}
    default_backend site
backend site
    server site 127.0.0.1:{setting.sites[0]}
""")
    command = ["haproxy", "-db", "-f", str(file)]
    with running(command, cores=[setting.core], log=setting.folder / "haproxy.log") as process:
        yield port, process


@contextmanager
def haproxy(setting: Setting) -> Iterator[Target]:
    """HAProxy, warm."""
    with haproxy_running(setting) as (port, process):
        yield warm(Target(process, port, SERVER_PATH))


def atoll_configuration(folder: Path, port: int, sites: list[int], services: Sequence[str] = COMPUTE) -> Path:
    """Write Atoll's configuration: a zone for each site, the access log in a file."""
    file = folder / "atoll.toml"
    text = f"""
[gateway]
listen = "127.0.0.1:{port}"
access_log = "{folder / "access.log"}"
[identity]
auth_url = "http://127.0.0.1:{sites[0]}/v3"
[store]
url = "sqlite:///{folder / "atoll.db"}"
"""
    for number, site in enumerate(sites, 1):
        endpoints = ", ".join(f'{name} = "http://127.0.0.1:{site}{PATHS[name]}"' for name in services)
        text += f"""
[sites.Region{number}]
region = "Region{number}"
endpoints = {{{endpoints}}}
[zones.az{number}]
site = "Region{number}"
zone = "nova"
"""
    file.write_text(text)
    return file


@contextmanager
def atoll_cold(setting: Setting) -> Iterator[Target]:
    """`atoll serve`, just spawned: it may not answer yet."""
    port = free_port()
    file = atoll_configuration(setting.folder, port, setting.sites, setting.services)
    command = [sys.executable, "-m", "atoll.cli", "serve", "-c", str(file)]
    with running(command, cores=[setting.core], log=setting.folder / "atoll.log") as process:
        yield Target(process, port, f"/compute{SERVER_PATH}")


@contextmanager
def atoll(setting: Setting) -> Iterator[Target]:
    """`atoll serve`, ready."""
    with atoll_cold(setting) as target:
        yield warm(target)


@contextmanager
def aiohttp(setting: Setting) -> Iterator[Target]:
    """The naive proxy on aiohttp."""
    port = free_port()
    command = [sys.executable, "-m", "bench.proxy_aiohttp", str(port), str(setting.sites[0])]
    with running(command, cores=[setting.core], log=setting.folder / "aiohttp.log") as process:
        yield warm(Target(process, port, f"/compute{SERVER_PATH}"))


@contextmanager
def flask(setting: Setting) -> Iterator[Target]:
    """The naive proxy on Flask and requests, as gunicorn runs it when connections are kept alive."""
    port = free_port()
    command = [
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread",
        "--workers", "1", "--threads", "8", "--keep-alive", "75", "--no-control-socket",
        "bench.proxy_flask:app",
    ]  # fmt: skip
    environment = {"BENCH_PORT": str(port), "BENCH_SITE": str(setting.sites[0])}
    with running(
        command, cores=[setting.core], log=setting.folder / "gunicorn.log", env=environment
    ) as process:
        yield warm(Target(process, port, f"/compute{SERVER_PATH}"))


def ask(target: Target) -> tuple[int, bytes]:
    """Ask a target for the thing, once."""
    return get(target.port, target.path, HEADERS)


def warm(target: Target) -> Target:
    """A target that has answered, and knows where the things are."""
    wait_for(target.process, lambda: ask(target))
    return visited(target)


def visited(target: Target) -> Target:
    """A target that was asked for every thing of its kind."""
    for path in paths(target.path):
        get(target.port, path, HEADERS)
    return target
