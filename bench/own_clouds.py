"""`atoll serve --clouds` from nothing to the first useful answer, beside a loop with openstacksdk.

Ten clouds with a Keystone each, every answer of theirs after a tenth of a second. Useful is an answer that
has what all of them have: servers, images and networks, with none missing.
"""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from bench.figures import filled
from bench.measure import spread
from bench.ports import free_port
from bench.processes import Cores, NotStarted, Process, load_average, pinned, running
from bench.report import Entry

CLOUDS, DELAY_MS, SERVERS = 10, 100, 20
ROUNDS = 3
WAIT_SECONDS = 30.0
POLL_SECONDS = 0.02
LISTS = {
    "servers": "/compute/v2.1/servers/detail",
    "images": "/image/v2/images",
    "networks": "/network/v2.0/networks",
}
ENTRY = "atoll-bench"

FIRST = Entry(
    name=f"`serve --clouds`, {CLOUDS} clouds at {DELAY_MS} ms: first useful answer",
    value=None, unit="s", goal="< 3 s", met=None, how="",
)  # fmt: skip
LOOP = Entry(
    name="the same, beside a loop with openstacksdk",
    value=None,
    unit="s",
    goal="< the loop",
    met=None,
    how="",
)
ENTRIES = (FIRST, LOOP)


def measure(folder: Path, cores: Cores) -> list[Entry]:
    """Both figures. Raises NotStarted, OSError, SubprocessError."""
    names = ",".join(f"c{number}" for number in range(1, CLOUDS + 1))
    os.sched_setaffinity(0, cores.rest)
    with _clouds(folder, cores) as env:
        first = [_atoll(folder / f"state-{number}", names, env, cores) for number in range(ROUNDS)]
        again = _atoll(folder / "state-0", names, env, cores)
        loops = [_loop(names, env, cores) for _ in range(ROUNDS)]
    worst, peer = [max(one.values()) for one in first], median(loops)
    parts = "; ".join(f"{what} {spread([one[what] for one in first])}" for what in first[0])
    print(
        f"\n{CLOUDS} clouds at {DELAY_MS} ms, from the start of the process, in seconds: {parts}; "
        f"started again {max(again.values()):.2f}; a loop with openstacksdk {spread(loops)}."
    )
    how = (
        f"from exec to a token and lists of servers, images and networks that have what all {CLOUDS} clouds "
        f"have, {ROUNDS} starts with empty state on one core, warm page cache; {parts}; started again "
        f"{max(again.values()):.2f}; {load_average()}"
    )
    value = median(worst)
    loop = f"exec to the end of a loop: connect and list servers, cloud by cloud, {spread(loops)} s; {how}"
    return [
        filled(FIRST, value, how, limit=3.0),
        filled(LOOP, value, loop, limit=1.0, peer=peer, ratio=value / peer),
    ]


@contextmanager
def _clouds(folder: Path, cores: Cores) -> Iterator[Mapping[str, str]]:
    """The clouds, and the environment of a person who has them in a clouds.yaml."""
    file = folder / "clouds.yaml"
    command = [sys.executable, "-m", "bench.apart", str(folder), str(CLOUDS), str(DELAY_MS), str(SERVERS)]
    with running(command, cores=cores.rest[:1], log=folder / "clouds.log") as clouds:
        while not file.exists():
            if time.perf_counter() - clouds.born > WAIT_SECONDS:
                raise NotStarted(f"The clouds did not start: {clouds.log.read_text()[-1000:]}")
            time.sleep(POLL_SECONDS)
        yield {"OS_CLIENT_CONFIG_FILE": str(file), "HOME": str(folder)}


def _atoll(state: Path, names: str, env: Mapping[str, str], cores: Cores) -> dict[str, float]:
    """Seconds from the start to the first whole list of each kind."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "atoll.cli", "serve", "--clouds", names, "--listen", f"127.0.0.1:{port}"),
        *("--entry", f"{ENTRY}-{port}", "--state", str(state)),
    ]
    with running(command, cores=[cores.measured], log=state.with_suffix(".log"), env=env) as atoll:
        token = _token(atoll, port, Path(env["OS_CLIENT_CONFIG_FILE"]), f"{ENTRY}-{port}")
        return {what: _whole(atoll, port, token, what) for what in LISTS}


def _token(atoll: Process, port: int, clouds: Path, entry: str) -> str:
    """Log in as the written entry says, as soon as that works."""
    while f"{entry}:" not in clouds.read_text():
        _wait(atoll, f"no entry {entry} was written")
    while True:
        try:
            auth = yaml.safe_load(clouds.read_text())["clouds"][entry]["auth"]
            return _log_in(port, auth)
        except (OSError, http.client.HTTPException) as error:
            _wait(atoll, str(error))


def _log_in(port: int, auth: Mapping[str, str]) -> str:
    domain = {"domain": {"id": "default"}}
    user = {"name": auth["username"], "password": auth["password"], **domain}
    asked: dict[str, Any] = {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": auth["project_name"], **domain}},
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
    try:
        connection.request(
            "POST", "/identity/v3/auth/tokens", json.dumps({"auth": asked}),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        return connection.getresponse().headers["X-Subject-Token"]
    finally:
        connection.close()


def _whole(atoll: Process, port: int, token: str, what: str) -> float:
    """Seconds from the start until a list has what all clouds have."""
    least = CLOUDS * SERVERS if what == "servers" else CLOUDS
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
        try:
            connection.request("GET", LISTS[what], headers={"X-Auth-Token": token})
            answer = connection.getresponse()
            text, missing = answer.read(), answer.getheader("X-Atoll-Missing-Sites")
            took = time.perf_counter() - atoll.born
        finally:
            connection.close()
        if (
            answer.status == 200
            and not missing
            and (what == "images" or len(json.loads(text)[what]) >= least)
        ):
            return took
        _wait(atoll, f"{what}: {answer.status}, missing {missing}, {text[:300]!r}")


def _wait(atoll: Process, why: str) -> None:
    if time.perf_counter() - atoll.born > WAIT_SECONDS:
        raise NotStarted(f"No useful answer: {why}\n{atoll.log.read_text(errors='replace')[-2000:]}")
    time.sleep(POLL_SECONDS)


def _loop(names: str, env: Mapping[str, str], cores: Cores) -> float:
    """Seconds of a loop over the clouds."""
    begin = time.perf_counter()
    done = subprocess.run(
        [*pinned([cores.measured]), sys.executable, "-m", "bench.own_clouds_sdk", names],
        capture_output=True, text=True, timeout=10 * WAIT_SECONDS, check=False,
        env={"PATH": "/usr/bin:/bin", **env},
    )  # fmt: skip
    took = time.perf_counter() - begin
    if done.returncode or int(done.stdout) != CLOUDS * SERVERS:
        raise NotStarted(f"The loop over clouds: {done.stdout} {done.stderr[-1000:]}")
    return took
