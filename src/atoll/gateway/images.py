"""Images whose bytes are at several sites, under one id: made, shown, and what may not be asked of them.

    POST   /v2/images               `atoll_sites` in the body says where: `one`, `all`, or names of sites
    GET    /v2/images/{id}          every site of it is asked; `atoll_sites` and `atoll_sites_status` tell
    GET    /v2/images/{id}/tasks    what each of its sites did with it
    PATCH  /v2/images/{id}          refused where it would move the bytes
    POST   /v2/images/{id}/import   refused where each site would fetch bytes of its own

Nothing of this is kept: a site that has the image under the id is a site of it. Uploads are in
`image_uploads`.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from atoll.core.errors import AtollError, BadRequest, Conflict, Forbidden, SiteUnavailable
from atoll.core.image_inverses import operations
from atoll.core.image_sites import ALL, PROPERTY, STATUS, together, where, with_properties
from atoll.core.spans import member, splice
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.equivalents import at_site
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer, rewrite
from atoll.gateway.partial import add_missing, allows_partial
from atoll.gateway.parts import Parts
from atoll.gateway.placed import Placed
from atoll.gateway.shared_changes import tail
from atoll.gateway.shared_creates import SharedCreates
from atoll.sites.site import Site
from atoll.store import Sighting

ONE, ON_DEMAND = "one", "on-demand"

# Import methods with which each site gets its bytes from elsewhere.
FETCHING: Final = frozenset({"web-download", "glance-download"})


class Images:
    """What images have that other shared things have not."""

    def __init__(self, parts: Parts, placed: Placed, creates: SharedCreates) -> None:
        self._parts = parts
        self._placed = placed
        self._creates = creates

    # -- create -----------------------------------------------------------------------------------

    async def create(self, call: Call, text: bytes, body: Mapping[str, Any] | None) -> None:
        """Make an image at the sites where its bytes are to be, under an id that is free at every site."""
        reached = self._parts.reach.sites(call)
        if PROPERTY not in (body or {}) and len(reached) == 1:
            await self._creates.create(call, text, reached)
            return
        if body is None:
            await self._placed.create_at_choice(call, text, None)
            return
        sites = self._wanted(call, body.get(PROPERTY, self._parts.config.placement.image_sites))
        if PROPERTY in body:
            text = _without(text, PROPERTY)
        given, ident = text, body.get("id")
        if not ident:
            rest = bool(body.keys() - {PROPERTY})
            made = b'"id": "%b"%b' % (str(uuid.uuid4()).encode(), b", " if rest else b"")
            text = splice(text, [((text.index(b"{") + 1,) * 2, made)])
        elif isinstance(ident, str) and await self._refused(call, text, ident):
            return
        if sites is None:
            await self._placed.create_at_choice(call, text, bodies.decoded(text))
            return
        self._parts.limiter.take(call.caller.project_id, self._parts.forward.now())
        await self._creates.create(call, given, sites, sent=text, answer=self._made)

    async def _refused(self, call: Call, text: bytes, ident: str) -> bool:
        """Whether a site that has the id already has refused in its own words: one id is one image."""
        parts = self._parts
        if len(parts.reach.sites(call)) == 1:
            return False
        having = await parts.locator.having(call, "image", ident)
        if having:
            endpoint = parts.endpoint(parts.sites.by_name[min(having)], call)
            answer = await parts.forward.send(call, endpoint, body=text)
            await parts.forward.pass_on(call, endpoint, answer)
        return bool(having)

    def _wanted(self, call: Call, said: object) -> Sequence[Site] | None:
        """The sites that a create names, None for one that Atoll chooses. Raises BadRequest, Conflict."""
        sites = self._parts.reach.sites(call)
        words = said.split(",") if isinstance(said, str) else []
        names = [one.strip() for one in words if one.strip()]
        if names in ([ONE], [ON_DEMAND]):
            return None
        if names == [ALL]:
            return [site for site in sites if site.state != "draining"] or sites[:1]
        if not names:
            raise BadRequest(f"{PROPERTY} is `one`, `all`, or names of sites with commas between.")
        meant = [self._site(name, sites) for name in names]
        for site in meant:
            if site.state == "draining":
                raise Conflict(f"The site {site.name} takes nothing new: it is draining.", site=site.name)
        return [site for site in sites if site in meant]

    def _site(self, name: str, sites: Sequence[Site]) -> Site:
        """The site of a name, its own or that of a zone of it. Raises BadRequest."""
        site = next((one for one in sites if one.name == name), None) or self._parts.sites.of_zone(name)
        if site is None or site not in sites:
            known = ", ".join(one.name for one in sites)
            raise BadRequest(
                f"{PROPERTY} names {name[:64]}, which is no site with images. There are: {known}."
            )
        return site

    async def _made(self, call: Call, made: Mapping[str, SiteAnswer]) -> None:
        """Answer a create with what the first site made, once it is known where it is."""
        parts = self._parts
        texts = {name: answer.text for name, answer in made.items()}
        ident = str((bodies.decoded(next(iter(texts.values()))) or {}).get("id"))
        call.made.append(ident)
        parts.locator.created("image", ident)
        if len(made) > 1:
            await parts.equivalents.made("image", texts)
        else:
            sighting = Sighting(
                resource_type="image", id=ident, site=next(iter(made)), project_id=call.caller.project_id
            )
            await parts.locations.created(sighting)
        self._answer(call, made, {})

    # -- show -------------------------------------------------------------------------------------

    def shows(self, call: Call, ident: str, ids: Mapping[str, str]) -> bool:
        """Whether a request shows an image that all of its sites have under this very id."""
        route = call.match.route
        if route is None or route.template != "images/{id}" or call.request.method != b"GET":
            return False
        # Nova shows images, too, in a form that has no place for more.
        return call.service_type == "image" and set(ids.values()) == {ident}

    async def show(self, call: Call, order: Sequence[Site], ident: str) -> None:
        """Show an image as all its sites have it.

        A public one is compared all the time: there the first site that answers tells of all, but for their
        status. Raises SiteUnavailable where no site shows it and one that may have it did not answer.
        """
        group = self._parts.equivalents.group(call, "image", ident)
        if group is not None and group.scope == "public":
            await self._show_public(call, order, ident)
            return
        self._parts.limiter.take(call.caller.project_id, self._parts.forward.now())
        gathered = await scatter({one.name: self._shown(call, one) for one in order})
        shown = {name: answer for name, answer in gathered.answered.items() if answer.status == 200}
        away = dict(gathered.failed)
        for name, answer in gathered.answered.items():
            if answer.status >= 500:
                away[name] = SiteUnavailable(f"The site {name} answered {answer.status}.", site=name)
        if not shown and away:
            raise none_answered(f"the image {ident}", away)
        if not shown:
            self._answer(call, dict(list(gathered.answered.items())[:1]), {})
            return
        if away:
            add_missing(call, {name: str(error) for name, error in away.items()})
        passed = [(name, one.text) for name, one in shown.items()]
        await self._parts.equivalents.passed(call, "image", passed)
        self._answer(call, shown, away)

    @staticmethod
    def lists_tasks(call: Call) -> bool:
        """Whether a request lists the tasks of one image."""
        of_images = call.service_type == "image" and call.match.route is not None
        return of_images and call.request.method == b"GET" and tail(call) == "tasks"

    async def show_tasks(self, call: Call, order: Sequence[Site], ids: Mapping[str, str]) -> None:
        """List an image's tasks at all of its sites (`ids` by site), one site's after the other's.

        Raises SiteUnavailable where a site does not answer, and the caller or the operator wants all or none.
        """
        parts = self._parts
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        query = b"?" + call.request.query if call.request.query else b""
        gathered = await scatter(
            {
                site.name: parts.forward.ask(
                    call, parts.endpoint(site, call), b"GET", at_site(call, ids[site.name]) + query
                )
                for site in order
            }
        )
        told, away = {}, dict(gathered.failed)
        for name, answer in gathered.answered.items():
            tasks = _tasks(rewrite(parts.endpoint(parts.sites.by_name[name], call), answer.text, call))
            if answer.status == 200 and tasks is not None:
                told[name] = tasks
            elif answer.status >= 500 or answer.status == 200:
                away[name] = SiteUnavailable(f"The site {name} answered {answer.status}.", site=name)
        if away and not (told and allows_partial(call, default=not parts.strict)):
            raise none_answered("the tasks of this image", away)
        if away:
            add_missing(call, {name: str(error) for name, error in away.items()})
        first = next(iter(told or gathered.answered))
        joined = [task for tasks in told.values() for task in tasks]
        text = msgspec.json.encode({"tasks": joined}) if told else None
        parts.forward.answer(
            call, parts.endpoint(parts.sites.by_name[first], call), gathered.answered[first], text
        )

    async def _show_public(self, call: Call, order: Sequence[Site], ident: str) -> None:
        away: dict[str, AtollError] = {}
        answer = None
        for site in order:
            try:
                answer = await self._shown(call, site)
            except SiteUnavailable as error:
                away[site.name] = error
                continue
            if answer.status == 200:
                endpoint = self._parts.endpoint(site, call)
                everywhere = [one.name for one in self._parts.reach.sites(call)]
                names = [one for one in everywhere if one in {had.name for had in order}]
                told = {PROPERTY: where(names, everywhere)}
                text = with_properties(rewrite(endpoint, answer.text, call), told)
                self._parts.forward.answer(call, endpoint, answer, text)
                return
        if answer is None or away:
            raise none_answered(f"the image {ident}", away)
        self._answer(call, {site.name: answer}, {})

    async def _shown(self, call: Call, site: Site) -> SiteAnswer:
        target = call.path + (b"?" + call.request.query if call.request.query else b"")
        return await self._parts.forward.ask(call, self._parts.endpoint(site, call), b"GET", target)

    def _answer(self, call: Call, shown: Mapping[str, SiteAnswer], away: Mapping[str, AtollError]) -> None:
        """Answer with what the first site shows, and what of it differs elsewhere."""
        parts = self._parts
        first, answer = next(iter(shown.items()))
        endpoint = parts.endpoint(parts.sites.by_name[first], call)
        text = rewrite(endpoint, answer.text, call)
        if len(shown) + len(away) > 1:
            everywhere = [site.name for site in parts.reach.sites(call)]
            text = together(text, {name: bodies.decoded(one.text) or {} for name, one in shown.items()},
                            away, everywhere)  # fmt: skip
        parts.forward.answer(call, endpoint, answer, text)

    # -- what is refused --------------------------------------------------------------------------

    async def check(self, call: Call, tail: str, names: Sequence[str]) -> None:
        """Refuse what would leave an image other at one of its sites (`names`) than at the others.

        A patch loses what says of the sites only what is so already. Raises Conflict, Forbidden.
        """
        method = call.request.method
        if not tail and method == b"PATCH":
            await self._check_patch(call, names)
        elif tail == "import" and method == b"POST" and len(names) > 1:
            text = await call.read_body(self._parts.body_limit)
            how = bodies.value_at(bodies.decoded(text) or {}, "method/name")
            if how in FETCHING:
                raise Conflict(
                    f"With {how} each site would fetch bytes of its own, and they need not be the same: this "
                    f"image is at {', '.join(names)}. Upload it instead (PUT file, or stage and "
                    f"glance-direct), or make it with {PROPERTY}=one.",
                    resource="image",
                )
        elif tail == "locations" and method == b"POST" and len(names) > 1:
            raise _location(names)

    async def _check_patch(self, call: Call, names: Sequence[str]) -> None:
        text = await call.read_body(self._parts.body_limit)
        several = len(names) > 1
        if PROPERTY.encode() not in text and not (several and b"locations" in text):
            return
        try:
            patch = msgspec.json.decode(text, type=list[msgspec.Raw])
            found = [operations([msgspec.json.decode(one)]) for one in patch]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # a site says what is wrong with it
        kept = []
        now = where(names, [site.name for site in self._parts.reach.sites(call)])
        for raw, one in zip(patch, found, strict=True):
            what, name, value = one[0] if one else ("", "", None)
            if name == STATUS:
                raise Forbidden(f"Attribute '{STATUS}' is read-only.")
            if name == "locations" and several:
                raise _location(names)
            if name != PROPERTY:
                kept.append(raw)
            elif what == "remove" or value != (now if several else ONE):
                raise Conflict(
                    f"Where the bytes of an image are is said when it is made, by {PROPERTY}; this one is at "
                    f"{', '.join(names)}. To have it elsewhere, download it and make another.",
                    resource="image",
                )
        if len(kept) < len(patch):
            call.text = msgspec.json.encode(kept)


def _tasks(text: bytes) -> list[msgspec.Raw] | None:
    """The tasks of an answer; None for what is none."""
    try:
        return msgspec.json.decode(text, type=dict[str, list[msgspec.Raw]]).get("tasks")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _location(names: Sequence[str]) -> Conflict:
    return Conflict(
        f"A location is a place in the store of one site, and this image is at {', '.join(names)}. Upload "
        f"its bytes, or make it with {PROPERTY}=one.",
        resource="image",
    )


def _without(text: bytes, key: str) -> bytes:
    """A body without a member, however often it is in it."""
    while (span := member(text, (key,))) is not None:
        text = splice(text, [(span, b"")])
    return text
