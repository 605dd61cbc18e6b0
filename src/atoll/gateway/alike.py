"""Names that mean the same at every site: traits, resource classes.

GET                 the first site that has it
PUT POST DELETE     every site, undone where one refuses
"""

from collections.abc import Mapping
from urllib.parse import quote

from atoll.core.errors import NotImplementedHere
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.everywhere import Change, Everywhere, Step
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.parts import Parts
from atoll.sites.site import Site


class Alike:
    """Reads and changes names of all sites."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._everywhere = Everywhere(parts)

    async def handle(self, call: Call) -> None:
        """Answer for all sites."""
        parts, method = self._parts, call.request.method
        sites = parts.reach.sites(call)
        if len(sites) == 1:
            endpoint = parts.endpoint(sites[0], call)
            await parts.forward.pass_on(call, endpoint, await parts.forward.send(call, endpoint))
            return
        if method in {b"GET", b"HEAD"}:
            await self._read(call, sites)
            return
        if method not in {b"PUT", b"POST", b"DELETE"}:
            raise NotImplementedHere(f"{method.decode('latin-1')} of this is not known for several sites.")
        body = await call.read_body(parts.body_limit) if call.request.has_body else None
        path = call.path
        if method == b"POST":
            name = str((bodies.decoded(body or b"") or {}).get("name", ""))
            path = call.path.rstrip(b"/") + b"/" + quote(name, safe="").encode()
        there = await self._there(call, sites, path)
        changes = [self._change(call, site, path, body, has=there[site.name]) for site in sites]
        wanted = [one for one in changes if there[one.site.name] == (method == b"DELETE")]
        # What is so everywhere already, the first site says.
        answers = await self._everywhere.carry_out(call, path.decode("latin-1"), wanted or changes[:1])
        name, answer = next(iter(answers.items()))
        parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), answer)

    async def _read(self, call: Call, sites: list[Site]) -> None:
        gathered = await scatter({site.name: self._ask(call, site, call.path) for site in sites})
        if not gathered.answered:
            raise none_answered("it", gathered.failed)
        have = {name: one for name, one in gathered.answered.items() if one.status != 404}
        if not have and gathered.failed:
            raise none_answered("it", gathered.failed)
        name, answer = next(iter((have or gathered.answered).items()))
        self._parts.forward.answer(call, self._parts.endpoint(self._parts.sites.by_name[name], call), answer)

    async def _there(self, call: Call, sites: list[Site], path: bytes) -> Mapping[str, bool]:
        """Which sites have the name. Raises SiteUnavailable where one does not say."""
        gathered = await scatter({site.name: self._ask(call, site, path) for site in sites})
        if gathered.failed:
            raise none_answered("that", gathered.failed)
        return {name: answer.status < 300 for name, answer in gathered.answered.items()}

    async def _ask(self, call: Call, site: Site, path: bytes) -> SiteAnswer:
        query = b"?" + call.request.query if call.request.query else b""
        return await self._parts.forward.ask(call, self._parts.endpoint(site, call), b"GET", path + query)

    @staticmethod
    def _change(call: Call, site: Site, path: bytes, body: bytes | None, *, has: bool) -> Change:
        """The request at one site, and what takes it back."""
        undo = Step(method=b"PUT" if has else b"DELETE", target=path, restored=frozenset({404}))
        return Change(
            site=site,
            method=call.request.method,
            target=call.path,
            body=body if body is not None or call.request.method == b"DELETE" else b"",
            undo=(undo,),
            look=path,
        )
