"""Choosing the site of a create: filters, then scores, each with its reason. Asks nobody; facts come in.

The same facts give the same site. What is refused says which thing is where and what to do about it.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from atoll.core.errors import BadRequest, Conflict, SiteUnavailable

CHOSEN: Final = "chosen"

LEAST_MARGIN: Final = 20.0
"""So many more things than its share a site may take before the projects that begin go elsewhere."""

MARGIN: Final = 0.02
"""So much of all that was made lately it may be, where that is more: about five minutes in a busy hour."""

_UNKNOWN_ZONE: Final = {
    "compute": "The requested availability zone is not available",
    "block-storage": "Availability zone '{zone}' is invalid.",
    "network": "AvailabilityZone {zone} could not be found.",
}


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A site and the facts about it that matter for a create."""

    site: str
    state: Literal["enabled", "draining", "maintenance"] = "enabled"
    state_reason: str = ""
    """The operator's, for the message."""
    healthy: bool = True
    away: str = ""
    """Why it is not healthy, for the message."""
    unsteady: str = ""
    """Why it cannot be counted on although it answers: it is taken where nothing else will do."""
    placed_of_project: int = 0
    """How many placed resources of any type the project has there."""
    home: bool = False
    """Whether the last thing of the project went there: then the counts of its resources do not matter."""
    load: int = 0
    """How much was made there lately for all projects."""
    follow: bool = False
    """Whether the last project that began, just now, began there."""
    last_chosen: float = 0.0
    """When it was last chosen, in seconds of any clock; 0 means never."""


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """Something the body names, and the sites that have it."""

    resource: str
    id: str
    sites: frozenset[str]


class Want(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be created, as far as its place goes."""

    resource: str
    service: str = "compute"
    zone: str | None = None
    """What the user asked for, without Nova's `:host:node`."""
    zones: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Every availability zone and its site."""
    named: tuple[Thing, ...] = ()
    """Volumes, networks, ports, groups, the image and the flavor."""
    together: float = 10.0
    """Weight of having the resources of a project in one site."""
    spread: float = 1.0
    """Weight of the site that took least lately."""
    follow: float = 2.0
    """Weight of the site where the last project began."""


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a site was left out (`points` is None), how many points it got, or why it was taken (`chosen`)."""

    site: str
    rule: str
    text: str
    points: float | None = None

    def __str__(self) -> str:
        """In a line: `paris: took 3 of what was made lately (+0.50)`."""
        points = "" if self.points is None else f" ({self.points:+.2f})"
        return f"{self.site}: {self.text}{points}"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The site, and everything that was considered."""

    site: str
    reasons: tuple[Reason, ...]
    others: tuple[str, ...] = ()
    """The sites that could take it too, the better ones first."""


def choose(want: Want, candidates: Sequence[Candidate], considered: list[Reason] | None = None) -> Choice:
    """Choose among the candidates, which are in site order.

    The reasons are appended to `considered`, also when no site can be chosen. Raises `BadRequest` for an
    unknown zone or a thing no site has, `Conflict` when no site has all that is named, `SiteUnavailable` when
    those that have are away or take nothing new.
    """
    reasons: list[Reason] = considered if considered is not None else []
    fitting = _fitting(want, candidates, reasons)
    if not fitting:
        raise Conflict(where(want), resource=want.resource)
    open_sites = _open(fitting, reasons)
    if not open_sites:
        raise _unavailable(want, fitting)
    order = {candidate.site: place for place, candidate in enumerate(candidates)}
    totals = {candidate.site: 0.0 for candidate in open_sites}
    for reason in _scores(want, open_sites):
        reasons.append(reason)
        totals[reason.site] += reason.points or 0.0
    best, *others = sorted(open_sites, key=lambda c: (-totals[c.site], c.last_chosen, order[c.site]))
    reasons.append(Reason(site=best.site, rule=CHOSEN, text=_why(best, open_sites, totals)))
    return Choice(site=best.site, reasons=tuple(reasons), others=tuple(one.site for one in others))


def _why(best: Candidate, open_sites: Sequence[Candidate], totals: Mapping[str, float]) -> str:
    """What decided for the best one, once all have their points."""
    if len(open_sites) == 1:
        return "no other is left"
    equal = [one for one in open_sites if totals[one.site] == totals[best.site] and one is not best]
    points = f"{totals[best.site]:.2f} points"
    if not equal:
        return f"{points}, the most"
    others = _listed([one.site for one in equal])
    if all(one.last_chosen > best.last_chosen for one in equal):
        return f"{points}, as {others}, and was chosen longest ago"
    return f"{points}, as {others}, and comes first in the configuration"


def _fitting(want: Want, candidates: Sequence[Candidate], reasons: list[Reason]) -> list[Candidate]:
    """Keep the sites of the zone that have everything named."""
    required: list[tuple[str, str, frozenset[str]]] = []
    if want.zone is not None:
        if want.zone not in want.zones:
            text = _UNKNOWN_ZONE.get(want.service, _UNKNOWN_ZONE["compute"])
            raise BadRequest(text.format(zone=want.zone), resource="availability_zone", id=want.zone)
        text = f"availability zone {want.zone}"
        required.append(("availability_zone", text, frozenset({want.zones[want.zone]})))
    for thing in want.named:
        if not thing.sites:
            raise BadRequest(
                f"{words(thing.resource).capitalize()} {thing.id} could not be found.",
                resource=thing.resource,
                id=thing.id,
            )
        required.append((thing.resource, f"{words(thing.resource)} {thing.id}", thing.sites))
    kept = []
    for candidate in candidates:
        lacking = [(rule, text) for rule, text, sites in required if candidate.site not in sites]
        for rule, text in lacking:
            reasons.append(Reason(site=candidate.site, rule=rule, text=f"{text} is not there"))
        if not lacking:
            kept.append(candidate)
    return kept


def _open(fitting: Sequence[Candidate], reasons: list[Reason]) -> list[Candidate]:
    kept = []
    for candidate in fitting:
        closed = _closed(candidate)
        if closed:
            reasons.append(Reason(site=candidate.site, rule="state", text=closed))
        else:
            kept.append(candidate)
    steady = [candidate for candidate in kept if not candidate.unsteady]
    for candidate in kept:
        if steady and candidate.unsteady:
            text = f"is unsteady ({candidate.unsteady})"
            reasons.append(Reason(site=candidate.site, rule="unsteady", text=text))
    return steady or kept


def _closed(candidate: Candidate) -> str:
    if candidate.state == "draining":
        why = f" ({candidate.state_reason})" if candidate.state_reason else ""
        return f"is draining{why} and takes nothing new"
    if candidate.state == "maintenance":
        why = f" ({candidate.state_reason})" if candidate.state_reason else ""
        return f"is in maintenance{why}"
    if not candidate.healthy:
        return f"is away ({candidate.away})" if candidate.away else "is away"
    return ""


def _scores(want: Want, candidates: Sequence[Candidate]) -> list[Reason]:
    most = max(candidate.load for candidate in candidates)
    scored = []
    for candidate in candidates:
        scored.append(_together(want, candidate, candidates))
        share = 1 - candidate.load / most if most else 1.0
        text = f"took {candidate.load} of what was made lately"
        scored.append(Reason(site=candidate.site, rule="spread", points=want.spread * share, text=text))
        if candidate.follow:
            scored.append(_follow(want, candidate, candidates))
    return scored


def _together(want: Want, candidate: Candidate, candidates: Sequence[Candidate]) -> Reason:
    if any(one.home for one in candidates):
        points = want.together if candidate.home else 0.0
        text = f"the project's last thing went {'there' if candidate.home else 'elsewhere'}"
    else:
        here = candidate.placed_of_project
        most = max(one.placed_of_project for one in candidates)
        points = want.together * here / most if most else 0.0
        text = f"the project has {here} resources there"
    return Reason(site=candidate.site, rule="together", points=points, text=text)


def _follow(want: Want, candidate: Candidate, candidates: Sequence[Candidate]) -> Reason:
    """Projects that begin together may have to meet, so one goes where the last did, within a margin."""
    total = sum(one.load for one in candidates)
    over = candidate.load - total / len(candidates)
    if over <= max(LEAST_MARGIN, MARGIN * total):
        text, points = "the last project began there", want.follow
    else:
        text, points = f"the last project began there, but it took {over:.0f} more than its share", 0.0
    return Reason(site=candidate.site, rule="follow", points=points, text=text)


def where(want: Want) -> str:
    """That no site can take what is wanted, with each thing named and its sites."""
    places = [
        f"{words(thing.resource)} {thing.id} is in {_listed(sorted(thing.sites))}" for thing in want.named
    ]
    if want.zone is not None:
        places.insert(0, f"availability zone {want.zone} is in {want.zones[want.zone]}")
    said = f": {'; '.join(places)}" if places else ""
    return f"No site can take the {words(want.resource)}{said}."


def _unavailable(want: Want, fitting: Sequence[Candidate]) -> SiteUnavailable:
    sites = "; ".join(f"site {candidate.site} {_closed(candidate)}" for candidate in fitting)
    return SiteUnavailable(
        f"No site can take the {words(want.resource)} now: {sites}. Nothing was created.",
        resource=want.resource,
        site=fitting[0].site if len(fitting) == 1 else None,
    )


def words(resource: str) -> str:
    """A type in words: `server group`."""
    return resource.replace("_", " ")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
