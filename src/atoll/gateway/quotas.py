"""Quotas over sites, as they are written: totals divided, limits on one object for every site.

    PUT     /{service}/…/os-quota-sets/{project}[?user_id=]      Nova, Cinder
    PUT     /{service}/…/os-quota-class-sets/{class}
    PUT     /network/v2.0/quotas/{project}
    DELETE  the same, but for classes: every site goes back to its defaults

Written at all sites or at none: the values of before are read first, and put back where one refuses. So what
is read afterwards, summed, is what was written; of two at once one waits for the other, see `turns`. Reading
is in `summed`. What is in use at each site is read for the division: whether a share is below it, and what
then, is for the site to say.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from atoll.core.errors import Forbidden, SiteUnavailable
from atoll.core.sums import combine, divided, integer
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.everywhere import Change, Everywhere, Step
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer, said
from atoll.gateway.parts import Parts
from atoll.gateway.turns import Turns
from atoll.sites.site import Site

# Those of projects; nothing is in use of a class.
IN_USE: Final = frozenset({"quota_set", "quota"})


@dataclass(frozen=True, slots=True)
class _Before:
    """A site's quota as it is: its limits, and what is in use of each; None where that may not be seen."""

    limits: Mapping[str, Any] | None = None
    used: Mapping[str, int] | None = None


class Quotas:
    """Writes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._everywhere = Everywhere(parts)
        self._turns = Turns(parts.store.leases)

    async def write(self, call: Call, sites: Sequence[Site]) -> None:
        """Set or reset a quota at all sites."""
        parts = self._parts
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        text = await call.read_body(parts.body_limit) if call.request.has_body else None
        body = bodies.decoded(text) if text is not None else None
        ident = call.match.id.decode("latin-1")
        if len(parts.sites.by_name) == 1:
            answers = await self._written(call, sites, text, body)
        else:
            async with self._turns.turn(_lease(call), f"The quota {ident}", until=self._patience(call)):
                answers = await self._written(call, sites, text, body)
        name, first = next(iter(answers.items()))
        endpoint = parts.endpoint(parts.sites.by_name[name], call)
        if first.status >= 300 or not first.text.strip():
            parts.forward.answer(call, endpoint, first)
            return
        summed = combine([_without_id(one) for one in answers.values()])
        parts.forward.answer(call, endpoint, first, msgspec.json.encode(summed))

    async def _written(
        self, call: Call, sites: Sequence[Site], text: bytes | None, body: Mapping[str, Any] | None
    ) -> Mapping[str, SiteAnswer]:
        """Read what is there, and write; the answers by site."""
        before = await self._before(call, sites)
        changes = self._changes(call, sites, text, body, before)
        what = f"The change of the quota {call.match.id.decode('latin-1')}"
        return await self._everywhere.carry_out(call, what, changes)

    def _patience(self, call: Call) -> float:
        """Until when to wait for the changes of others: the change itself needs half of the time."""
        now = self._parts.forward.now()
        return now + (call.deadline - now) / 2

    async def _before(self, call: Call, sites: Sequence[Site]) -> dict[str, _Before]:
        """What each site has now. Raises SiteUnavailable if one is away."""
        target, before = _with_use(call), {}
        if target is not None:
            answers = await self._asked(call, sites, target, allowed=False)
            before = {name: _read(one) for name, one in answers.items() if one.status == 200}
        # The others do not tell what is in use: Neutron needs an extension for it, and a caller may not ask.
        if blind := [site for site in sites if site.name not in before]:
            answers = await self._asked(call, blind, _target(call))
            before |= {name: _read(one) for name, one in answers.items()}
        return before

    async def _asked(
        self, call: Call, sites: Sequence[Site], target: bytes, *, allowed: bool = True
    ) -> Mapping[str, SiteAnswer]:
        """What sites say of their quota; without those that may not be asked, if not `allowed` for sure.

        Raises SiteUnavailable where one does not say it.
        """
        parts = self._parts
        aside = call.aside(call.deadline, versioned=_versioned(call))
        gathered = await scatter(
            {
                site.name: parts.forward.ask(aside, parts.endpoint(site, call), b"GET", target, why="check")
                for site in sites
            }
        )
        failed = {
            name: error
            for name, error in gathered.failed.items()
            if allowed or not isinstance(error, Forbidden)
        }
        if failed:
            raise none_answered("its quota, and nothing was written", failed)
        failing = {name: one for name, one in gathered.answered.items() if one.status >= 500}
        if failing:
            name, one = next(iter(failing.items()))
            raise SiteUnavailable(
                f"Nothing was written: the site {name} answered {one.status} when it was asked for its quota "
                f"({said(one)}).",
                site=name,
                retry_after=5,
            )
        return gathered.answered

    @staticmethod
    def _changes(
        call: Call,
        sites: Sequence[Site],
        text: bytes | None,
        body: Mapping[str, Any] | None,
        before: Mapping[str, _Before],
    ) -> list[Change]:
        envelope = call.match.route.resource if call.match.route is not None else ""
        quota = body.get(envelope) if body is not None else None
        shares: Sequence[Mapping[str, Any] | None] = [None] * len(sites)
        if isinstance(quota, dict):
            uses = [before[site.name].used for site in sites]
            # A user's share may nowhere be above the project's, which is even where nothing is in use.
            level = None in uses or b"user_id=" in call.request.query
            shares = divided(call.service_type, quota, [one or {} for one in uses], level=level)
        changes = []
        for site, share in zip(sites, shares, strict=True):
            old = before[site.name].limits
            written: Mapping[str, Any]
            if share is not None and body is not None:
                sent: bytes | None = msgspec.json.encode({**body, envelope: share})
                written = {key: value for key, value in share.items() if integer(value) is not None}
            else:
                sent = text
                written = old if old is not None and call.request.method == b"DELETE" else {}
            changes.append(
                Change(
                    site=site,
                    method=call.request.method,
                    target=_target(call),
                    body=sent,
                    versioned=_versioned(call),
                    undo=_undo(call, envelope, written, old),
                    look=_target(call) if share is not None else None,
                    shows=_showing(written),
                )
            )
        return changes


def _lease(call: Call) -> str:
    """What changes of one quota have in common: those of a project's users count against the project's."""
    kind = call.match.route.resource if call.match.route is not None else ""
    return f"quota {call.service_type} {kind} {hashlib.sha256(call.match.id).hexdigest()}"


def _target(call: Call) -> bytes:
    return call.path + (b"?" + call.request.query if call.request.query else b"")


def _with_use(call: Call) -> bytes | None:
    """Where a quota is read with what is in use of it; None where there is nothing to divide by it.

    A caller whose token is for certain requests only may not ask for it besides.
    """
    route = call.match.route
    if call.request.method == b"DELETE" or route is None or route.resource not in IN_USE:
        return None
    if call.caller.rules is not None:
        return None
    query = call.request.query
    if call.service_type == "block-storage":
        return call.path + b"?" + (query + b"&" if query else b"") + b"usage=True"
    detail = b"/details" if call.service_type == "network" else b"/detail"
    return call.path + detail + (b"?" + query if query else b"")


def _read(answer: SiteAnswer) -> _Before:
    """A quota, read with what is in use or without: there every limit is an object of figures."""
    _, quota = _envelope(answer.text) if answer.status == 200 else ("", None)
    if quota is None:
        return _Before()
    figures = {key: value for key, value in quota.items() if isinstance(value, dict)}
    if not figures:
        return _Before(quota)
    limits = {**quota, **{key: value.get("limit") for key, value in figures.items()}}
    used = {
        key: sum(max(integer(value.get(name)) or 0, 0) for name in ("in_use", "used", "reserved"))
        for key, value in figures.items()
    }
    return _Before(limits, used)


def _versioned(call: Call) -> bool:
    """Whether reading and undoing are in the version asked for: what is reset is put back with every key."""
    return call.request.method != b"DELETE"


def _envelope(text: bytes) -> tuple[str, Mapping[str, Any] | None]:
    """The key and the object of an answer that holds one object."""
    for key, value in (bodies.decoded(text) or {}).items():
        if isinstance(value, dict):
            return key, value
    return "", None


def _without_id(answer: SiteAnswer) -> dict[str, Any]:
    """An answer to a write: what was read instead, where the answer was lost, names the project besides."""
    key, quota = _envelope(answer.text)
    return {key: {name: value for name, value in (quota or {}).items() if name != "id"}}


def _undo(
    call: Call, envelope: str, written: Mapping[str, Any], old: Mapping[str, Any] | None
) -> tuple[Step, ...] | None:
    """The old values of what is written; with force where a site would not have them otherwise."""
    if old is None or any(integer(old.get(key)) is None for key in written if key != "id"):
        return None
    values = {key: old[key] for key in written if key != "id"}
    if not values:
        return ()
    plain = msgspec.json.encode({envelope: values})
    forced = msgspec.json.encode({envelope: {**values, "force": True}})
    # Cinder knows no force, and refuses keys it does not know.
    tries = (plain,) if call.service_type == "block-storage" else (plain, forced)
    return (Step(method=b"PUT", target=_target(call), bodies=tries),)


def _showing(written: Mapping[str, Any]) -> Any:
    """Whether an answer shows what was to be written."""

    def shows(text: bytes) -> bool:
        _, quota = _envelope(text)
        return quota is not None and all(
            integer(quota.get(key)) == integer(value) for key, value in written.items()
        )

    return shows
