"""Simulated OpenStack sites: to try Atoll without any cloud, and for every test that goes over the wire.

They answer as the services of release 2026.2 do (the contract tests hold them to it), from memory, within one
process. They must not import anything of Atoll's own wire or gateway code.
"""

from atoll.sandbox.simulated.apart import Apart
from atoll.sandbox.simulated.cloud import Cloud, run_simulated
from atoll.sandbox.simulated.faults import Fault
from atoll.sandbox.simulated.identity import Keystone
from atoll.sandbox.simulated.site import Site

__all__ = ["Apart", "Cloud", "Fault", "Keystone", "Site", "run_simulated"]
