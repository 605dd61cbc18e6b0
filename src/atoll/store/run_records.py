"""What goes into the journal of runs and comes out of it. Times are seconds since 1970, the database's."""

from collections.abc import Mapping
from typing import Any

import msgspec

from atoll.workflow.journal import Journal, State
from atoll.workflow.plan import Plan


class Acting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """For whom a run acts, without a secret: what a worker finds the credentials by."""

    roles: tuple[str, ...] = ()
    admin: bool = False
    trust_id: str = ""
    """The Keystone trust that was made when the run was accepted; "" where none is needed."""
    request_id: str = ""
    asked: Any = ""
    """A digest of what was asked for with a key: a second request with that has to ask for the same.

    Sealed where something secret was in it, which could be guessed by it otherwise.
    """


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is to be accepted."""

    id: str
    definition: str
    project_id: str
    user_id: str
    plan: Plan
    journal: Journal
    acting: Acting = Acting()
    request_key: str | None = None
    """A second request of the project with the same key is answered with the run of the first."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A run that a worker has: what it needs to go on."""

    id: str
    definition: str
    project_id: str
    user_id: str
    fence: int
    takeovers: int
    stop: str | None
    holds: bool
    acting: Acting
    plan: Plan
    journal: Journal
    admitted: bool = True
    """It was granted what it wants; otherwise no step may be begun."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it is shown. `plan` and `journal` are read only where one run is asked for."""

    id: str
    definition: str
    project_id: str
    user_id: str
    purpose: str
    request_key: str | None
    state: State
    stop: str | None
    owner: str | None
    takeovers: int
    due_at: float | None
    waits: str
    number: int
    created_at: float
    changed_at: float
    ended_at: float | None
    progress: Mapping[str, Any]
    acting: Acting = Acting()
    plan: Plan | None = None
    journal: Journal | None = None


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run that was to be accepted."""

    id: str
    again: bool = False
    """It had been accepted before, by its key."""
    waits: str = ""
    held: bool = False
    """The worker that accepted it has it."""
    asked: Any = ""
    """`Acting.asked` of the one that had been accepted before."""


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker learns when it shows life."""

    now: float
    alive: bool
    """False: it was taken for dead, and its runs are others' by now."""
    mine: Mapping[str, str | None]
    """The runs that it has, and what somebody wants of them."""
    reaped: int
    """Runs of dead workers that are free now."""


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to do for a worker."""

    runs: bool
    dead: bool
    """Workers show no life: what they have is to be freed."""


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A worker. `lease_until`: when it is taken for dead unless it shows life."""

    id: str
    about: str
    runs: int
    began_at: float
    lease_until: float


class LockRow(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that is held, or waited for, and what for."""

    path: str
    mode: str
    run_id: str
    granted: bool
    definition: str
    purpose: str
    project_id: str
    state: State
    created_at: float


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A resource that a killed or dirty run touched: not to be worked on until it was looked at."""

    resource: str
    run_id: str
    since: float
