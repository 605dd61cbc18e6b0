"""Load by wrk: keep-alive connections that ask for one server again and again."""

import re
import subprocess
from dataclasses import dataclass

from bench.backend import HEADERS

_COUNT = re.compile(r"(\d+) requests in ")
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_MEDIAN = re.compile(r"50%\s+([\d.]+)(us|ms|s)\b")
_BAD = re.compile(r"(Non-2xx or 3xx responses: \d+|Socket errors: .*)")
_MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6}
# What wrk may take beyond its own time before it is given up (seconds).
GRACE_SECONDS = 20


class LoadFailed(Exception):
    """Requests failed, or wrk did: the figure would be of something else."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run saw: requests answered, requests each second, median latency in microseconds."""

    requests: int
    rate: float
    median_us: float


def wrk(port: int, path: str, *, connections: int, seconds: float, core: int) -> Load:
    """Ask for a path for some whole seconds. Raises LoadFailed unless every answer was a good one."""
    headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    command = [
        "taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency",
        *headers, f"http://127.0.0.1:{port}{path}",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS, check=True
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise LoadFailed(f"wrk did not finish: {error}") from error
    text = done.stdout
    if (bad := _BAD.search(text)) is not None:
        raise LoadFailed(bad.group(1))
    count, rate, median = _COUNT.search(text), _RATE.search(text), _MEDIAN.search(text)
    if count is None or rate is None or median is None or count.group(1) == "0":
        raise LoadFailed(f"wrk said nothing that can be read: {text[:500]}")
    return Load(
        int(count.group(1)), float(rate.group(1)), float(median.group(1)) * _MICROSECONDS[median.group(2)]
    )
