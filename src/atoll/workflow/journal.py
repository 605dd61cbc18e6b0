"""What is written down of a run: where each step stands, and the log of how it came there.

One document, written whole at every commit, so that there is no state between two commits. What a result or a
text says may be read by the run's project: no secrets.
"""

from enum import StrEnum
from typing import Any

import msgspec


class State(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    """Accepted; it has not begun, or waits to be taken up again."""
    RUNNING = "running"
    UNDOING = "undoing"
    PAUSED = "paused"
    PARKED = "parked"
    """Stuck in the middle: an operator has to look at it."""
    DONE = "done"
    UNDONE = "undone"
    """Nothing of it is left."""
    DIRTY = "dirty"
    """Undone but for what its residue names."""
    KILLED = "killed"
    """Closed as it stood: what it touched is suspect."""


ENDED = frozenset({State.DONE, State.UNDONE, State.DIRTY, State.KILLED})
DEAD_LETTERS = frozenset({State.PARKED, State.DIRTY, State.KILLED})
"""What an operator has to look at."""


class StepState(StrEnum):
    """Where a step stands."""

    WAITING = ""
    INTENT = "intent"
    """A try is under way, or was when its worker died."""
    AGAIN = "again"
    """A try did nothing; the next one is due at `at`."""
    UNKNOWN = "unknown"
    """Whether it was done is to be looked up, at `at`."""
    DONE = "done"
    FAILED = "failed"
    UNDOING = "undoing"
    UNDO_AGAIN = "undo_again"
    UNDONE = "undone"
    RESIDUE = "residue"
    """What it made is still there."""


class StepRecord(msgspec.Struct, omit_defaults=True):
    """Where one step stands. `at` is in database time."""

    state: StepState = StepState.WAITING
    tries: int = 0
    looks: int = 0
    undo_tries: int = 0
    at: float = 0.0
    result: Any = None
    error: str = ""
    site: str = ""
    """The site that it waits for."""
    clean: bool = False
    """It failed, and certainly made nothing."""


class Entry(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A line of the log. `step` is a place in the plan, -1 for the run itself."""

    number: int
    time: float
    what: str
    step: int = -1
    text: str = ""


class Journal(msgspec.Struct, omit_defaults=True):
    """All that changes of a run, but for who works on it."""

    steps: list[StepRecord]
    back: bool = False
    """It is being undone, because of `reason`."""
    reason: str = ""
    parked: str = ""
    """Why an operator has to look at it; nothing is begun meanwhile."""
    generation: int = 1
    """Goes up with each redo, so that what a redo makes is not taken for what was made before."""
    log: list[Entry] = []
    number: int = 0
    """Of the last entry; the log may have lost some before."""


LOG_ENTRIES = 2500
"""The newest entries that are kept of a run."""
