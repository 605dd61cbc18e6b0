"""Things of several sites that are one to users: kept up to date with what sites show.

What callers are shown passes by and is compared; beside that each site's public flavors and images are looked
at with the token of whoever asks next, when the last look is `FRESH_SECONDS` old. What makes things one is
in `atoll.same`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import msgspec
import structlog

from atoll.core.errors import AtollError, BadSiteAnswer
from atoll.core.image_sites import PROPERTY, where
from atoll.gateway import bodies, queries
from atoll.gateway.aliases import Aliases
from atoll.gateway.call import Call
from atoll.gateway.default_groups import GROUP, DefaultGroups
from atoll.gateway.fanout import scatter
from atoll.gateway.forward import Forward
from atoll.gateway.items import COPY
from atoll.gateway.looks import AGAIN_SECONDS, ImageLooks, fresh_for
from atoll.gateway.reach import Reach
from atoll.inventory.records import KINDS as SITES
from atoll.same import by_name, compare
from atoll.same.compare import Seen, Thing, compared
from atoll.same.places import Translate
from atoll.same.records import SameRecord
from atoll.same.table import NOWHERE, Table, Who, ids_of
from atoll.services.catalog import HOMES, SERVICES, resource_named
from atoll.services.table import Ref
from atoll.sites.site import Endpoint, Site, Sites
from atoll.store import Ledger, Locations, Registry, StoreError

log = structlog.get_logger()

LOOK_SECONDS: Final = 5.0
"""How long a site may take to show what it has."""

MANY: Final = 500
"""Things that take a few milliseconds to compare: of more, others are answered meanwhile."""

PAGES: Final = 20
"""Pages of a thousand that are read of a site: 20,000 public images."""

SPECS: Final = 200
"""Flavors whose extra specs are asked for one by one, at a site too old to list them (before 2.61)."""

FOUND: Final = frozenset({"flavor", "image"}) | compare.BY_NAME
"""Types that are looked at; keypairs are compared as they pass by."""

_SPECS_LISTED: Final = (2, 61)


class Equivalents:
    """What is one thing, now."""

    def __init__(
        self,
        registry: Registry,
        sites: Sites,
        reach: Reach,
        forward: Forward,
        locations: Locations,
        aliases: Aliases,
        configured: Sequence[SameRecord] = (),
    ) -> None:
        self._registry = registry
        self._sites = sites
        self._reach = reach
        self._forward = forward
        self._locations = locations
        self.aliases = aliases
        self.configured = tuple(configured)
        self._due: dict[tuple[str, str], float] = {}  # (type, site) -> when to look next, loop time
        self._counts: dict[tuple[str, str], int] = {}  # (type, site) -> things seen then
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._sought: dict[str, float] = {}  # type -> when a name that nothing had was last looked for
        self._meanings: dict[str, dict[str, dict[str, by_name.Meaning]]] = {}  # type -> site -> name
        self.defaults = DefaultGroups(sites, reach, forward)
        self.images = ImageLooks()
        registry.on_change((SameRecord, *SITES), self._rebuild)
        registry.on_change(SITES, self.defaults.forget)
        self._rebuild()

    def _rebuild(self) -> None:
        for site in self._sites:  # some may have joined
            for endpoint in site.endpoints.values():
                endpoint.same = endpoint.same or partial(self.outward, endpoint)
        self.table = Table((*self.configured, *self._registry.all(SameRecord).values()))

    async def close(self) -> None:
        """End looks that are under way."""
        await self.defaults.close()
        await self.images.close()
        for task in self._looks.values():
            task.cancel()
        await asyncio.gather(*self._looks.values(), return_exceptions=True)

    # -- what is whose ----------------------------------------------------------------------------

    def seen(self, call: Call) -> Table:
        """What is one thing to a call: while it reads a list nothing changes that."""
        return self.table if call.table is None else call.table

    def group(self, call: Call, resource: str, ident: str) -> SameRecord | None:
        """What a caller means by an id."""
        return self.defaults.named(call, resource, ident) or self.seen(call).group(resource, ident, who(call))

    def ids(self, call: Call, resource: str, ident: str) -> dict[str, str] | None:
        """The reached sites that an id stands for with the id at each; None: it stands for itself."""
        group = self.group(call, resource, ident)
        if group is None:
            return None
        # Any of a default group's ids means all of them.
        found = group.ids if self.defaults.named(call, resource, ident) else ids_of(group, ident)
        sites = self._reach.sites(call, HOMES[resource])
        return {site.name: found[site.name] for site in sites if site.name in found}

    async def having(self, call: Call, resource: str, ident: str) -> frozenset[str]:
        """The sites that have, or may have, what goes by its name, by that or an id; empty: none."""
        await self.current(call, resource)
        known = self._known(call, resource, ident)
        now = self._forward.now()
        if not known and self._sought.get(resource, 0.0) < now - AGAIN_SECONDS:
            # It may have been made at a site just now.
            self._sought[resource] = now
            await self.current(call, resource, anew=True)
            known = self._known(call, resource, ident)
        return frozenset(known).union(self.not_looked(call, resource)) if known else frozenset()

    def _known(self, call: Call, resource: str, ident: str) -> dict[str, str] | None:
        """The reached sites that have what goes by its name, by that or an id."""
        return self.ids(call, resource, ident) or self.ids(
            call, resource, self.seen(call).named(resource, ident)
        )

    def at(self, call: Call, resource: str, ident: str, site: str) -> str:
        """The id that a site has for what a caller names; one that nothing has where it lacks the thing."""
        default = self.defaults.named(call, resource, ident)
        here = default.ids.get(site) if default else self.seen(call).at(resource, ident, site, who(call))
        return NOWHERE if here is None else here

    def body_at(self, call: Call, text: bytes, refs: Sequence[Ref], site: str) -> bytes:
        """A request's body with the ids that a site has."""
        if not self.seen(call) and not self.defaults:
            return text
        return bodies.with_ids(text, refs, lambda resource, ident: self.at(call, resource, ident, site))

    def query_at(self, call: Call, resource: str, query: bytes, site: str) -> bytes:
        """The query of a list of a type with the ids that a site has."""
        if not query or not (self.seen(call) or self.defaults):
            return query
        return queries.with_ids(
            call.service_type, resource, query, lambda kind, ident: self.at(call, kind, ident, site)
        )

    def is_another(self, call: Call, resource: str, ident: str, site: str) -> bool:
        """Whether a site's own thing under an id is not what a caller means by it."""
        if resource == "keypair":
            group = self.group(call, resource, ident)
            return group is not None and any(one.site == site for one in group.foreign)
        if self.seen(call).is_hidden(resource, site, ident):
            return True
        here, meant = (
            self.seen(call).of_site(resource, site, ident, who(call)),
            self.group(call, resource, ident),
        )
        if here is None or here == meant:
            return False
        # A flavor of the same id and name that has drifted is still meant where it is changed or deleted.
        return meant is None or here.name != meant.name

    def meaning(self, call: Call, resource: str, ident: str) -> tuple[str, dict[str, by_name.Meaning]]:
        """The name of what goes by it, and what it means at each reached site that has it, as last looked."""
        group = self.group(call, resource, ident) or self.group(
            call, resource, self.seen(call).named(resource, ident)
        )
        name = group.name if group is not None else ident
        there, sites = self._meanings.get(resource, {}), self._reach.sites(call, HOMES[resource])
        return name, {one.name: there[one.name][name] for one in sites if name in there.get(one.name, ())}

    def unlike(self, call: Call, resource: str) -> dict[str, dict[str, dict[str, str]]]:
        """What of a type means different things at the reached sites: by name, as `by_name.unlike` has it."""
        names = {name: None for one in self._meanings.get(resource, {}).values() for name in one}
        found = {name: by_name.unlike(self.meaning(call, resource, name)[1]) for name in names}
        return {name: differences for name, differences in found.items() if differences}

    def copy_of(self, call: Call, site: str, ident: str) -> str | None:
        """What tells copies of an image; None: it is nobody's copy.

        What goes by the id of another's image is like what is not shown.
        """
        group = self.of_site(call, "image", site, ident)
        shown = ident if group is None else group.id
        if shown == ident and self.is_another(call, "image", ident, site):
            return COPY
        return shown if group is not None or ident in self.seen(call).copies else None

    def copies(self, call: Call, idents: Sequence[str]) -> dict[int, dict[str, str]]:
        """Which of some images several sites have under one id: by place, what they say of that."""
        copies = self.seen(call).copies
        found: dict[int, dict[str, str]] = {}
        for at, ident in enumerate(idents) if copies else ():
            for one in copies.get(ident, ()):
                everywhere = [site.name for site in self._reach.sites(call, HOMES["image"])]
                names = [name for name in everywhere if one.ids.get(name) == ident]
                if len(names) > 1 and who(call).sees(one.scope):
                    found[at] = {PROPERTY: where(names, everywhere)}
        return found

    def shown(self, call: Call, resource: str, site: str, ident: str) -> str:
        """The id that a caller sees for a site's own."""
        group = self.of_site(call, resource, site, ident)
        return ident if group is None else group.id

    def of_site(self, call: Call, resource: str, site: str, ident: str) -> SameRecord | None:
        """What a site's own id is to a caller; None: nothing but itself."""
        default = self.defaults.named(call, resource, ident)
        return default or self.seen(call).of_site(resource, site, ident, who(call))

    def has(self, call: Call, resource: str) -> bool:
        """Whether anything of a type is one thing to a caller."""
        default = resource == GROUP and self.defaults.of(call.caller.project_id) is not None
        return default or self.seen(call).has(resource)

    def outward(self, endpoint: Endpoint, project_id: str, call: Call | None) -> Translate | None:
        """What changes the ids in an endpoint's answers; None where nothing does."""
        table = self.table if call is None else self.seen(call)
        first = table.outward(endpoint.site, endpoint.service_type, project_id)
        servers = self.aliases.now if call is None or call.servers is None else call.servers
        if servers.known:
            first = _both(first, servers.outward(endpoint.site, endpoint.service_type, project_id))
        if endpoint.service_type != "network" or not self.defaults:
            return first
        return _both(first, self.defaults.outward(endpoint.site, project_id))

    # -- keeping up -------------------------------------------------------------------------------

    def stale(self, resource: str) -> None:
        """Something of a type was made, changed or deleted: it is looked at anew when it is next used."""
        for key in [key for key in self._due if key[0] == resource]:
            del self._due[key]

    async def current(self, call: Call, resource: str, *, anew: bool = False) -> None:
        """Look at what sites have, where the last look is old; waits where there was none, or for `anew`."""
        if resource == GROUP:
            await self.defaults.look(call)
        sites = self._reach.sites(call, HOMES[resource])
        if not self._looks_at(call, resource) or len(sites) < 2 or call.caller.rules is not None:
            return
        now = self._forward.now()
        if anew:
            self.stale(resource)
        old = [one for one in sites if self._due.get((resource, one.name), 0.0) < now]
        if not old:
            return
        first = any((resource, one.name) not in self._due for one in old)
        task = self._looks.get(resource)
        if task is None or task.done():
            task = asyncio.get_running_loop().create_task(self._look(call, resource, old))
            task.add_done_callback(_told)
            self._looks[resource] = task
        if first:
            await asyncio.wait({task})

    def not_looked(self, call: Call, resource: str) -> list[str]:
        """The sites that could not be looked at the last time."""
        if not self._looks_at(call, resource):
            return []
        soon = self._forward.now() + AGAIN_SECONDS
        return [
            one.name
            for one in self._reach.sites(call, HOMES[resource])
            if self._due.get((resource, one.name), 0.0) <= soon
        ]

    @staticmethod
    def _looks_at(call: Call, resource: str) -> bool:
        """Whether what sites have of a type is shown to a caller at all."""
        return resource in FOUND and (resource != "qos_spec" or call.caller.is_admin)

    async def _look(self, call: Call, resource: str, sites: Sequence[Site]) -> None:
        """Compare all that is public at some sites."""
        aside = call.aside(self._forward.now() + LOOK_SECONDS, versioned=False)
        aside.as_admin = resource == "qos_spec"  # which nobody else is shown
        ways = {"flavor": self._flavors, "image": self._images}
        ask: Callable[[Call, Site], Awaitable[list[Thing]]] = partial(self._named, resource)
        ask = ways.get(resource, ask)
        gathered = await scatter({one.name: ask(aside, one) for one in sites})
        for name, found in gathered.answered.items():
            self._counts[resource, name] = len(found)
        fresh = fresh_for(sum(count for (kind, _), count in self._counts.items() if kind == resource))
        now = self._forward.now()
        for one in sites:
            self._due[resource, one.name] = now + (fresh if one.name in gathered.answered else AGAIN_SECONDS)
        things = [thing for found in gathered.answered.values() for thing in found]
        scope = "public" if resource == "image" else ""
        # Of types that some projects only are shown a member does not see all.
        whole = [one.name for one in sites if resource not in compare.BY_NAME or self._sees_all(call, one)]
        await self.observe(resource, things, {(name, scope) for name in whole if name in gathered.answered})

    @staticmethod
    def _sees_all(call: Call, site: Site) -> bool:
        return site.cloud is None and call.caller.is_admin

    async def _flavors(self, call: Call, site: Site) -> list[Thing]:
        endpoint = self._reach.endpoint(site, call, "compute")
        newest = endpoint.versions[1] if endpoint.versions is not None else _SPECS_LISTED
        version = b"%d.%d" % min(newest, _SPECS_LISTED)
        asked = call.aside(call.deadline)
        asked.request.index = {b"x-openstack-nova-api-version": version}
        items = await self._pages(asked, endpoint, b"/v2.1/flavors/detail?limit=1000", "flavors")
        if newest < _SPECS_LISTED:
            for item in items[:SPECS]:
                item["extra_specs"] = await self._specs(asked, endpoint, str(item.get("id")))
        return [one for item in items if (one := compare.flavor(site.name, item)) is not None]

    async def _specs(self, call: Call, endpoint: Endpoint, ident: str) -> Any:
        target = f"/v2.1/flavors/{quote(ident, safe='')}/os-extra_specs".encode()
        answer = await self._forward.ask(call, endpoint, b"GET", target, why="same")
        return _read(endpoint, answer.status, answer.text).get("extra_specs")

    async def _images(self, call: Call, site: Site) -> list[Thing]:
        endpoint = self._reach.endpoint(site, call, "image")
        items = []
        for hidden in (b"false", b"true"):
            target = b"/v2/images?visibility=public&os_hidden=%b&limit=1000" % hidden
            items += await self._pages(call, endpoint, target, "images")
        return [one for item in items if (one := self._image(site.name, item)) is not None]

    async def _named(self, resource: str, call: Call, site: Site) -> list[Thing]:
        one = resource_named(resource)
        service = SERVICES[HOMES[resource]]
        asked = call.aside(call.deadline)
        # Before that version Cinder has no group types.
        asked.request.index = {b"openstack-api-version": b"volume 3.11"}
        query = "" if resource == "qos_spec" else "?is_public=None"
        target = f"/{service.versions[0]}/{call.caller.project_id}/{one.path}{query}".encode()
        endpoint = self._reach.endpoint(site, call, service.service_type)
        answer = await self._forward.ask(asked, endpoint, b"GET", target, why="same")
        items = _read(endpoint, answer.status, answer.text).get(one.plural)
        if not isinstance(items, list):
            raise BadSiteAnswer(f"The site {site.name} answered what are no {one.plural}.", site=site.name)
        self._meanings.setdefault(resource, {})[site.name] = by_name.meanings(resource, items)
        found = (compare.by_name(site.name, item) for item in items if isinstance(item, dict))
        return [thing for thing in found if thing is not None]

    def _image(self, site: str, item: dict[str, Any]) -> Thing | None:
        return compare.image(site, item, ours=self._sites.by_name[site].cloud is None)

    async def _pages(
        self, call: Call, endpoint: Endpoint, target: bytes, plural: str
    ) -> list[dict[str, Any]]:
        """A whole list of a site. Raises what `Forward.ask` raises, BadSiteAnswer for anything but a list."""
        found: list[dict[str, Any]] = []
        marker = b""
        for _ in range(PAGES):
            answer = await self._forward.ask(call, endpoint, b"GET", target + marker, why="same")
            content = _read(endpoint, answer.status, answer.text)
            items = content.get(plural)
            if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
                raise BadSiteAnswer(
                    f"The site {endpoint.site} answered what are no {plural}.", site=endpoint.site
                )
            found += items
            if not items or not (content.get("next") or content.get(f"{plural}_links")):
                return found
            marker = b"&marker=" + quote(str(items[-1].get("id"))).encode()
        raise BadSiteAnswer(f"The site {endpoint.site} has too many {plural} to compare.", site=endpoint.site)

    async def observe(
        self, resource: str, things: Sequence[Thing], whole: Collection[tuple[str, str]] = ()
    ) -> None:
        """Take in what sites showed; `whole` as in `Seen`."""
        seen = await self._seen(resource, things, whole)
        records = self.table.records
        if len(things) < MANY:
            puts, drops = compared(records, seen)
        else:
            puts, drops = await asyncio.to_thread(compared, records, seen)
        if not puts and not drops:
            return

        def work(ledger: Ledger) -> tuple[list[SameRecord], list[str]]:
            # Another gateway may have seen it first: its ids stay.
            changes = compared((*self.configured, *ledger.all(SameRecord).values()), seen)
            for one in changes[0]:
                ledger.put(one)
            for key in changes[1]:
                ledger.drop(SameRecord, key)
            return changes

        try:
            puts, drops = await self._registry.change(work)
        except StoreError as error:
            log.warning("same_not_kept", reason=str(error)[:256])
            kept = {one.key: one for one in self.table.records if one.key not in drops}
            self.table = Table({**kept, **{one.key: one for one in puts}}.values())
        for one in puts:
            hidden = [f"{other.id}@{other.site}" for other in one.foreign]
            log.info("same_found", resource=resource, id=one.id, ids=dict(one.ids), hidden=hidden)

    async def made(self, resource: str, texts: Mapping[str, bytes]) -> None:
        """Take in what a create made at each site: under an id of each site's own, or an image under one."""
        if resource == "image":
            items = [(site, bodies.decoded(text) or {}) for site, text in texts.items()]
            made = [self._image(site, item) for site, item in items]
            await self.observe(resource, [one for one in made if one is not None])
        if resource in compare.BY_NAME:
            shown = {site: next(iter(msgspec.json.decode(text).values())) for site, text in texts.items()}
            things = [compare.by_name(site, item) for site, item in shown.items() if isinstance(item, dict)]
            await self.observe(resource, [one for one in things if one is not None])

    async def _seen(self, resource: str, things: Sequence[Thing], whole: Collection[tuple[str, str]]) -> Seen:
        """What was seen, with the sites that are on record for ids that several claim."""
        claims: dict[str, Thing] = {}
        first: dict[str, str] = {}
        for one in things if resource == "image" else ():
            if claims.setdefault(one.id, one).identity != one.identity and one.id not in first:
                try:
                    location = await self._locations.find(resource, one.id)
                except StoreError:
                    continue
                if location is not None:
                    first[one.id] = location.site
        return Seen(
            resource=resource, things=things, whole=whole, order=list(self._sites.by_name),
            now=time.time(), first=first.get,
        )  # fmt: skip

    async def passed(
        self, call: Call, resource: str, shown: Iterable[tuple[str, bytes]], *, sites: Collection[str] = ()
    ) -> None:
        """Take in items of a list that passed by, each with its site; of `sites` it is all they have."""
        if resource == "keypair" and b"user_id" in call.request.query:
            return  # somebody else's: of those of the same names nothing follows for the caller's own
        things = []
        for at, (site, raw) in enumerate(shown):
            if at % MANY == MANY - 1:
                await asyncio.sleep(0)  # others have their turn
            item = msgspec.json.decode(raw)
            one = (
                compare.keypair(site, item, call.caller.user_id)
                if resource == "keypair"
                else self._image(site, item)
            )
            if one is not None:
                things.append(one)
        mine = f"user:{call.caller.user_id}" if resource == "keypair" else f"project:{call.caller.project_id}"
        await self.observe(resource, things, {(site, mine) for site in sites})


def _both(first: Translate | None, second: Translate | None) -> Translate | None:
    """The one change after the other."""
    if first is None or second is None:
        return first or second
    return lambda text: second(first(text))


def at_site(call: Call, here: str) -> bytes:
    """The path of a call with a site's id in the place of the client's."""
    assert call.service is not None and call.match.route is not None  # noqa: S101, PT018 - matched before
    one = call.service.by_name[call.match.route.resource]
    before, collection, after = call.path.partition(f"/{one.path}/".encode())
    return before + collection + quote(here, safe="").encode() + after[len(call.match.id) :]


def who(call: Call) -> Who:
    """The caller, as far as it decides what is one thing."""
    return Who(call.caller.project_id, call.caller.user_id)


def _read(endpoint: Endpoint, status: int, text: bytes) -> dict[str, Any]:
    if status == 200:
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError:
            status = 0
    said = f"it answered {status}" if status else "its answer is not JSON"
    raise BadSiteAnswer(f"The site {endpoint.site} could not be compared: {said}.", site=endpoint.site)


def _told(task: asyncio.Task[None]) -> None:
    """A look that went wrong is told: nobody may be waiting for it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        level = log.warning if isinstance(error, AtollError) else log.error
        level("same_not_compared", reason=str(error)[:256], exc_info=error)
