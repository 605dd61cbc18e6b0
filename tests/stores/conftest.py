"""Empty databases on each kind of server. The servers run from the first test that asks to the last one.

Where one is neither installed nor can be, its tests are skipped with the reason, but fail where `CI` is set.
One that is installed and does not start always fails them.
"""

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.stores.daemons import COORDINATORS, RABBITMQ, Daemon, open_daemon
from tests.stores.daemons import Kind as DaemonKind
from tests.stores.packages import Packaged, provide
from tests.stores.relay import Relay
from tests.stores.servers import KINDS, Kind, Server, open_server

_numbers = itertools.count()


def _provided(kind: Packaged) -> None:
    refusal = provide(kind)
    if refusal is not None:
        if os.environ.get("CI"):
            pytest.fail(refusal)
        pytest.skip(refusal)


def _server(kind: Kind) -> Iterator[Server]:
    _provided(kind)
    server = open_server(kind)
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server."""
    yield from _server(KINDS[0])


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """A MariaDB server."""
    yield from _server(KINDS[1])


def _daemon(kind: DaemonKind) -> Iterator[Daemon]:
    _provided(kind)
    daemon = open_daemon(kind)
    yield daemon
    daemon.close()


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[Daemon]:
    """A RabbitMQ. Whoever stops it starts it again."""
    yield from _daemon(RABBITMQ)


@pytest.fixture(scope="session")
def etcd() -> Iterator[Daemon]:
    """An etcd. Whoever stops it starts it again."""
    yield from _daemon(COORDINATORS[0])


@pytest.fixture(scope="session")
def redis() -> Iterator[Daemon]:
    """A Redis. Whoever stops it starts it again."""
    yield from _daemon(COORDINATORS[1])


@pytest.fixture(scope="session")
def zookeeper() -> Iterator[Daemon]:
    """A ZooKeeper. Whoever stops it starts it again."""
    yield from _daemon(COORDINATORS[2])


@pytest.fixture(params=[kind.name for kind in COORDINATORS])
def coordinator(request: pytest.FixtureRequest) -> Daemon:
    """Each coordinator in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Daemon)
    return found


@pytest.fixture(params=[kind.name for kind in KINDS])
def server(request: pytest.FixtureRequest) -> Server:
    """Each server in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


@pytest.fixture(params=["sqlite", *(kind.name for kind in KINDS)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/atoll.db"
        return
    server: Server = request.getfixturevalue(request.param)
    name = f"atoll{next(_numbers)}"
    yield server.create(name)
    server.drop(name)


@pytest.fixture
def database_url(server: Server) -> Iterator[str]:
    """An empty database on each server in turn, with that server at hand."""
    name = f"atoll{next(_numbers)}"
    yield server.create(name)
    server.drop(name)


@pytest.fixture
async def relay(server: Server) -> AsyncIterator[Relay]:
    """A way to the server that can be cut."""
    async with Relay(server.port) as running:
        yield running
