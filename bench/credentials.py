"""Credentials of many projects at very many clouds: Atoll's memory, and how many logins there are at once.

Every project asks all clouds for its servers, and goes on for a token's life: so each token is fetched once,
and renewed once or twice.
"""

import asyncio
import http.client
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.figures import filled
from bench.keystones import ident
from bench.ports import free_ports
from bench.processes import Cores, NotStarted, Process, get, load_average, running, wait_for
from bench.report import Entry

CLOUDS, PROJECTS = 1000, 10
DELAY_MS, LIFE_SECONDS = 20, 240
WAIT_SECONDS = 5.0

NAME = f"{CLOUDS:,} clouds x {PROJECTS} projects"
MEMORY = Entry(name=f"{NAME}: memory of Atoll", value=None, unit="MB", goal="< 200 MB", met=None, how="")
AT_ONCE = Entry(name=f"{NAME}: most renewals at once", value=None, unit="", goal="<= 8", met=None, how="")
ENTRIES = (MEMORY, AT_ONCE)


@dataclass(slots=True)
class Counted:
    """What the Keystones were asked."""

    logins: int
    most: int


def measure(folder: Path, cores: Cores) -> list[Entry]:
    """Both figures. Raises NotStarted and OSError."""
    os.sched_setaffinity(0, cores.rest)
    with _setup(folder, cores) as (atoll, port, keystones):
        idle = atoll.resident_mb()
        began = time.monotonic()
        for project in range(PROJECTS):
            _ask_until_whole(port, project)
        fetched, took = _counted(keystones), time.monotonic() - began
        largest = atoll.resident_mb()
        renewed = Counted(0, 0)
        while time.monotonic() - began < took + LIFE_SECONDS:
            for project in range(PROJECTS):
                _ask(port, project)
            largest = max(largest, atoll.resident_mb())
            more = _counted(keystones)
            renewed = Counted(renewed.logins + more.logins, max(renewed.most, more.most))
            time.sleep(WAIT_SECONDS)
    print(
        f"\n{NAME}: {idle:.0f} MB at the start, {largest:.0f} MB at most; {fetched.logins:,} logins "
        f"on demand in {took:.0f} s, {fetched.most} at once at most; "
        f"{renewed.logins:,} renewals in {LIFE_SECONDS} s, {renewed.most} at once at most."
    )
    how = f"tokens of {LIFE_SECONDS} s, each login {DELAY_MS} ms at its Keystone; {load_average()}"
    return [
        filled(MEMORY, largest, f"VmRSS, largest, {idle:.0f} MB before any login; {how}", limit=200.0),
        filled(
            AT_ONCE,
            max(fetched.most, renewed.most),
            f"{renewed.logins:,} renewals counted there; {how}",
            limit=8,
        ),
    ]


@contextmanager
def _setup(folder: Path, cores: Cores) -> Iterator[tuple[Process, int, int]]:
    port, keystones = free_ports(2)
    configuration = _configured(folder, port, keystones)
    asyncio.run(_filled(folder))
    command = [sys.executable, "-m", "bench.keystones", str(keystones), str(DELAY_MS), str(LIFE_SECONDS)]
    with running(command, cores=cores.rest[:1], log=folder / "keystones.log") as clouds:
        wait_for(clouds, lambda: get(keystones, "/counted"))
        serve = [sys.executable, "-m", "atoll.cli", "serve", "-c", str(configuration)]
        with running(serve, cores=[cores.measured], log=folder / "atoll.log") as atoll:
            wait_for(atoll, lambda: get(port, "/healthz"))
            yield atoll, port, keystones


def _configured(folder: Path, port: int, keystones: int) -> Path:
    key, file = folder / "key", folder / "atoll.toml"
    from atoll.trust.sealing import new_key  # noqa: PLC0415 - only this figure needs Atoll itself

    key.touch(mode=0o600)
    key.write_text(new_key())
    text = f"""
[gateway]
listen = "127.0.0.1:{port}"
access_log = "none"
[identity]
auth_url = "http://127.0.0.1:{keystones}/v3"
[secrets]
key = "file:{key}"
[store]
url = "sqlite:///{folder / "atoll.db"}"
"""
    for number in range(1, CLOUDS + 1):
        base = f"http://127.0.0.1:{keystones}/{number}"
        text += f"""
[clouds.c{number}]
auth_url = "{base}/v3"
[sites.s{number}]
region = "r"
cloud = "c{number}"
endpoints = {{compute = "{base}/v2.1"}}
"""
    file.write_text(text)
    return file


async def _filled(folder: Path) -> None:
    """Put the credentials into the store, as if they had been added."""
    from atoll.store import Ledger, open_store  # noqa: PLC0415
    from atoll.trust.records import CredentialRecord, credential_id  # noqa: PLC0415
    from atoll.trust.sealing import Sealer  # noqa: PLC0415

    sealer = Sealer([(folder / "key").read_text()])
    records = []
    for cloud in range(1, CLOUDS + 1):
        for project in range(PROJECTS):
            auth = {"username": f"{project}", "password": "secret", "project_name": f"{project}"}
            auth |= {"user_domain_id": "default", "project_domain_id": "default"}
            sealed, under = sealer.seal({"auth_type": "password", "auth": auth})
            ours = ident("project", project)
            records.append(
                CredentialRecord(
                    id=credential_id(f"c{cloud}", ours, admin=False), cloud=f"c{cloud}", project_id=ours,
                    auth_type="password", sealed=sealed, sealed_under=under, owner=ident("user", project),
                    site_project_id=ident("project", project, cloud),
                    site_user_id=ident("user", project, cloud), site_domain_id="default",
                )
            )  # fmt: skip

    def put(ledger: Ledger) -> None:
        for one in records:
            ledger.put(one)

    store = await open_store(f"sqlite:///{folder / 'atoll.db'}")
    try:
        await store.intent.change(put)
    finally:
        await store.close()


def _ask(port: int, project: int) -> tuple[int, bytes, str]:
    """(status, body, the sites that are missing) of a project's servers at all sites."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        token = {"X-Auth-Token": f"project-{project}"}
        connection.request("GET", "/compute/v2.1/servers/detail", headers=token)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("x-atoll-missing-sites", "")
    finally:
        connection.close()


def _ask_until_whole(port: int, project: int) -> None:
    """Ask for a project's servers until every cloud was logged in at. Raises NotStarted."""
    for _ in range(20):
        status, body, missing = _ask(port, project)
        if status == 200 and not missing:
            return
    raise NotStarted(f"after 20 lists there are sites missing: {status} {body[:200]!r} {missing[:200]}")


def _counted(keystones: int) -> Counted:
    found = json.loads(get(keystones, "/counted")[1])
    return Counted(found["logins"], found["most"])
