"""Webhooks that are told of runs, by a gateway in front of sites."""

import asyncio
import hashlib
import hmac
import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from tests.certificates import Authority
from tests.conftest import StartAtoll
from tests.origin import Exchange, Origin
from tests.running import sites_of, until
from tests.scenarios.conftest import client_of
from tests.scenarios.probes import RUNS, comes_to, started

from atoll.gateway import webhook
from atoll.sandbox.simulated import Cloud

PRIVATE = {"private_addresses": True}  # the webhooks are on this machine
ALL_SENT = "SELECT 1 FROM runs WHERE sent = number AND unsent IS NULL"
SECRET = {"webhook_secret": "env:ATOLL_TEST_SECRET"}


class Hook:
    """A receiver that answers with some statuses first, and then takes everything."""

    def __init__(self, *refusals: int) -> None:
        self.refusals = list(refusals)
        self.taken: list[dict[str, Any]] = []
        self.signed: list[bool] = []

    async def __call__(self, exchange: Exchange) -> None:
        body = await exchange.body()
        if self.refusals:
            await exchange.answer(self.refusals.pop(0), b"no")
            return
        expected = "sha256=" + hmac.new(b"hush", body, hashlib.sha256).hexdigest()
        self.signed.append(exchange.head.header(b"x-atoll-signature") == expected.encode())
        self.taken += json.loads(body)
        await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await exchange.answer(202)


async def test_a_webhook_that_fails_first_is_told_the_whole_log_once(
    start_atoll: StartAtoll, cloud: Cloud
) -> None:
    hook = Hook(500)
    async with Origin(hook) as origin:
        runs = {"webhooks": [f"{origin.url}/runs?x=1"], **SECRET}
        atoll = await start_atoll(
            cloud.keystone.auth_url, sites_of(cloud, "site1"), runs=runs, limits=PRIVATE
        )
        async with client_of(atoll, cloud.keystone.token("admin")) as admin:
            run = await comes_to(admin, (await started(admin, steps=2))["id"], "done")
            log = (await admin.get(f"{RUNS}/{run['id']}/log")).json()["log"]
            await until(lambda: len(hook.taken) >= len(log))
        assert [(one["number"], one["at"], one["what"], one["step"], one["text"]) for one in hook.taken] == [
            (one["number"], one["at"], one["what"], one["step"], one["text"]) for one in log
        ]
        last = hook.taken[-1]
        assert (last["run_id"], last["definition"], last["state"]) == (run["id"], run["definition"], "done")
        assert last["project_id"] == run["project_id"]
        assert hook.signed
        assert all(hook.signed)
        assert {one.target for one in origin.seen} == {b"/runs?x=1"}
        with closing(sqlite3.connect(atoll.database)) as database:
            await until(lambda: database.execute(ALL_SENT).fetchone())


async def test_what_was_not_told_is_told_by_the_next_process(start_atoll: StartAtoll, cloud: Cloud) -> None:
    hook = Hook(*[503] * 1000)
    async with Origin(hook) as origin:
        runs = {"webhooks": [origin.url]}
        sites = sites_of(cloud, "site1")
        atoll = await start_atoll(cloud.keystone.auth_url, sites, runs=runs, limits=PRIVATE)
        async with client_of(atoll, cloud.keystone.token("admin")) as admin:
            run = await comes_to(admin, (await started(admin))["id"], "done")
        await atoll.end()
        assert hook.taken == []
        hook.refusals.clear()
        await start_atoll(cloud.keystone.auth_url, sites, runs=runs, limits=PRIVATE)
        await until(lambda: hook.taken)
    assert {one["run_id"] for one in hook.taken} == {run["id"]}
    assert [one["number"] for one in hook.taken] == list(range(1, len(hook.taken) + 1))


async def test_a_webhook_at_a_private_address_is_not_gone_to(
    start_atoll: StartAtoll, cloud: Cloud, log_lines: list[Any]
) -> None:
    async with Origin() as origin:
        runs = {"webhooks": [origin.url]}
        atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"), runs=runs)
        async with client_of(atoll, cloud.keystone.token("admin")) as admin:
            await comes_to(admin, (await started(admin))["id"], "done")
        failed = "run_events_not_taken"
        await until(lambda: any(one["event"] == failed for one in log_lines))
        (reason, *_) = [one["reason"] for one in log_lines if one["event"] == failed]
        assert reason == "127.0.0.1 is 127.0.0.1: not an address of the public net."
        assert origin.accepted == 0


async def test_an_endless_or_silent_answer_is_not_waited_for(monkeypatch) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await exchange.send(b"x" * 65536)

    async def trickling(exchange: Exchange) -> None:
        await exchange.body()
        while True:
            await exchange.send(b"H")
            await asyncio.sleep(0.01)

    async def garbage(exchange: Exchange) -> None:
        await exchange.send(b"220 mail.example ESMTP\r\n")

    said = []
    for script in (endless, trickling, garbage):
        monkeypatch.setattr(webhook, "ANSWER_SECONDS", 0.3 if script is trickling else 30.0)
        async with Origin(script) as origin:
            try:
                await webhook.Webhook(origin.url, private=True).post(b"[]")
            except (OSError, ValueError) as error:
                said.append(str(error))
            else:
                said.append("taken")
    assert said == ["taken", "it took more than 0.3 s", "it gave no HTTP answer"]


async def test_whose_certificate_is_not_what_it_is_called_is_told_nothing(tmp_path, monkeypatch) -> None:
    authority = Authority(tmp_path)
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"[1]"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server())
    async with server:
        port = server.sockets[0].getsockname()[1]
        hook = webhook.Webhook(f"https://127.0.0.1:{port}/in", private=True)
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await hook.post(b"[1]")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        with pytest.raises(OSError, match=r"not valid for '127\.1'"):
            await webhook.Webhook(f"https://127.1:{port}/in", private=True).post(b"[1]")
        assert heard == []
        await webhook.Webhook(f"https://127.0.0.1:{port}/in", private=True).post(b"[1]")
    assert heard[0].startswith(b"POST /in HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port)


async def test_two_gateways_tell_each_line_once(start_atoll: StartAtoll, cloud: Cloud) -> None:
    hook = Hook()
    logs = 0
    async with Origin(hook) as origin:
        runs = {"webhooks": [origin.url]}
        sites = sites_of(cloud, "site1")
        for _ in range(2):
            atoll = await start_atoll(cloud.keystone.auth_url, sites, runs=runs, limits=PRIVATE)
            async with client_of(atoll, cloud.keystone.token("admin")) as admin:
                run = await comes_to(admin, (await started(admin, steps=3))["id"], "done")
                logs += len((await admin.get(f"{RUNS}/{run['id']}/log")).json()["log"])
        await until(lambda: len(hook.taken) >= logs)
    assert len({(one["run_id"], one["number"]) for one in hook.taken}) == len(hook.taken) == logs
