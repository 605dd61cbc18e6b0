"""Where a resource lives: in-process cache, then the location table, then all registered sites are asked.

Never says 404 while a site that might have the thing did not answer.
"""

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from atoll.core.errors import BadSiteAnswer, Conflict, NotFound, SiteUnavailable
from atoll.core.ids import possible
from atoll.core.limiter import Limiter
from atoll.gateway.aliases import SERVER, AliasLearnt
from atoll.gateway.call import Call, Caller
from atoll.gateway.equivalents import Equivalents
from atoll.gateway.fanout import scatter
from atoll.gateway.forward import Forward, SiteAnswer
from atoll.gateway.items import made_by
from atoll.gateway.reach import Reach
from atoll.services.catalog import HOMES, SERVICES, form_of
from atoll.sites.site import Site, Sites
from atoll.store import Locations, Sighting

# A thing that is at no site is not looked for again for this long (seconds): a client polling a delete.
NEGATIVE_SECONDS = 5.0
NEGATIVE_ENTRIES = 50_000
# How long it is believed that a shared thing (image, flavor) is at a site (seconds).
PRESENCE_SECONDS = 30.0

NegativeKey = tuple[tuple[str, str, frozenset[str]], str, str]


@dataclass(frozen=True, slots=True)
class _Presence:
    sites: frozenset[str]
    away: frozenset[str]
    until: float


class Locator:
    """Finds the sites of things, and remembers."""

    def __init__(
        self,
        sites: Sites,
        reach: Reach,
        forward: Forward,
        locations: Locations,
        limiter: Limiter,
        equivalents: Equivalents,
    ) -> None:
        self._sites = sites
        self._reach = reach
        self._forward = forward
        self._locations = locations
        self._limiter = limiter
        self._equivalents = equivalents
        self._nowhere: dict[NegativeKey, float] = {}
        self._presence: dict[NegativeKey, _Presence] = {}

    def cached(self, resource: str, ident: str) -> Site | None:
        """The site of a resource, when this process knows it."""
        name = self._locations.cached(resource, ident)
        site = self._sites.by_name.get(name) if name is not None else None
        return site if site is None or not self.hidden(resource, ident, site) else None

    async def site_of(self, call: Call, resource: str, ident: str) -> Site:
        """The site of a placed resource.

        Raises NotFound when no site has it, SiteUnavailable when one that might have it did not answer.
        """
        if len(self._sites) == 1:
            return self._sites.default  # nothing to look for: what it answers is the answer
        if not possible(form_of(resource), ident):
            raise not_found(resource, ident)
        known = await self.recorded(resource, ident)
        if known is not None:
            if not self._reach.reaches(call, known):
                raise not_found(resource, ident)
            return known
        if resource == SERVER:
            await self._refuse_alias(call, ident)
        return await self._search(call, resource, ident)

    async def _refuse_alias(self, call: Call, ident: str) -> None:
        """Search for no id that the database knows for an alias.

        Raises AliasLearnt, Conflict for that of a server that no site has yet where another thing names it.
        """
        aliases = self._equivalents.aliases
        if ident in aliases.now.accepted:
            raise Conflict(
                f"The server {ident} is not at any site yet. Try again when it is ACTIVE.",
                resource=SERVER,
                id=ident,
            )
        project = call.caller.project_id
        if call.servers is not None and call.servers.means(ident, project) != aliases.now.means(
            ident, project
        ):
            raise AliasLearnt(ident)
        if aliases.now.means(ident, project) is None and await aliases.learnt(ident, project):
            raise AliasLearnt(ident)

    async def recorded(self, resource: str, ident: str) -> Site | None:
        """The site that this process or the location table knows."""
        site = self.cached(resource, ident)
        if site is not None:
            return site
        location = await self._locations.find(resource, ident)
        if location is None:
            return None
        site = self._sites.by_name.get(location.site)
        if site is not None and self.hidden(resource, ident, site):
            self._locations.evict(resource, ident)
            return None
        return site

    def hidden(self, resource: str, ident: str, site: Site) -> bool:
        """Whether what a site has under an id is a server that was moved from there: it is not shown."""
        return resource == SERVER and self._equivalents.aliases.now.hides(site.name, ident)

    def refuse_conflict(self, resource: str, ident: str) -> None:
        """Raise Conflict for an id that several sites claim: a write must not hit one of them by chance."""
        sites = self._locations.conflicting(resource, ident)
        if sites:
            raise Conflict(
                f"The {_words(resource)} {ident} is at more than one site: {', '.join(sites)}. "
                "The operator has to decide which is meant.",
                resource=resource,
                id=ident,
                site=", ".join(sites),
            )

    async def _search(self, call: Call, resource: str, ident: str) -> Site:
        now = asyncio.get_running_loop().time()
        key = (call.caller.key, resource, ident)
        if self._nowhere.get(key, 0.0) > now:
            raise not_found(resource, ident)
        found, away = await self._ask_all(call, resource, ident)
        if found:
            sightings = [_sighting(resource, ident, name, answer.text) for name, answer in found.items()]
            self._locations.learn(sightings, "search")
            if len(found) > 1:
                await self._locations.flush()
            return self._sites.by_name[next(iter(found))]
        if away:
            raise missing(resource, ident, away)
        if len(self._nowhere) >= NEGATIVE_ENTRIES:
            self._nowhere.clear()
        self._nowhere[key] = now + NEGATIVE_SECONDS
        raise not_found(resource, ident)

    async def _ask_all(
        self, call: Call, resource: str, ident: str
    ) -> tuple[dict[str, SiteAnswer], dict[str, str]]:
        """The sites that have a thing with their answers, and the sites that could not say, with reasons."""
        service_type, target = show_target(call, resource, ident)
        every = self._reach.sites(call, service_type)
        sites = [site for site in every if not self.hidden(resource, ident, site)]
        self._limiter.take(call.caller.project_id, asyncio.get_running_loop().time())
        gathered = await scatter(
            {
                site.name: self._forward.ask(
                    call, self._reach.endpoint(site, call, service_type), b"GET", target, why="search"
                )
                for site in sites
            }
        )
        found = {}
        away = gathered.missing()
        for name, answer in gathered.answered.items():
            if answer.status == 200:
                if shows(resource, ident, answer.text):
                    found[name] = answer
                else:
                    away[name] = f"it answered what is not that {_words(resource)}"
            elif answer.status not in {400, 404, 410}:
                away[name] = f"it answered {answer.status}"
        return found, away

    async def anywhere(self, call: Call, resource: str, ident: str) -> bool:
        """Whether a site has a thing, asked of all now.

        Raises SiteUnavailable when one that might have it did not answer.
        """
        found, away = await self._ask_all(call, resource, ident)
        if away and not found:
            raise missing(resource, ident, away)
        return bool(found)

    async def having(self, call: Call, resource: str, ident: str, *, perhaps: bool = False) -> frozenset[str]:
        """The names of the sites that have a shared thing, or the one of a placed thing.

        With `perhaps` also those that did not answer when others had it. An empty answer means that every
        site was asked. Raises SiteUnavailable when no site that answered has it and another did not answer.
        """
        if len(self._sites) == 1:
            return frozenset(self._sites.by_name)
        await self._equivalents.current(call, resource)
        # The id that lists show stands for all of them; another one is a site's own, and means it.
        if (ids := self._equivalents.ids(call, resource, ident)) is not None:
            # What could not be looked at may have it too.
            return frozenset(ids).union(self._equivalents.not_looked(call, resource) if perhaps else ())
        if resource not in SHARED:
            try:
                return frozenset({(await self.site_of(call, resource, ident)).name})
            except NotFound:
                return frozenset()
        key = (call.caller.key, resource, ident)
        now = asyncio.get_running_loop().time()
        known = self._lately(key, now)
        if known is None:
            found, away = await self._ask_all(call, resource, ident)
            if resource in {"image", "keypair"} and len(found) > 1:
                # Two images with one id, two keys of one name, need not be one.
                shown = [(name, answer.text) for name, answer in found.items()]
                await self._equivalents.passed(call, resource, shown)
                if (ids := self._equivalents.ids(call, resource, ident)) is not None:
                    return frozenset(ids)
            known = _Presence(
                frozenset(found), frozenset(away), now + (PRESENCE_SECONDS if not away else 1.0)
            )
            if found:
                self._presence[key] = known
        if not known.sites and known.away:
            raise missing(resource, ident, dict.fromkeys(known.away, "it did not answer"))
        return known.sites | known.away if perhaps else known.sites

    def seen(self, caller: Caller, resource: str, ident: str, now: float) -> frozenset[str]:
        """The names of the sites that showed a shared thing to a caller a moment ago; none: not known."""
        known = self._lately((caller.key, resource, ident), now)
        return known.sites if known is not None else frozenset()

    def _lately(self, key: NegativeKey, now: float) -> _Presence | None:
        known = self._presence.get(key)
        return known if known is not None and known.until >= now else None

    async def named(self, call: Call, resource: str, name: str, *, by: str = "name") -> frozenset[str]:
        """The sites where a thing of that name (or that `by`) is, for the few bodies that name so.

        Raises SiteUnavailable when none of those that answered has it and another did not answer.
        """
        if len(self._sites) == 1:
            return frozenset(self._sites.by_name)
        service = SERVICES[HOMES[resource]]
        one = service.by_name[resource]
        target = f"/{service.versions[0]}/{one.path}?{by}={quote(name, safe='')}&fields=id".encode()
        self._limiter.take(call.caller.project_id, asyncio.get_running_loop().time())
        gathered = await scatter(
            {
                site.name: self._forward.ask(
                    call,
                    self._reach.endpoint(site, call, service.service_type),
                    b"GET",
                    target,
                    why="search",
                )
                for site in self._reach.sites(call, service.service_type)
            }
        )
        found = frozenset(
            site
            for site, answer in gathered.answered.items()
            if answer.status == 200 and _count(site, answer, one.plural)
        )
        if not found and (away := gathered.missing()):
            raise missing(resource, name, away)
        return found

    def sites_changed(self) -> None:
        """Sites have come or gone: what was nowhere, or not everywhere, may be there now."""
        self._nowhere.clear()
        self._presence.clear()

    def created(self, resource: str, ident: str) -> None:
        """Something new is there: what was said to be nowhere may be it."""
        self._nowhere.clear()
        self.stale(resource, ident)

    def stale(self, resource: str, ident: str) -> None:
        """Where a shared thing is may be another now."""
        self._equivalents.stale(resource)
        for key in [key for key in self._presence if key[1:] == (resource, ident)]:
            del self._presence[key]

    def gone(self, resource: str, ident: str) -> None:
        """A shared thing was deleted."""
        self.created(resource, ident)


SHARED = frozenset({"image", "flavor", "keypair", "volume_type"})


def show_target(call: Call, resource: str, ident: str) -> tuple[str, bytes]:
    """(service type, path) that shows a resource at a site."""
    service = SERVICES[HOMES[resource]]
    one = service.by_name[resource]
    project = f"/{call.caller.project_id}" if service.service_type == "block-storage" else ""
    version = f"/{service.versions[0]}" if service.versions else ""
    path = f"{version}{project}/{one.path}/{quote(ident, safe='')}"
    return service.service_type, path.encode()


def _sighting(resource: str, ident: str, site: str, text: bytes) -> Sighting:
    """A thing that was found, with what it says of its making; the text is what `shows` has passed."""
    content = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    shown = content.get(SERVICES[HOMES[resource]].by_name[resource].envelope, text)
    project, made = made_by(shown)
    return Sighting(resource_type=resource, id=ident, site=site, project_id=project, created_at=made)


def shows(resource: str, ident: str, text: bytes) -> bool:
    """Whether an answer shows the very thing that was asked for: some member of it is the id (or the name).

    A wrong endpoint answers 200 too: with a web page, a version document, somebody else's resource.
    """
    one = SERVICES[HOMES[resource]].by_name[resource]
    try:
        content = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    shown = content.get(one.envelope, content)
    if not isinstance(shown, dict):
        return False
    # Ids are taken with and without dashes, in either case.
    wanted = ident.replace("-", "").lower()
    # Barbican's have no id but their URL.
    return any(
        str(value).rpartition("/" if key.endswith("_ref") else "\0")[2].replace("-", "").lower() == wanted
        for key, value in shown.items()
        if isinstance(value, str | int)
    )


def _count(site: str, answer: SiteAnswer, plural: str) -> int:
    try:
        return len(msgspec.json.decode(answer.text, type=dict[str, list[msgspec.Raw]]).get(plural, ()))
    except msgspec.DecodeError as error:
        raise BadSiteAnswer(f"The site {site} answered what is not a list.", site=site) from error


def _words(resource: str) -> str:
    return resource.replace("_", " ")


def not_found(resource: str, ident: str) -> NotFound:
    """What to raise for a thing that is nowhere."""
    return NotFound(
        f"{_words(resource).capitalize()} {ident} could not be found.", resource=resource, id=ident
    )


def missing(resource: str, ident: str, away: dict[str, str]) -> SiteUnavailable:
    """What to raise for a thing that may be at a site that did not answer."""
    sites = ", ".join(away)
    return SiteUnavailable(
        f"The {_words(resource)} {ident} is at none of the sites that answered; these did not: {sites}.",
        resource=resource,
        id=ident,
        site=sites,
        retry_after=5,
    )
