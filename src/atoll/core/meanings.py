"""What the ids of servers mean at one moment: clients' and sites' own. Pure.

Most servers have their site's id, and nothing is known of them here. An alias is what a client holds for
another one, or for a server that no site has yet. A site's own server may be hidden: it is what another was
before, or is to be.

Whoever reads a thing in several steps does it with one `Meanings`: what is hidden by it is shown by no other.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final, NamedTuple

from immutables import Map

from atoll.core import server_ids
from atoll.core.accepted_servers import Accepted
from atoll.core.server_ids import Translate

_NONE: Final[Map[bytes, bytes]] = Map()


class Bound(NamedTuple):
    """A site's own server, and whose it is."""

    site: str
    id: str
    project_id: str
    found: bool = False
    """It is known by what the server says of itself: so it counts in its project, and is no site's own id."""
    claims: tuple[str, ...] = ()
    """The sites of all servers that say so, where there are several."""


Meaning = Bound | Accepted
Of = tuple[str, str]
"""A site, and the project that is shown an id ("": all)."""


class Meanings:
    """What ids mean. It never changes; `change` makes another one, which shares what is the same."""

    __slots__ = ("_hidden", "_shown", "_to_come", "_translate", "accepted", "known")

    def __init__(
        self,
        known: Map[str, Meaning] = Map(),  # noqa: B008 - it cannot be changed
        accepted: Map[str, Accepted] = Map(),  # noqa: B008
        shown: Map[Of, Map[bytes, bytes]] = Map(),  # noqa: B008
        hidden: Map[str, str] = Map(),  # noqa: B008
        to_come: Map[str, Of] = Map(),  # noqa: B008
    ) -> None:
        self.known = known
        """By alias; what was found by `ALIAS@PROJECT`, for it means that to the project alone."""
        self.accepted = accepted
        """Those of them that no site has, or will have."""
        self._shown = shown  # sites' own ids -> the clients'
        self._hidden = hidden  # sites' own ids that are not shown, with the site
        self._to_come = to_come  # aliases for which a site is about to make another server, where and whose
        self._translate: dict[tuple[str, str, str], Translate] = {}

    def change(self) -> "Change":
        """Begin to make what is so after a change."""
        return Change(self)

    def means(self, alias: str, project_id: str) -> Meaning | None:
        """What an id means to a project: the site's own server behind it, or what no site has yet."""
        return self.known.get(alias) or self.known.get(_key(alias, project_id))

    def bound(self, alias: str, project_id: str) -> Bound | None:
        """The site's own server behind an alias."""
        meant = self.means(alias, project_id)
        return meant if isinstance(meant, Bound) else None

    def shown(self, site: str, ident: str, project_id: str) -> str:
        """The id that a project sees for a site's own server."""
        raw = ident.encode()
        for whose in ("", project_id):
            if (ours := self._shown.get((site, whose), _NONE).get(raw)) is not None:
                return ours.decode()
        return ident

    def shown_at_any(self, sites: Iterable[str], ident: str, project_id: str) -> str:
        """The id that a project sees for the own server of whichever of some sites has it."""
        every = (self.shown(site, ident, project_id) for site in sites)
        return next((shown for shown in every if shown != ident), ident)

    @property
    def hiding(self) -> bool:
        """Whether there may be servers that are not shown, or under another id."""
        return bool(self.known or self._hidden)

    def hides(self, site: str, ident: str) -> bool:
        """Whether a site's own server is not shown: its id means another one by now, or it is hidden."""
        if self._hidden.get(ident) == site:
            return True
        bound = self.bound(ident, "")
        return bound is not None and (bound.site, bound.id) != (site, ident)

    def expected(self, project_id: str, *, every: bool) -> frozenset[str]:
        """The aliases of a project, or of `every` one, of which a site has or gets a server of unknown id."""
        waiting = ((one.id, one.project_id) for one in self.accepted.values() if one.message is None)
        to_come = ((alias, whose) for alias, (_, whose) in self._to_come.items())
        return frozenset(alias for alias, whose in chain(waiting, to_come) if every or whose == project_id)

    def is_expected(self, site: str, alias: str, project_id: str) -> bool:
        """Whether a site's own server is not shown that says it is this alias: that is shown instead."""
        waiting = self.accepted.get(alias)
        if waiting is not None:
            return waiting.project_id == project_id
        return self._to_come.get(alias) == (site, project_id)

    def concerns(self, ident: str, project_id: str) -> bool:
        """Whether an id is more than that of a site's own server: it means another one, or is hidden."""
        return ident in self._hidden or self.means(ident, project_id) is not None

    def within(self, idents: Iterable[bytes], project_id: str) -> Mapping[bytes, bytes]:
        """Those of some ids that are bound aliases, with the sites' own."""
        found = ((one, self.bound(one.decode(), project_id)) for one in idents)
        return {alias: bound.id.encode() for alias, bound in found if bound is not None}

    def outward(self, site: str, service_type: str, project_id: str) -> Translate | None:
        """What changes the ids in a site's answers; None where nothing does."""
        if service_type not in server_ids.SERVICES:
            return None
        every, own = (self._changes(site, service_type, whose) for whose in ("", project_id))
        if every is None or own is None:
            return every or own
        return lambda text: own(every(text))

    def _changes(self, site: str, service_type: str, whose: str) -> Translate | None:
        if not (here := self._shown.get((site, whose))):
            return None
        key = site, service_type, whose
        if key not in self._translate:
            self._translate[key] = server_ids.outward(service_type, here)
        return self._translate[key]

    def waits(self, project_id: str, *, every: bool) -> bool:
        """Whether a project, or `every` one, has a server that no site has."""
        return any(every or one.project_id == project_id for one in self.accepted.values())

    def contested(self, site: str) -> list[str]:
        """The aliases that several servers say they are, one of them of a site."""
        every = self.known.items()
        return [key.partition("@")[0] for key, one in every if isinstance(one, Bound) and site in one.claims]


class Change:
    """A change of what ids mean: `done` gives what is so after it."""

    def __init__(self, before: Meanings) -> None:
        self._accepted = before.accepted.mutate()
        self._known = before.known.mutate()
        self._shown = before._shown.mutate()  # noqa: SLF001 - of this module
        self._hidden = before._hidden.mutate()  # noqa: SLF001
        self._to_come = before._to_come.mutate()  # noqa: SLF001

    def done(self) -> Meanings:
        """What ids mean now."""
        return Meanings(
            self._known.finish(),
            self._accepted.finish(),
            self._shown.finish(),
            self._hidden.finish(),
            self._to_come.finish(),
        )

    def means(self, alias: str) -> Meaning | None:
        """What an alias means so far, by its key in `known`."""
        return self._known.get(alias)

    def bind(self, alias: str, whose: str, bound: Bound) -> None:
        """Have an alias stand for a site's own server, to a project ("": to all)."""
        if self._hidden.get(bound.id) == bound.site:
            del self._hidden[bound.id]
        self._known[_key(alias, whose)] = bound
        of = bound.site, whose
        self._shown[of] = self._shown.get(of, _NONE).set(bound.id.encode(), alias.encode())

    def accept(self, one: Accepted) -> None:
        """Have an alias stand for what no site has."""
        self._known[one.id] = self._accepted[one.id] = one

    def forget(self, alias: str, whose: str) -> None:
        """Have an alias stand for nothing, to a project ("": to all that it was not found for)."""
        before = self._known.pop(_key(alias, whose), None)
        if isinstance(before, Accepted):
            del self._accepted[alias]
        if isinstance(before, Bound):
            of = before.site, whose
            here, raw = self._shown[of], before.id.encode()
            if here.get(raw) == alias.encode():
                self._shown[of] = here.delete(raw)

    def hide(self, site: str, ident: str) -> None:
        """Have a site's own server not shown."""
        self._hidden[ident] = site

    def expect(self, alias: str, site: str, project_id: str) -> None:
        """Have a site's server not shown that says it is this alias."""
        self._to_come[alias] = site, project_id

    def expect_no_more(self, alias: str) -> None:
        """Have it shown."""
        self._to_come.pop(alias, None)

    def unhide(self, ident: str) -> None:
        """Have it shown."""
        self._hidden.pop(ident, None)


def _key(alias: str, whose: str) -> str:
    return f"{alias}@{whose}" if whose else alias
