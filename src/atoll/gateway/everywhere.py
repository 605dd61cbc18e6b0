"""One change at several sites: carried out at all of them, or undone where it was, or told where it stands.

The first site alone goes first: what it refuses, nobody did. What a site did although its answer was lost is
looked for; what cannot be undone is in the fault, site by site. Must not know what is changed: that is in the
`Change`s it is given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from atoll.core.errors import AtollError, BadSiteAnswer, Conflict, SiteTimeout, SiteUnavailable
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.fanout import scatter
from atoll.gateway.forward import SiteAnswer, said
from atoll.gateway.parts import Parts
from atoll.sites.site import Site

log = structlog.get_logger()

# Undoing has time of its own: it begins when the time of the request may be over (seconds).
UNDO_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A request that takes something back; each of `bodies` is tried until one is taken.

    `restored` are the refusals which say that there is nothing to take back.
    """

    method: bytes
    target: bytes
    bodies: tuple[bytes | None, ...] = (None,)
    restored: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be done at one site. `target` is path and query below the endpoint's root.

    `fine` are refusals which say that it is as wanted already. `undo` None: it cannot be taken back. `look`
    and `shows` find out whether it was done, where the answer was lost. `versioned`: both are asked in the
    version of the call.
    """

    site: Site
    method: bytes
    target: bytes
    body: bytes | None = None
    fine: frozenset[int] = frozenset()
    undo: tuple[Step, ...] | None = None
    versioned: bool = True
    look: bytes | None = None
    shows: Callable[[bytes], bool] = bytes.isspace


@dataclass(slots=True)
class _Course:
    """How far it has come: by site name."""

    done: dict[str, SiteAnswer] = field(default_factory=dict)
    already: dict[str, SiteAnswer] = field(default_factory=dict)
    refused: dict[str, SiteAnswer] = field(default_factory=dict)
    away: dict[str, AtollError] = field(default_factory=dict)
    lost: dict[str, AtollError] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return bool(self.refused or self.away or self.lost)


class Everywhere:
    """Carries changes out."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def carry_out(self, call: Call, what: str, changes: Sequence[Change]) -> dict[str, SiteAnswer]:
        """Make the changes at all sites; the answers by site.

        When one refuses and the rest is undone, its refusal is the only answer. `what` names the change in
        messages. Raises SiteUnavailable, SiteTimeout when one did not answer and the rest is undone, Conflict
        naming the sites when something could not be undone.
        """
        course = _Course()
        await self._go(call, changes[:1], course)
        if len(changes) > 1 and not course.failed:
            await self._go(call, changes[1:], course)
        if not course.failed:
            if course.done:
                return {**course.done, **course.already}
            return course.already
        remaining = await self._undo(call, changes, course)
        return self._told(call, what, course, remaining)

    async def _go(self, call: Call, changes: Sequence[Change], course: _Course) -> None:
        gathered = await scatter({one.site.name: self._ask(call, one) for one in changes})
        for one in changes:
            name = one.site.name
            answer, error = gathered.answered.get(name), gathered.failed.get(name)
            if isinstance(error, SiteUnavailable):
                course.away[name] = error
            elif answer is None or (answer.status < 300 and garbled(answer)):
                seen = await self._look(call, one)
                if seen is not None:
                    course.done[name] = seen
                else:
                    course.lost[name] = error or BadSiteAnswer(
                        f"The site {name} answered what is not JSON.", site=name
                    )
            elif answer.status < 300:
                course.done[name] = answer
            elif answer.status in one.fine:
                course.already[name] = answer
            else:
                course.refused[name] = answer

    async def _ask(self, call: Call, change: Change) -> SiteAnswer:
        endpoint = self._parts.endpoint(change.site, call)
        return await self._parts.forward.ask(call, endpoint, change.method, change.target, body=change.body)

    async def _look(self, call: Call, change: Change) -> SiteAnswer | None:
        """What the site shows, if it shows that the change was done."""
        if change.look is None:
            return None
        parts = self._parts
        aside = call.aside(parts.forward.now() + UNDO_SECONDS, versioned=change.versioned)
        try:
            seen = await parts.forward.ask(
                aside, parts.endpoint(change.site, call), b"GET", change.look, why="check"
            )
        except AtollError:
            return None
        return seen if seen.status == 200 and change.shows(seen.text) else None

    async def _undo(self, call: Call, changes: Sequence[Change], course: _Course) -> dict[str, str]:
        """Take back what was done, and what may have been; what remains where, with the reason."""
        concerned = [one for one in changes if one.site.name in course.done or one.site.name in course.lost]
        remaining: dict[str, str] = {}
        for one in reversed(concerned):
            name = one.site.name
            reason = await self._undone(call, one)
            if reason:
                remaining[name] = reason
                log.error("undo_failed", request_id=call.id, site=name, reason=reason)
            else:
                log.info("undone", request_id=call.id, site=name)
        return remaining

    async def _undone(self, call: Call, change: Change) -> str:
        """Take a change back at its site; why that failed, or ""."""
        if change.undo is None:
            return "there is no way back"
        parts = self._parts
        aside = call.aside(parts.forward.now() + UNDO_SECONDS, versioned=change.versioned)
        for step in change.undo:
            reason = ""
            for body in step.bodies:
                try:
                    answer = await parts.forward.ask(
                        aside,
                        parts.endpoint(change.site, call),
                        step.method,
                        step.target,
                        body=body,
                        why="undo",
                    )
                except AtollError as error:
                    return str(error)
                if answer.status < 300 or answer.status in step.restored:
                    reason = ""
                    break
                reason = reason or f"it answered {answer.status}: {said(answer)}"
            if reason:
                return reason
        return ""

    @staticmethod
    def _told(call: Call, what: str, course: _Course, remaining: Mapping[str, str]) -> dict[str, SiteAnswer]:
        """The refusal to pass on; raises where no site's own words tell how it stands."""
        if course.refused and not remaining and not course.lost:
            name, answer = next(iter(course.refused.items()))
            return {name: answer}
        failures = {
            **{
                name: f"{name} refused it ({answer.status}: {said(answer)})"
                for name, answer in course.refused.items()
            },
            **{name: str(error) for name, error in (course.away | course.lost).items()},
        }
        names = ", ".join(failures)
        text = [f"{what} was not carried out at {names}."]
        text += [one if one.endswith(".") else one + "." for one in failures.values()]
        kept = [name for name in remaining if name in course.done]
        perhaps = [name for name in course.lost if name in remaining]
        if kept:
            reasons = "; ".join(f"{name}: {remaining[name]}" for name in kept)
            text.append(f"It was carried out at {', '.join(kept)} and could not be undone there ({reasons}).")
        elif course.done:
            text.append(f"It was undone at {', '.join(course.done)}.")
        if perhaps:
            text.append(f"Whether it was at {', '.join(perhaps)} is not known.")
        elif course.lost:
            text.append(f"It was taken back at {', '.join(course.lost)} too, where it may still come late.")
        elif not course.done:
            text.append("Nothing was changed.")
        message = " ".join(text)
        log.error("change_half_done" if remaining else "change_undone", request_id=call.id, reason=message)
        if course.lost:
            raise SiteTimeout(message, site=", ".join(course.lost))
        if course.refused:
            raise Conflict(message, site=names)
        raise SiteUnavailable(message, site=names, retry_after=5)


def garbled(answer: SiteAnswer) -> bool:
    """Whether an answer is not what a service says."""
    return bool(answer.text.strip()) and bodies.decoded(answer.text) is None
