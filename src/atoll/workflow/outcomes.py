"""How a try of a step ends. An action gives its result, or raises one of these.

What is raised decides what happens next, so it has to be the truth: `Unavailable` says that nothing was done,
and what is not known to have done nothing is `Unknown`.
"""

from typing import Any

import msgspec


class Failure(Exception):
    """A try that gave no result; `str()` says why, in words that the run's owner may read."""


class Refused(Failure):
    """The site said no, nothing was done, and asking again would not help."""


class Failed(Failure):
    """It cannot be done, and a part of it was: that is for `undo`."""


class Unavailable(Failure):
    """Nothing was done this time. `after` seconds, where the site said when to come back."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class SiteAway(Failure):
    """The site does not answer; nothing was done. The run waits for it: this costs no try."""

    def __init__(self, site: str, reason: str) -> None:
        super().__init__(reason)
        self.site = site


class Withheld(Failure):
    """What the step needs to be told cannot be read: nothing was done. The run waits for an operator."""


class Unknown(Failure):
    """The answer was lost: whether it was done is to be looked up."""


class Stopped(Failure):
    """It ended early because the run is to be undone; what it has made so far is for `undo`."""


class Broken(Failure):
    """A fault of Atoll's; what was done is not known. Not tried again."""


class Done(msgspec.Struct, frozen=True):
    """What a step gave: anything that is JSON."""

    result: Any = None


class Absent(msgspec.Struct, frozen=True):
    """`verify` found that it was not done."""


Outcome = Done | Absent | Failure
