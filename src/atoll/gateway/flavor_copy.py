"""Making a flavor at a site as it is at another: `flavor.make@1`; `flavor.finish@1` when all have it.

What a run makes bears its mark in the description until the run is sure of all its sites, so that it never
takes back what somebody else made.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from atoll.gateway.asking import SiteAsker
from atoll.worker.actions import Action, Doing
from atoll.workflow.outcomes import Absent, Done, Failed, Refused, Unavailable

COMPUTE: Final = "compute"
VERSION: Final = "compute 2.61"
"""The first that shows extra specs; descriptions are there since 2.55."""

MARK: Final = "atoll run "

_SPECS: Final = (
    "name", "ram", "vcpus", "disk", "swap", "rxtx_factor", "OS-FLV-EXT-DATA:ephemeral",
    "os-flavor-access:is_public", "extra_specs",
)  # fmt: skip
_MADE_WITH: Final = tuple(one for one in _SPECS if one != "extra_specs")

Flavor = Mapping[str, Any]


class FlavorCopy:
    """The actions. The input: `flavor`, `source`; the step's site is where it is made."""

    def __init__(self, operator: SiteAsker) -> None:
        self._operator = operator

    def actions(self) -> list[Action]:
        """The actions, by their names."""
        return [
            Action(name="flavor.make@1", do=self.make, undo=self.unmake, verify=self.look, left=self.left),
            Action(name="flavor.finish@1", do=self.finish),
        ]

    async def make(self, doing: Doing) -> dict[str, Any]:
        """Make the flavor, unless it is there; {made}."""
        flavor = await self._source(doing)
        there = await self._show(doing, doing.site)
        if there is not None and not _marked(there, doing):
            if _specs(there) != _specs(flavor):
                raise Refused(f"{doing.site} has another flavor {flavor['id']}: {_differing(there, flavor)}")
            return {"made": False}
        if there is None:
            await self._created(doing, flavor)
        try:
            await self._completed(doing, flavor, there or {})
        except Refused as refused:
            raise Failed(str(refused)) from refused  # for `unmake`: it was made
        return {"made": True}

    async def unmake(self, doing: Doing) -> None:
        """Delete what this run made; by then the mark may be off it."""
        there = await self._show(doing, doing.site)
        made = doing.result is not None and doing.result["made"]
        if there is not None and (made or _marked(there, doing)):
            await self._changed(doing, "DELETE", f"/{_id(doing)}", None, 202, 404)

    async def left(self, doing: Doing) -> str:
        """The flavor, where this run made it."""
        there = await self._show(doing, doing.site)
        made = doing.result is not None and doing.result["made"]
        return f"flavor {_id(doing)}" if there is not None and (made or _marked(there, doing)) else ""

    async def look(self, doing: Doing) -> Done | Absent:
        """Look whether it was made whole."""
        there = await self._show(doing, doing.site)
        if there is None or not _marked(there, doing):
            return Absent()
        flavor = await self._source(doing)
        complete = _specs(there) == _specs(flavor) and await self._access(
            doing, doing.site, there
        ) >= await self._access(doing, doing.input["source"], flavor)
        return Done({"made": True}) if complete else Absent()

    async def finish(self, doing: Doing) -> None:
        """Take the mark off: the description is the source's."""
        if not doing.input["made"]:
            return
        flavor = await self._source(doing)
        body = {"flavor": {"description": flavor.get("description")}}
        await self._changed(doing, "PUT", f"/{_id(doing)}", body, 200)

    # -- what is there -------------------------------------------------------------------------------

    async def _ask(
        self, doing: Doing, site: str, method: str, path: str, body: object = None
    ) -> tuple[int, Any]:
        doing.check()
        return await self._operator.ask(site, COMPUTE, method, f"/v2.1/flavors{path}", body, version=VERSION)

    async def _show(self, doing: Doing, site: str) -> Flavor | None:
        status, answer = await self._ask(doing, site, "GET", f"/{_id(doing)}")
        if status == 404:
            return None
        if status != 200 or not isinstance(answer, Mapping):
            raise Unavailable(f"{site} answers {status} for the flavor {doing.input['flavor']}")
        found: Flavor = answer["flavor"]
        return found

    async def _source(self, doing: Doing) -> Flavor:
        flavor = await self._show(doing, doing.input["source"])
        if flavor is None:
            raise Refused(f"there is no flavor {doing.input['flavor']} at {doing.input['source']}")
        return flavor

    async def _access(self, doing: Doing, site: str, flavor: Flavor) -> set[str]:
        """The projects that may use a private flavor."""
        if flavor.get("os-flavor-access:is_public"):
            return set()
        status, answer = await self._ask(doing, site, "GET", f"/{_id(doing)}/os-flavor-access")
        if status != 200:
            raise Unavailable(f"{site} answers {status} for the access of a flavor")
        return {one["tenant_id"] for one in answer["flavor_access"]}

    # -- making it ------------------------------------------------------------------------------------

    async def _changed(self, doing: Doing, method: str, path: str, body: object, *good: int) -> None:
        status, answer = await self._ask(doing, doing.site, method, path, body)
        if status not in good:
            raise Refused(f"{doing.site} answers {status}: {str(answer)[:200]}")

    async def _created(self, doing: Doing, flavor: Flavor) -> None:
        fields = {key: flavor[key] for key in _MADE_WITH if key in flavor}
        fields["swap"] = flavor.get("swap") or 0  # shown as "" where there is none
        body = {"flavor": {**fields, "id": flavor["id"], "description": MARK + doing.mark}}
        await self._changed(doing, "POST", "", body, 200)

    async def _completed(self, doing: Doing, flavor: Flavor, there: Flavor) -> None:
        wanted = flavor.get("extra_specs") or {}
        if wanted != (there.get("extra_specs") or {}):
            body = {"extra_specs": wanted}
            await self._changed(doing, "POST", f"/{_id(doing)}/os-extra_specs", body, 200)
        for project in sorted(await self._access(doing, doing.input["source"], flavor)):
            action = {"addTenantAccess": {"tenant": project}}
            await self._changed(doing, "POST", f"/{_id(doing)}/action", action, 200, 409)


def _id(doing: Doing) -> str:
    return quote(doing.input["flavor"], safe="")


def _marked(flavor: Flavor, doing: Doing) -> bool:
    return flavor.get("description") == MARK + doing.mark


def _specs(flavor: Flavor) -> dict[str, Any]:
    return {key: flavor.get(key) or None for key in _SPECS}


def _differing(one: Flavor, other: Flavor) -> str:
    mine, theirs = _specs(one), _specs(other)
    return ", ".join(
        f"{key} {mine[key]} instead of {theirs[key]}" for key in _SPECS if mine[key] != theirs[key]
    )
