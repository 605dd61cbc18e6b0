"""A project's security group `default`: each site makes one, and to the project's users they are one.

The id that is shown is that of the group at the first site; each site's own stands for all of them in
whatever a request says. Nothing of it is stored: sites are asked what they have when somebody looks at
security groups, rules or ports, and are believed for a while, because such a group comes once and stays.
Rules are made and deleted in all of them: see `group_rules`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec
import structlog

from atoll.core.errors import BadSiteAnswer
from atoll.gateway.call import Call
from atoll.gateway.fanout import scatter
from atoll.gateway.forward import Forward
from atoll.gateway.reach import Reach
from atoll.same.records import SameRecord
from atoll.sites.site import Site, Sites

log = structlog.get_logger()

GROUP: Final = "security_group"
NAME: Final = "default"

SHOWING: Final = frozenset({GROUP, "security_group_rule", "port"})
"""The types of Neutron's that show ids of groups."""

FRESH_SECONDS: Final = 600.0
"""How long it is believed that a group is there: only administrators can delete one."""

AGAIN_SECONDS: Final = 5.0
"""A site that did not answer is asked again after this long."""

LOOK_SECONDS: Final = 5.0
"""How long a site may take to show its group."""

KEPT: Final = 20_000
"""Projects whose groups are kept, at about 100 bytes a site."""

Translate = Callable[[bytes], bytes]


@dataclass(slots=True)
class _Known:
    """What is known of a project's groups. `until` is loop time; `group` None: not enough to tell."""

    group: SameRecord | None
    sites: frozenset[str]
    until: float
    outward: dict[str, Translate] = field(default_factory=dict)


class DefaultGroups:
    """The default groups of the projects that have looked at theirs lately."""

    def __init__(self, sites: Sites, reach: Reach, forward: Forward) -> None:
        self._sites = sites
        self._reach = reach
        self._forward = forward
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._looks: dict[str, asyncio.Task[None]] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def forget(self) -> None:
        """Sites have come or gone."""
        self._known.clear()

    def deleted(self, ident: str) -> None:
        """A group was deleted: where it was a default one, Neutron makes another."""
        for project, known in list(self._known.items()):
            if known.group is not None and ident in known.group.ids.values():
                del self._known[project]

    async def close(self) -> None:
        """End looks that are under way."""
        looks = list(self._looks.values())
        for task in looks:
            task.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    def of(self, project_id: str) -> SameRecord | None:
        """A project's group; None where there is nothing to be one, or not enough is known."""
        known = self._known.get(project_id)
        return known.group if known is not None else None

    def named(self, call: Call, resource: str, ident: str) -> SameRecord | None:
        """The group of the caller's project, where an id is that of it at any site."""
        group = self.of(call.caller.project_id) if resource == GROUP else None
        return group if group is not None and ident in group.ids.values() else None

    def fresh(self, project_id: str) -> bool:
        """Whether a project's group need not be looked at."""
        known = self._known.get(project_id)
        return len(self._sites) == 1 or (known is not None and known.until > self._forward.now())

    def outward(self, site: str, project_id: str) -> Translate | None:
        """What changes a site's id of the group to the one that is shown; None where they are the same."""
        known = self._known.get(project_id)
        return known.outward.get(site) if known is not None else None

    async def look(self, call: Call) -> None:
        """Have the group of the caller's project known; waits only where nothing is."""
        project = call.caller.project_id
        sites = self._reach.sites(call, "network")
        if len(sites) < 2 or call.caller.rules is not None:
            return
        known = self._known.get(project)
        if known is not None and not known.sites.issuperset(site.name for site in sites):
            known = None
        if known is not None and known.until > self._forward.now():
            return
        task = self._looks.get(project)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._look(call, sites))
            self._looks[project] = task
            task.add_done_callback(partial(self._looked, project))
        if known is None or known.group is None:
            await asyncio.wait({task})

    def _looked(self, project: str, task: "asyncio.Task[None]") -> None:
        del self._looks[project]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("default_groups_not_known", reason=str(error)[:256], exc_info=error)

    async def _look(self, call: Call, sites: list[Site]) -> None:
        aside = call.aside(self._forward.now() + LOOK_SECONDS, versioned=False)
        gathered = await scatter({site.name: self._id_at(aside, site) for site in sites})
        ids = {site.name: ident for site in sites if (ident := gathered.answered.get(site.name))}
        whole = len(ids) == len(sites)
        project = call.caller.project_id
        group = _one(project, ids) if sites[0].name in ids else None
        if group is None and (before := self.of(project)) is not None:
            group = before  # the first site is away, and its id is what clients have
        wait = FRESH_SECONDS if whole else AGAIN_SECONDS
        self._known[project] = _Known(
            group, frozenset(site.name for site in sites), self._forward.now() + wait, _outward(group)
        )
        self._known.move_to_end(project)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)

    async def _id_at(self, call: Call, site: Site) -> str:
        """The id of the project's group at a site, "" where it shows none.

        Raises what `Forward.ask` raises.
        """
        project = call.caller.project_id
        target = f"/v2.0/security-groups?name={NAME}&project_id={project}&fields=id&fields=name".encode()
        endpoint = self._reach.endpoint(site, call, "network")
        answer = await self._forward.ask(call, endpoint, b"GET", target, why="same")
        try:
            found = _SHOWN.decode(answer.text).security_groups if answer.status == 200 else []
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadSiteAnswer(
                f"The site {site.name} answered what are no security groups.", site=site.name
            ) from error
        return next((one.id for one in found if one.name == NAME), "")


class _Group(msgspec.Struct):
    id: str
    name: str = ""


class _Shown(msgspec.Struct):
    security_groups: list[_Group] = []


_SHOWN: Final = msgspec.json.Decoder(_Shown)


def _one(project: str, ids: Mapping[str, str]) -> SameRecord:
    return SameRecord(
        resource=GROUP, id=next(iter(ids.values())), ids=ids, name=NAME, scope=f"project:{project}"
    )


def _outward(group: SameRecord | None) -> dict[str, Translate]:
    """By site, what changes its id: as a whole string, which nothing else of Neutron's is."""
    if group is None:
        return {}
    shown = b'"%b"' % group.id.encode()
    return {
        site: partial(_replaced, b'"%b"' % ident.encode(), shown)
        for site, ident in group.ids.items()
        if ident != group.id
    }


def _replaced(theirs: bytes, shown: bytes, text: bytes) -> bytes:
    return text.replace(theirs, shown)
