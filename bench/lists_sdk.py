"""A peer: the first page of all servers without Atoll, by a loop over regions with openstacksdk.

    python -m bench.lists_sdk PORTS-FILE PAGE

Which region has the newest nobody knows, so each is asked for a whole page. To the loop's advantage the token
and each region's endpoint are given, and the servers stay plain JSON: made into the SDK's objects, a thousand
take two seconds more for each region.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token
from openstack.connection import Connection

from bench.backend import TOKEN


def first_page(ports: list[int], page: int) -> list[str]:
    """The ids of the newest servers of all regions."""
    found: list[Any] = []
    for port in ports:
        session = Session(auth=Token(f"http://127.0.0.1:{port}/v2.1", TOKEN))
        region = Connection(session=session, compute_api_version="2")
        found += region.compute.get("/servers/detail", params={"limit": page}).json()["servers"]
    found.sort(key=lambda server: server["created"], reverse=True)
    return [server["id"] for server in found[:page]]


def main() -> None:
    """Print milliseconds of time and of CPU as JSON."""
    ports: list[int] = json.loads(Path(sys.argv[1]).read_text())
    begin, cpu = time.perf_counter(), time.process_time()
    count = len(first_page(ports, int(sys.argv[2])))
    took, spent = time.perf_counter() - begin, time.process_time() - cpu
    print(json.dumps({"ms": took * 1e3, "cpu_ms": spent * 1e3, "count": count}))


if __name__ == "__main__":
    main()
