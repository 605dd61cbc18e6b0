"""What other engines of durable work need: an environment of their own, and databases that lose nothing."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.stores import packages
from tests.stores.servers import Kind, Mariadb, Postgresql, Server, ServerError, open_server

from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.installation import require_pins
from atoll.sandbox.real.layout import locate
from bench.processes import NotStarted

ROOT = Path(__file__).parent.parent
PINS = ROOT / "requirements" / "engines.txt"


def python() -> Path:
    """The Python of an environment with the other engines, made once for all checkouts. Raises NotStarted."""
    venv = locate().state.parent / "bench" / "engines"
    venv.parent.mkdir(parents=True, exist_ok=True)
    try:
        require_pins("TaskFlow and DBOS", str(PINS), venv, install=True, say=print)
    except SandboxError as error:
        raise NotStarted(str(error)) from error
    return venv / "bin" / "python"


class DurablePostgresql(Postgresql):
    """PostgreSQL that a commit is safe in: tests need no such thing."""

    def command(self, programs: Path, home: Path, port: int) -> Sequence[str]:
        """With its default of waiting for the disk."""
        return _instead(super().command(programs, home, port), "fsync=off", "fsync=on")


class DurableMariadb(Mariadb):
    """MariaDB that a commit is safe in."""

    def command(self, programs: Path, home: Path, port: int) -> Sequence[str]:
        """With its default of waiting for the disk."""
        off, on = (f"--innodb-flush-log-at-trx-commit={number}" for number in (0, 1))
        return _instead(super().command(programs, home, port), off, on)


def _instead(command: Sequence[str], off: str, on: str) -> Sequence[str]:
    if off not in command:
        raise ServerError(f"the server's command has no {off}: whether it waits for the disk is not known")
    return [on if word == off else word for word in command]


@contextmanager
def servers(*names: str) -> Iterator[dict[str, Server]]:
    """Servers by their names (`postgresql`, `mariadb`). Raises NotStarted."""
    kinds: Sequence[Kind] = (DurablePostgresql(), DurableMariadb())
    with ExitStack() as stack:
        found = {}
        for kind in kinds:
            if kind.name not in names:
                continue
            try:
                if (why := packages.provide(kind)) is not None:
                    raise NotStarted(why)
                found[kind.name] = open_server(kind)
            except ServerError as error:
                raise NotStarted(str(error)) from error
            stack.callback(found[kind.name].close)
        yield found
