"""`python -m atoll.sandbox.simulated SITES|apart PORT STATE`: simulated sites until SIGTERM."""

import sys
from pathlib import Path

from atoll.sandbox.simulated.apart import Apart
from atoll.sandbox.simulated.cloud import Cloud, run_simulated

_, sites, port, state = sys.argv
run_simulated(Apart() if sites == "apart" else Cloud(int(sites)), int(port), Path(state))
