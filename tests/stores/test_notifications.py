"""Notifications of runs on a RabbitMQ, heard by oslo.messaging's own listener."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from oslo_config import cfg
from tests.conftest import StartAtoll
from tests.origin import Exchange, Origin
from tests.running import sites_of, until
from tests.scenarios.conftest import client_of
from tests.scenarios.probes import RUNS, comes_to, started
from tests.stores.daemons import PASSWORD, Daemon

from atoll.gateway import run_notifications
from atoll.gateway.run_notifications import Notifications, library
from atoll.sandbox.simulated import Cloud
from atoll.store.run_outbox import Line, News
from atoll.worker.relay import Untold
from atoll.workflow.journal import State

messaging = library()

BACK_SECONDS = 20.0
"""Until what a broker missed is sent again, at most."""


# What a lost connection leaves is oslo.messaging's to close.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def _left_open() -> Iterator[None]:
    """Have what was left open closed while the warnings of it are passed over."""
    yield
    gc.collect()


class Heard(NamedTuple):
    """A notification."""

    publisher_id: str
    event_type: str
    payload: Any
    message_id: str


class _Endpoint:
    def __init__(self) -> None:
        self.heard: list[Heard] = []

    def info(self, ctxt: Any, publisher_id: str, event_type: str, payload: Any, metadata: Any) -> None:
        """As a listener of any service is told."""
        del ctxt
        self.heard.append(Heard(publisher_id, event_type, payload, metadata["message_id"]))


@contextlib.contextmanager
def listening(url: str, topic: str) -> Iterator[list[Heard]]:
    """What is heard of a topic, of what came before too."""
    conf = cfg.ConfigOpts()
    conf([], project="test", default_config_files=[], default_config_dirs=[])
    transport = messaging.get_notification_transport(conf, url=url)
    endpoint = _Endpoint()
    targets = [messaging.Target(topic=topic)]
    listener = messaging.get_notification_listener(transport, targets, [endpoint], executor="threading")
    listener.start()
    try:
        yield endpoint.heard
    finally:
        listener.stop()
        listener.wait()
        transport.cleanup()


@pytest.fixture
def url_file(rabbitmq: Daemon, tmp_path: Path) -> str:
    """The broker's URL, as a configuration refers to it."""
    file = tmp_path / "transport"
    file.write_text(f"{rabbitmq.url}\n")
    return f"file:{file}"


def news(*numbers: int) -> News:
    """Lines of a run."""
    lines = [Line(number=one, time=1_800_000_000.5, what="done") for one in numbers]
    return News(run_id="r", definition="d@1", project_id="p", state=State.DONE, lines=lines, upto=numbers[-1])


async def test_each_line_of_a_run_is_a_notification_in_its_order(
    start_atoll: StartAtoll, cloud: Cloud, rabbitmq: Daemon, url_file: str
) -> None:
    runs = {"transport_url": url_file, "notification_topics": ["lines"]}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"), runs=runs)
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        run = await comes_to(admin, (await started(admin, steps=3))["id"], "done")
        log = (await admin.get(f"{RUNS}/{run['id']}/log")).json()["log"]
    with listening(rabbitmq.url, "lines") as heard:
        await until(lambda: len(heard) >= len(log), BACK_SECONDS)
    told = ("number", "at", "what", "step", "text")
    assert [{key: one.payload[key] for key in told} for one in heard] == [
        {key: one[key] for key in told} for one in log
    ]
    assert [one.event_type for one in heard] == [f"run.{one['what']}" for one in log]
    assert {one.publisher_id for one in heard} == {f"atoll.{socket.gethostname()}"}
    assert len({one.message_id for one in heard}) == len(log)
    of_run = ("run_id", "definition", "project_id")
    assert {tuple(one.payload[key] for key in of_run) for one in heard} == {
        (run["id"], run["definition"], run["project_id"])
    }
    assert heard[-1].payload["state"] == "done"


async def _another(admin: Any, logs: dict[str, int]) -> bytes:
    """The id of one more run that was done; how many lines it has is put down."""
    run = await comes_to(admin, (await started(admin, steps=2))["id"], "done")
    logs[run["id"]] = len((await admin.get(f"{RUNS}/{run['id']}/log")).json()["log"])
    return str(run["id"]).encode()


async def test_a_broker_that_is_away_holds_up_no_webhook_and_is_told_all_once_it_is_back(
    start_atoll: StartAtoll, cloud: Cloud, rabbitmq: Daemon, url_file: str, log_lines: list[Any]
) -> None:
    hooked: list[bytes] = []

    async def hook(exchange: Exchange) -> None:
        hooked.append(await exchange.body())
        await exchange.answer(202)

    def unsent() -> list[Any]:
        return [one for one in log_lines if one["event"] == "run_events_not_taken"]

    async with Origin(hook) as origin:
        runs = {"transport_url": url_file, "notification_topics": ["away"], "webhooks": [origin.url]}
        atoll = await start_atoll(
            *(cloud.keystone.auth_url, sites_of(cloud, "site1")),
            runs=runs,
            limits={"private_addresses": True},
        )
        async with client_of(atoll, cloud.keystone.token("admin")) as admin:
            logs: dict[str, int] = {}
            first = await _another(admin, logs)
            await until(lambda: first in b"".join(hooked), BACK_SECONDS)
            await asyncio.to_thread(rabbitmq.stop)
            try:
                second = await _another(admin, logs)
                await until(lambda: second in b"".join(hooked), BACK_SECONDS)  # meanwhile
                await until(unsent, BACK_SECONDS)
            finally:
                rabbitmq.begin()
                await asyncio.to_thread(rabbitmq.wait)
            await _another(admin, logs)
        with listening(rabbitmq.url, "away") as heard:
            await until(lambda: len({one.message_id for one in heard}) == sum(logs.values()), BACK_SECONDS)
        for run_id, lines in logs.items():
            firsts = dict.fromkeys(one.payload["number"] for one in heard if one.payload["run_id"] == run_id)
            assert list(firsts) == list(range(1, lines + 1)), run_id
        assert {one["receiver"] for one in unsent()} == {"oslo.messaging"}
        assert PASSWORD not in str(log_lines)


async def test_a_broker_that_stands_still_is_not_waited_for_for_ever(rabbitmq: Daemon, monkeypatch) -> None:
    monkeypatch.setattr(run_notifications, "SEND_SECONDS", 1.0)
    url = f"{rabbitmq.url}&heartbeat_timeout_threshold=1"
    bus = Notifications(lambda: url, ("still",))
    await bus.tell([news(1)])
    rabbitmq.freeze()
    try:
        with pytest.raises(Untold, match=r"more than 1 s|Timeout|timed out"):
            await bus.tell([news(2, 3)])
    finally:
        rabbitmq.thaw()
    async with asyncio.timeout(BACK_SECONDS):
        while True:
            with contextlib.suppress(Untold):
                await bus.tell([news(2, 3)])
                break
            await asyncio.sleep(0.1)
    with listening(rabbitmq.url, "still") as heard:
        await until(lambda: {one.payload["number"] for one in heard} == {1, 2, 3}, BACK_SECONDS)
    await bus.close()


async def test_a_login_that_the_broker_refuses_is_said_without_the_password(rabbitmq: Daemon) -> None:
    url = f"rabbit://atoll:hush@127.0.0.1:{rabbitmq.port}/"
    bus = Notifications(lambda: url, ("refused",))
    with pytest.raises(Untold, match="ACCESS_REFUSED") as told:
        await bus.tell([news(1)])
    assert "hush" not in str(told.value)
    await bus.close()
