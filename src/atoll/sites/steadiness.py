"""Whether a service that answers now can be counted on: one that comes and goes is not, until it stayed."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

FLAPS: Final = 3
"""So often gone within `WINDOW` makes unsteady: once is a restart, twice a restart that went wrong."""
WINDOW: Final = 60.0
"""Seconds."""
CALM: Final = 60.0
"""Seconds up without a break that make steady again, doubled with each further loss up to `LONGEST_CALM`."""
LONGEST_CALM: Final = 600.0


@dataclass(slots=True)
class Steadiness:
    """Told of each loss and each return. Times are loop seconds; `since` is when it came or went last."""

    up: bool = True
    since: float = 0.0
    unsteady: bool = False
    calm: float = CALM
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=FLAPS))

    def lost(self, now: float) -> None:
        """It does not answer any more."""
        self.steady(now)  # what was long enough before counts
        self.up, self.since = False, now
        self.losses.append(now)
        if self.unsteady:
            self.calm = min(self.calm * 2, LONGEST_CALM)
        elif len(self.losses) == FLAPS and now - self.losses[0] <= WINDOW:
            self.unsteady, self.calm = True, CALM

    def back(self, now: float) -> None:
        """It answers again."""
        self.up, self.since = True, now

    def steady(self, now: float) -> bool:
        """Whether it can be counted on, also when it is away for the first time."""
        if self.unsteady and self.up and now - self.since >= self.calm:
            self.unsteady, self.calm = False, CALM
            self.losses.clear()
        return not self.unsteady

    def why(self, now: float) -> str:
        """What to say of one that is not steady."""
        wait = f"{max(0.0, self.calm - (now - self.since)):.0f} s more" if self.up else f"{self.calm:.0f} s"
        return f"it came and went {FLAPS} times within {WINDOW:.0f} s and has to stay up for {wait}"
