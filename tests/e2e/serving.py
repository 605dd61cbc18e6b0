"""An Atoll of a test's own, beside the one that the sandbox runs."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from atoll.sandbox.fronted import answers

READY_SECONDS = 180.0
STOP_SECONDS = 90.0


@contextmanager
def serving(
    words: list[str], listen: str, output: Path, **environment: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `atoll` with some words until the end; it is ready at `listen`, and what it says is in `output`."""
    with output.open("w") as out:
        process = subprocess.Popen(  # noqa: S603 - our own words
            [sys.executable, "-m", "atoll.cli", *words],
            env={**os.environ, **environment},
            stdout=out,
            stderr=out,
        )
    try:
        _until_ready(f"http://{listen}/readyz", process, output)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # others are to have its port
            process.wait()
            raise


def _until_ready(url: str, process: "subprocess.Popen[bytes]", output: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while True:
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < end, output.read_text()
        with suppress(OSError):
            if answers(url):
                return
        time.sleep(0.2)
