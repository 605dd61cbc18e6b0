"""How a process ends."""

import os
import subprocess
import sys

SCHEMAS = """
from atoll.gateway.own_openapi import document
from atoll.gateway.own_table import ROUTES
document(ROUTES, "")
"""


def test_a_process_that_has_shown_its_api_ends_without_a_fault() -> None:
    """What is freed twice is found each time where the allocator overwrites what is free."""
    environment = {**os.environ, "PYTHONMALLOC": "debug"}
    ended = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", SCHEMAS], env=environment, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
