"""What tests have: no network in `unit`, only 127.0.0.1 elsewhere, and a gateway to talk to.

A gateway with its sites takes about 20 ms to start, so each test has its own and leaves nothing behind.
"""

import asyncio
import gc
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
from pytest_socket import disable_socket, socket_allow_hosts
from tests.running import ELSEWHERE, Atoll, Settings, atoll_before, sites_of

from atoll.sandbox.simulated import Cloud
from atoll.store import open_store

# The same examples each time: a change is judged by what it does. `--hypothesis-profile search` goes further.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("same")

pytest.register_assert_rewrite(
    *(
        f"tests.stores.{one}"
        for one in ("alias_contract", "contract", "recovery_contract", "run_view_contract", "sealed_contract")
    )
)

# As a gateway's process has it.
GC_THRESHOLD = 20_000
# httpcore asks for it at every lock and every connection, to do without it: not to search the disk each time.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type] # an import of what is None raises ImportError

HERE = Path(__file__).parent

StartAtoll = Callable[..., Awaitable[Atoll]]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Sockets as far as the kind of test may have them; pytest-socket lifts this after each test."""
    kind = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
    if kind == "unit":
        disable_socket(allow_unix_socket=True)  # the event loop wakes itself through a pair of those
    elif kind in {"wire", "scenarios", "stores"}:
        socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)


def pytest_collection_finish() -> None:
    """Keep the collector from going through what was imported, again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables made, to be copied: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("database") / "empty.db"

    async def make() -> None:
        await (await open_store(f"sqlite:///{path}")).close()

    asyncio.run(make())
    return path


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Path:
    """A database of the test's own."""
    return Path(shutil.copy(empty_database, tmp_path / "atoll.db"))


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Commands that a test runs in its own process set logging up for themselves."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def log_lines() -> Iterator[list[Any]]:
    """The events that are logged in the test, in order."""
    with structlog.testing.capture_logs(processors=[_of_this_test]) as lines:
        yield lines


def _of_this_test(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """What a gateway says that serves many tests, in a thread of its own, is of none of them."""
    if threading.current_thread().name == ELSEWHERE:
        raise structlog.DropEvent
    return event


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    """Three sites that share a Keystone: site1, site2, site3."""
    async with Cloud(3) as running:
        yield running
        listeners = [running.keystone.listener, *(site.listener for site in running.sites)]
        assert [error for one in listeners for error in one.server.errors] == []


@pytest.fixture
async def start_atoll(database: Path, log_lines: list[Any]) -> AsyncIterator[StartAtoll]:
    """Start gateways: called with auth_url, sites and tables of settings; ended with the test."""
    async with AsyncExitStack() as stack:

        async def start(auth_url: str, sites: Settings, **tables: Settings) -> Atoll:
            return await stack.enter_async_context(atoll_before(auth_url, sites, database, tables))

        yield start
    failed = [line for line in log_lines if line["event"] == "request_failed"]
    assert failed == [], "a bug of the gateway's: an error that is no AtollError"


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway in front of the three sites, whose versions are known to it."""
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    await running.settled()
    return running
