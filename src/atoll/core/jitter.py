"""Chance for moments in time: so that many of a kind do not act at once.

The system's, so that processes of one origin differ and no sequence of anybody else's is changed.
"""

from random import SystemRandom
from typing import Final

JITTER: Final = SystemRandom()
