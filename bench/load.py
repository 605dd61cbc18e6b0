"""Load by wrk: keep-alive connections that ask for one kind of thing again and again."""

import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.backend import HEADERS
from bench.processes import pinned
from bench.things import paths

_COUNT = re.compile(r"(\d+) requests in ")
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_MEDIAN = re.compile(r"50%\s+([\d.]+)(us|ms|s)\b")
_BAD = re.compile(r"(Non-2xx or 3xx responses: \d+|Socket errors: .*)")
_MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6}
# What wrk may take beyond its own time before it is given up (seconds).
GRACE_SECONDS = 20
# How long connecting and warming up, and ending, may keep a core from being busy (seconds).
EDGE_SECONDS = 0.3


def threads(connections: int, cores: Sequence[int]) -> int:
    """How many threads wrk asks with: two for a core, to get its share of one that others use."""
    return min(connections, 2 * len(cores))


class LoadFailed(Exception):
    """Requests failed, or wrk did: the figure would be of something else."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run saw: requests answered, requests each second, median latency in microseconds."""

    requests: int
    rate: float
    median_us: float


def wrk(
    port: int,
    path: str,
    *,
    connections: int,
    seconds: int,
    cores: Sequence[int],
    look: Callable[[], None] = lambda: None,
) -> Load:
    """Ask for all things of a kind by turns for some seconds; `path` is that of the first.

    `look` is called soon after the start and shortly before the end. Raises LoadFailed unless every answer
    was a good one.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_script(paths(path)))
        script.flush()
        return _run(port, script.name, connections, seconds, cores, look)


def _script(asked: Sequence[str]) -> str:
    """What wrk asks for: requests made once, sent by turns."""
    listed = ", ".join(f'"{path}"' for path in asked)
    return f"""
local requests, next = {{}}, 0
init = function(args)
    for number, path in ipairs({{{listed}}}) do requests[number] = wrk.format("GET", path) end
    math.randomseed(tonumber(tostring({{}}):sub(8)) or os.time())
    next = math.random(#requests)
end
request = function()
    next = next % #requests + 1
    return requests[next]
end
"""


def _run(
    port: int, script: str, connections: int, seconds: int, cores: Sequence[int], look: Callable[[], None]
) -> Load:
    headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    command = [
        *pinned(cores), "wrk", f"-t{threads(connections, cores)}", f"-c{connections}", f"-d{seconds}s",
        "--latency", "-s", script, *headers, f"http://127.0.0.1:{port}",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        time.sleep(EDGE_SECONDS)
        look()
        time.sleep(seconds - 2 * EDGE_SECONDS)
        look()
        try:
            text, _ = running.communicate(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired as error:
            running.kill()
            raise LoadFailed(f"wrk did not end {GRACE_SECONDS} s after its time.") from error
    if (bad := _BAD.search(text)) is not None:
        raise LoadFailed(bad.group(1))
    count, rate, median = _COUNT.search(text), _RATE.search(text), _MEDIAN.search(text)
    if count is None or rate is None or median is None or count.group(1) == "0":
        raise LoadFailed(f"wrk said nothing that can be read: {text[:500]}")
    return Load(
        int(count.group(1)), float(rate.group(1)), float(median.group(1)) * _MICROSECONDS[median.group(2)]
    )
