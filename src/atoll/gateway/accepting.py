"""Accepting a run: planned, trusted, written down. What speaks against it is refused with nothing done."""

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec.structs import replace

from atoll.core.errors import BadRequest, Conflict, Forbidden
from atoll.core.ids import time_ordered
from atoll.gateway.call import Call, Caller
from atoll.gateway.definition_table import DEFINITIONS
from atoll.gateway.definitions import Definition
from atoll.gateway.parts import Parts
from atoll.services.table import RANKS
from atoll.store.run_records import Acting, NewRun
from atoll.trust.sealing import SecretsError
from atoll.workflow.machine import fresh
from atoll.workflow.outcomes import Withheld
from atoll.workflow.plan import Plan
from atoll.workflow.sealed import SEALED, carries, unders


def may_change(caller: Caller) -> None:
    """Raise `Forbidden` for those who may not start, stop or redo runs."""
    if caller.rules is not None:
        raise Forbidden("A token with access rules is not for runs: they go on after it.")
    if caller.rank < RANKS["member"]:
        raise Forbidden("Runs are started and stopped by those with the role member.")


class NoKey(Conflict):
    """Something secret would have to be written down, and there is no key to seal it."""


async def planned(parts: Parts, call: Call, title: str, given: object) -> Plan:
    """The plan that a run would have, sealed. Raises what `accept` raises for what cannot be run."""
    _may_run(call.caller)
    return await _planned(parts, call, DEFINITIONS.find(title, admin=call.caller.is_admin), given)


async def _planned(parts: Parts, call: Call, definition: Definition[Any], given: object) -> Plan:
    if any(unders(given)):
        raise BadRequest(f"{SEALED} is written by Atoll alone, where it has sealed something.")
    plan = await definition.planned(parts, call, given)
    with _keyed(definition):
        steps = [replace(step, input=parts.secrets.sealed(step.input)) for step in plan.steps]
    return replace(plan, steps=tuple(steps))


@contextmanager
def _keyed(definition: Definition[Any]) -> Iterator[None]:
    try:
        yield
    except SecretsError as error:
        raise NoKey(f"The run {definition.name} cannot be accepted: {error}.") from error


async def accept(
    parts: Parts, call: Call, title: str, given: Any, key: str | None = None, *, asked: bool = True
) -> str:
    """Have a definition (`name`, or `name@version`) run for the caller; the run's id.

    `asked`: the caller has named the definition, otherwise Atoll has. What is secret in its plan is sealed.
    Asked again with the same key the run of the first time is given. Raises `BadRequest`, `Forbidden`,
    `NotFound`, `Conflict`, `NoKey`, what the definition raises, and `StoreError`.
    """
    caller = call.caller
    _may_run(caller)
    asked_for = _digest(title, given)
    if key is not None and (before := await _before(parts, caller.project_id, key, asked_for)):
        return before
    definition = DEFINITIONS.find(title, admin=caller.is_admin)
    if definition.internal and asked:
        raise Forbidden(f"The definition {definition.name} is begun by Atoll: {definition.summary}")
    plan = await _planned(parts, call, definition, given)
    with _keyed(definition):
        kept = _kept(parts, given, asked_for) if key is not None else ""
    trust_id = await parts.delegation.make(call) if definition.as_user else ""
    run = NewRun(
        id=time_ordered(time.time_ns(), secrets.randbits(62)),
        definition=definition.title,
        project_id=caller.project_id,
        user_id=caller.user_id,
        plan=plan,
        journal=fresh(plan),
        acting=Acting(
            roles=tuple(sorted(caller.roles)),
            admin=caller.is_admin,
            trust_id=trust_id,
            request_id=call.id,
            asked=kept,
        ),
        request_key=key,
    )
    accepted = None
    try:
        accepted = await parts.worker.accept(run)
    finally:
        if accepted is None or accepted.again:
            await parts.delegation.drop(trust_id)
    if accepted.again and key is not None:
        _check_same(parts, accepted.id, accepted.asked, asked_for)
    if not accepted.again:
        call.made.append(accepted.id)
    return accepted.id


def _may_run(caller: Caller) -> None:
    may_change(caller)
    if not caller.project_id:
        raise Forbidden("This token is of no project: a run is a project's.")


def _digest(title: str, given: object) -> str:
    """What was asked for, in a few characters."""
    return hashlib.sha256(msgspec.json.encode([title, given], order="sorted")).hexdigest()[:32]


def _kept(parts: Parts, given: object, asked_for: str) -> Any:
    """The digest as it is written down: sealed where something secret could be guessed by it."""
    return parts.secrets.seal(asked_for) if carries(given) else asked_for


async def _before(parts: Parts, project_id: str, key: str, asked_for: str) -> str | None:
    """The run that was accepted with a key. Looked for first: by now it may not be what would be planned."""
    found = await parts.store.run_views.by_key(project_id, key)
    if found is None:
        return None
    run_id, first = found
    _check_same(parts, run_id, first, asked_for)
    return run_id


def _check_same(parts: Parts, run_id: str, first: Any, asked_for: str) -> None:
    """Raise `Conflict` where a run was asked for something else; `first` may be sealed."""
    try:
        same = parts.secrets.opened(first) == asked_for
    except Withheld as error:
        text = f"Run {run_id} has this key, and what it was asked for cannot be read: {error}."
        raise Conflict(text, id=run_id) from error
    if not same:
        raise Conflict(f"Run {run_id} has this key, and was asked for something else.", id=run_id)
