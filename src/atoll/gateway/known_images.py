"""Whom to ask for an image, as `shared` would find, where that is known without waiting for anything.

The lane takes what this says. None leaves the request to `shared`, and so does an answer after which another
site would be asked.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from atoll.core.image_sites import PROPERTY, members, where
from atoll.gateway.call import NOBODY, Call, Caller
from atoll.gateway.parts import Parts
from atoll.same.records import SameRecord
from atoll.same.table import Who, ids_of
from atoll.sites.site import Site

IMAGE = "image"
# Images of several sites whose sites are kept, each a few hundred bytes.
KEPT = 10_000


class Known(NamedTuple):
    """The first site to ask. `alone`: no other would be asked after it, whatever it answers.

    `told` is what `images` says of a public image that several sites have under this id, as it stands at the
    end of the answer; such a one is not asked for in the client's own words.
    """

    site: Site
    alone: bool = True
    told: bytes | None = None

    def decides(self, status: int, text: bytes) -> bool:
        """Whether an answer of the site is the one for the client."""
        if self.told is not None:
            return status == 200 and b"}" in text
        return self.alone or status != 404


class _Moment(NamedTuple):
    """What is so for a caller at a moment of the loop's clock: many requests come in one turn of the loop.

    `sites` are those that the caller reaches; None: they have to be looked at first.
    """

    now: float
    caller: Caller
    who: Who
    sites: Sequence[Site] | None


class KnownImages:
    """Looks at what the gateway knows; asks nobody for an image."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._moment = _Moment(-1.0, NOBODY, Who(""), None)
        self._several: dict[str, tuple[SameRecord, Sequence[Site], Known | None]] = {}

    def find(self, ident: str, caller: Caller, now: float, call: Callable[[], Call]) -> Known | None:
        """Whom to ask for an image that is shown by an id; None where that takes waiting.

        `call` makes the call that a look at the sites would be made for.
        """
        moment = self._moment
        if moment.now != now or moment.caller is not caller:
            moment = self._moment = self._at_moment(caller, now, call())
        sites = moment.sites
        if not sites:
            return None
        parts = self._parts
        group = parts.equivalents.table.group(IMAGE, ident, moment.who)
        if group is not None:
            return self._of_group(ident, group, sites)
        if len(sites) == 1:
            return Known(sites[0])
        site = parts.locator.cached(IMAGE, ident)
        if site is None:
            seen = parts.locator.seen(caller, IMAGE, ident, now)
            site = parts.sites.by_name.get(next(iter(seen))) if len(seen) == 1 else None
        return Known(site) if site is not None else None

    def _at_moment(self, caller: Caller, now: float, call: Call) -> _Moment:
        parts = self._parts
        sites: Sequence[Site] | None = parts.reach.sites(call)
        if not _at_once(parts.equivalents.current(call, IMAGE)):
            sites = None
        return _Moment(now, caller, Who(caller.project_id, caller.user_id), sites)

    def _of_group(self, ident: str, group: SameRecord, sites: Sequence[Site]) -> Known | None:
        """The same of what is one image at several sites."""
        kept = self._several.get(ident)
        if kept is None or kept[0] is not group or kept[1] != sites:
            if len(self._several) >= KEPT:
                self._several.clear()
            kept = self._several[ident] = (group, sites, _first(ident, group, sites))
        known = kept[2]
        return known if known is not None and known.site.healthy(IMAGE) else None


def _first(ident: str, group: SameRecord, sites: Sequence[Site]) -> Known | None:
    """Of the sites of an image the first whose own id it is; None where `shared` has more to do."""
    ids = ids_of(group, ident)
    having = [site for site in sites if site.name in ids]
    own = [site for site in having if ids[site.name] == ident]
    if not own:
        return None
    if len(own) < len(having) or len(having) == 1:
        return Known(own[0], alone=len(having) == 1)
    if group.scope != "public":
        return None  # each of them is asked
    everywhere = [site.name for site in sites]
    return Known(own[0], told=members({PROPERTY: where([site.name for site in own], everywhere)}))


def _at_once(work: Coroutine[Any, Any, None]) -> bool:
    """Do what need not wait; whether that was all. What it began to wait for goes on by itself."""
    try:
        work.send(None)
    except StopIteration:
        return True
    work.close()
    return False
