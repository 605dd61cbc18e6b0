"""Real OpenStack on one machine, on the loopback only: sites to try Atoll with and to test it against."""

from atoll.sandbox.real.apart import front_apart
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.functional import SUITES, Front, run_functional
from atoll.sandbox.real.layout import Layout, locate
from atoll.sandbox.real.model import Credentials
from atoll.sandbox.real.processes import ServiceStatus
from atoll.sandbox.real.sandbox import Wanted, down, status, up
from atoll.sandbox.real.servers import count_servers
from atoll.sandbox.real.tempest import Target, run_tempest

__all__ = [
    "SUITES",
    "Credentials",
    "Front",
    "Layout",
    "SandboxError",
    "ServiceStatus",
    "Target",
    "Wanted",
    "count_servers",
    "down",
    "front_apart",
    "locate",
    "run_functional",
    "run_tempest",
    "status",
    "up",
]
