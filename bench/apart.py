"""Simulated clouds that share nothing, each a Keystone and a site that answer after a fixed delay.

    python -m bench.apart FOLDER CLOUDS DELAY-MS SERVERS

Writes FOLDER/clouds.yaml with the entries c1, c2, … once they answer; `SERVERS` are at each.
"""

import asyncio
import sys
from pathlib import Path

import uvloop
import yaml

from atoll.sandbox.simulated import Cloud
from atoll.sandbox.simulated.faults import Fault


async def run(folder: Path, clouds: int, delay: float, servers: int) -> None:
    """Serve until stopped."""
    async with Cloud([f"c{number}" for number in range(1, clouds + 1)], shared=False) as cloud:
        cloud.bulk(servers * clouds)
        written = cloud.clouds_yaml()["clouds"]
        entries = {name.replace("simulated", "c1"): one for name, one in written.items() if "-" not in name}
        for listener in (*cloud.keystones, *cloud.sites):
            listener.faults.add(Fault("latency", seconds=delay))
        partial = folder / "clouds.partial"
        partial.write_text(yaml.safe_dump({"clouds": entries}))
        partial.rename(folder / "clouds.yaml")
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(run(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000, int(sys.argv[4])))
