"""How an API is served: the WSGI servers as they are met in the field.

uWSGI's plain HTTP socket closes every connection. Its two ways to keep them are not used: `--http11-socket`
gives a whole thread to an idle connection, and takes the rest of a body that the application refused to read
for the next request; the router before `--http` is one more process with faults of its own. gunicorn's
threads keep idle connections in a selector; of a body that was not read they skip 64 KiB, and beyond that
they close the connection after an answer that said keep-alive. uWSGI never sends `100 Continue`; gunicorn
sends it at once, before the application has seen the request.
"""

from dataclasses import dataclass, field
from pathlib import Path

from atoll.sandbox.real.commands import Argument, environment
from atoll.sandbox.real.configuration import write
from atoll.sandbox.real.model import Release
from atoll.sandbox.real.processes import Service

THREADS = 6
LISTEN_QUEUE = 100
CHUNK_LIMIT = 4 * 1024 * 1024  # bytes; cinder sends chunks of 1 MiB, and uWSGI fails at its own limit of that
IMPORT_LIMIT = 300  # seconds a service may take to load before gunicorn ends it; minutes on a busy machine
GUNICORN = """\
import sys

bind = "127.0.0.1:{port}"
worker_class = "gthread"
workers = 1
threads = {threads}
keepalive = {keep_alive}
backlog = {backlog}
timeout = {timeout}
graceful_timeout = 3
limit_request_line = 0
limit_request_field_size = 0
control_socket_disable = True


def post_fork(server, worker):
    # some services read their options from the command line, and gunicorn's are none of theirs
    sys.argv = {arguments!r}
"""


@dataclass(frozen=True)
class Application:
    """One WSGI application: a module with `application` in it, or the path of a script that has one."""

    name: str
    site: str | None
    module: str | Path
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    uwsgi_port: int | None = None


def python_environment(release: Release) -> dict[str, str]:
    """Give what every Python service of the release is started with."""
    path = environment().get("PATH", "")
    return {
        "PYTHONWARNINGS": "ignore",
        "PYTHONUNBUFFERED": "1",
        "MALLOC_ARENA_MAX": "2",  # arenas per thread cost 50 MiB a process here
        "PATH": f"{release.bin}:{path}",
    }


def closing(application: Application, release: Release) -> Service:
    """Serve with uWSGI: every connection is closed after its answer."""
    words: list[Argument] = [release.bin / "uwsgi", "--http-socket", f"127.0.0.1:{application.port}"]
    if isinstance(application.module, Path):
        words += ["--wsgi-file", application.module]
    else:
        words += ["--module", f"{application.module}:application"]
    words += ["--home", release.venv, "--processes", 1, "--threads", THREADS, "--enable-threads"]
    words += ["--die-on-term", "--need-app", "--worker-reload-mercy", 5, "--buffer-size", 65535]
    # without the last header clients keep the connection and find it reset
    words += ["--http-chunked-input", "--chunked-input-limit", CHUNK_LIMIT]
    words += ["--listen", LISTEN_QUEUE, "--add-header", "Connection: close"]
    words += ["--socket-timeout", 60, "--disable-logging", "--log-date"]
    if application.uwsgi_port:
        words += ["--socket", f"127.0.0.1:{application.uwsgi_port}"]
    if application.arguments:
        words += ["--pyargv", " ".join(application.arguments)]
    variables = python_environment(release) | application.environment
    return Service(application.name, words, variables, application.port, application.site)


def keeping(application: Application, release: Release, seconds: int, directory: Path) -> Service:
    """Serve with gunicorn: connections are kept for so many idle seconds; its settings go to `directory`."""
    settings = directory / f"{application.name}.gunicorn.py"
    text = GUNICORN.format(
        port=application.port,
        threads=THREADS,
        keep_alive=seconds,
        backlog=LISTEN_QUEUE,
        timeout=IMPORT_LIMIT,
        arguments=[application.name, *application.arguments],
    )
    write(settings, text)
    words: list[Argument] = [
        release.bin / "gunicorn",
        "--config",
        settings,
        f"{application.module}:application",
    ]
    variables = python_environment(release) | application.environment
    return Service(application.name, words, variables, application.port, application.site)
