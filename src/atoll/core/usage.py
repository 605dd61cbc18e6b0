"""Pages of usage reports over sites: which site to ask for how much, and where a page ends.

Nova's own way with its cells: the sites follow one another, a page goes on at the next where one has no more,
and the marker is the last server of the page, wherever that is. A site's page is never cut, for only the
site knows the order of its servers: one that is too long is asked for again, as long as there is room.
Asks nobody itself: `needs` says what is to be asked, `feed` and `fail` take what came.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Ask(NamedTuple):
    """A page of one site. `probe` asks only whether there is more; `limit` None is a report without pages."""

    site: str
    limit: int | None
    marker: str | None
    probe: bool = False


class Share(NamedTuple):
    """What came of it: how many servers, the last of them, and whether the site says that it has more."""

    servers: int
    last: str
    more: bool


class Pages:
    """One page over `sites`, in their order; the marker is of the first, and the page begins after it.

    When nothing is needed any more: `taken` are the sites whose last pages make it, `lacking` those that
    belong to it and did not answer, `more` says whether another page follows, after the server `last`.
    """

    def __init__(self, sites: Sequence[str], *, limit: int | None, marker: str | None = None) -> None:
        self._sites = list(sites)
        self._limit = limit
        self._marker = marker
        self._shares: dict[str, tuple[int | None, Share]] = {}
        self._probed: dict[str, bool] = {}
        self._failed: set[str] = set()
        self.taken: list[str] = []
        self.lacking: list[str] = []
        self.more = False
        self.last = ""

    def feed(self, ask: Ask, share: Share) -> None:
        """Take what a site answered."""
        if ask.probe:
            self._probed[ask.site] = share.servers > 0
        else:
            self._shares[ask.site] = (ask.limit, share)

    def fail(self, ask: Ask) -> None:
        """Note that a site did not answer. It may have more, so a page that asks just that goes on."""
        if ask.probe:
            self._probed[ask.site] = True
        else:
            self._shares.pop(ask.site, None)
            self._failed.add(ask.site)

    def needs(self) -> list[Ask]:
        """What is to be asked next, all of it at once; nothing when the page is known."""
        room = self._limit
        self.taken, self.lacking = [], []
        for place, site in enumerate(self._sites):
            if room == 0:
                return self._is_there_more(place)
            if site in self._failed:
                self.lacking.append(site)
                continue
            if site not in self._shares:
                return [self._ask(one, room) for one in self._sites[place:] if self._is_unknown(one)]
            asked, share = self._shares[site]
            if room is not None and share.servers >= room != asked:
                return [self._ask(site, room)]
            self.taken.append(site)
            self.last = share.last if share.servers else self.last
            if room is not None:
                room -= share.servers
                if share.more and room:
                    self.more = True  # this site's pages are shorter than what was asked for
                    return []
        return self._is_there_more(len(self._sites)) if room == 0 else []

    def _ask(self, site: str, limit: int | None) -> Ask:
        return Ask(site, limit, self._marker if site == self._sites[0] else None)

    def _is_unknown(self, site: str) -> bool:
        return site not in self._shares and site not in self._failed

    def _is_there_more(self, place: int) -> list[Ask]:
        """A full page is the last one if neither its last site nor those from `place` on have more."""
        later = self._sites[place:]
        end = next(site for site in reversed(self.taken) if self._shares[site][1].servers)
        known = [self._shares[site][1].servers > 0 for site in later if site in self._shares]
        self.more = any(known) or any(self._probed.values()) or not self._failed.isdisjoint(later)
        if self.more:
            return []
        asks = [Ask(site, 1, None, probe=True) for site in later if self._is_unknown(site)]
        if self._shares[end][1].more:
            asks.append(Ask(end, 1, self.last, probe=True))
        return [ask for ask in asks if ask.site not in self._probed]
