"""`python -m atoll.sandbox.simulated SITES PORT STATE`: simulated sites until SIGTERM."""

import sys
from pathlib import Path

from atoll.sandbox.simulated.cloud import run_simulated

run_simulated(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
