"""Rules of security groups: at the site of their group, and of a default group at every site.

    POST    /network/v2.0/security-group-rules
    DELETE  /network/v2.0/security-group-rules/{id}
    POST    /compute/v2.1/os-security-group-rules         Nova's own view of them, up to 2.35
    DELETE  /compute/v2.1/os-security-group-rules/{id}

The project's group `default` is one to its users (see `default_groups`), so a rule of it is made at all
sites, or undone where it was, and deleted with the rules that say the same. Through Nova's view, which says
less of a rule than would tell them apart, those of `default` are not changed.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog

from atoll.core.errors import AtollError, BadSiteAnswer, Conflict, NotFound, SiteTimeout, SiteUnavailable
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.default_groups import GROUP
from atoll.gateway.everywhere import Change, Everywhere, Step
from atoll.gateway.fanout import scatter
from atoll.gateway.forward import SiteAnswer, said
from atoll.gateway.network_lists import RULE, said_by
from atoll.gateway.parts import Parts
from atoll.gateway.placed import Placed
from atoll.same.records import SameRecord
from atoll.services.network import NETWORK
from atoll.sites.site import Site
from atoll.store import Sighting

log = structlog.get_logger()

NOVA: Final = "compute"
NEUTRON: Final = "network"
RESOURCE: Final = "security_group_rule"
MANY: Final = "security_group_rules"
PATH: Final = "/v2.0/security-group-rules"
EXISTS: Final = b"SecurityGroupRuleExists"
UNDO_SECONDS: Final = 20.0
"""Undoing has time of its own: it begins when the time of the request may be over."""

# What a rule may name that is at one site only.
ELSEWHERE: Final = {"remote_group_id": GROUP, "remote_address_group_id": "address_group"}


class GroupRules:
    """Makes and deletes rules; those of other groups are left to what is placed."""

    def __init__(self, parts: Parts, placed: Placed) -> None:
        self._parts = parts
        self._placed = placed
        self._everywhere = Everywhere(parts)

    # -- Nova's view ------------------------------------------------------------------------------

    def listed(self, handle: Callable[[Call], Awaitable[None]], call: Call) -> Awaitable[None]:
        """Answer a list, of groups with `default` known as one."""
        route = call.match.route
        if route is not None and route.resource == GROUP and call.service_type == NOVA:
            return self._listed(handle, call)
        return handle(call)

    async def _listed(self, handle: Callable[[Call], Awaitable[None]], call: Call) -> None:
        await self._parts.equivalents.current(call, GROUP)
        await handle(call)

    def _refuse_default(self, group: SameRecord) -> None:
        """Raise Conflict for a change of a default group's rules through Nova."""
        if len(group.ids) > 1:
            raise Conflict(
                f"Rules of the security group default ({group.id}) are the same at every site "
                f"({', '.join(group.ids)}) and are changed through the network service: "
                f"`openstack security group rule create {group.id} …`. Nothing was changed.",
                resource=RESOURCE,
                site=", ".join(group.ids),
            )

    # -- making -----------------------------------------------------------------------------------

    async def create(self, call: Call) -> None:
        """Make rules. Raises Conflict where those of a default group name what only one site has."""
        parts = self._parts
        text = await call.read_body(parts.body_limit)
        body = bodies.decoded(text)
        await parts.equivalents.current(call, GROUP)
        if call.service_type == NOVA:
            parent = next((bodies.value_at(one, "parent_group_id") for one in _rules(body)), None) or ""
            if (its := parts.equivalents.defaults.named(call, GROUP, parent)) is not None:
                self._refuse_default(its)
            await self._placed.create(call)
            return
        groups = {bodies.value_at(rule, "security_group_id") or "" for rule in _rules(body)}
        found = {one: parts.equivalents.defaults.named(call, GROUP, one) for one in groups}
        group = next((one for one in found.values() if one is not None), None)
        if group is None or body is None:
            await self._placed.create(call)
            return
        if None in found.values():
            raise Conflict(
                f"Rules of the security group default ({group.id}) are made at every site, those of "
                f"{', '.join(sorted(one for one in groups if not found[one]))} at one: "
                "make them in requests of their own. Nothing was created.",
                resource=RESOURCE,
            )
        await self._refuse_elsewhere(call, group, _rules(body))
        await self._make_everywhere(call, group, text)

    async def _refuse_elsewhere(
        self, call: Call, group: SameRecord, rules: Sequence[Mapping[str, Any]]
    ) -> None:
        """Raise Conflict where rules name a group that is at one site."""
        for rule in rules:
            for name, kind in ELSEWHERE.items():
                ident = bodies.value_at(rule, name)
                if ident is None or self._parts.equivalents.defaults.named(call, kind, ident):
                    continue
                sites = await self._parts.locator.having(call, kind, ident)
                if sites and not sites.issuperset(group.ids):
                    words = kind.replace("_", " ")
                    raise Conflict(
                        f"The {words} {ident} is at {', '.join(sorted(sites))}, and a rule of the security "
                        f"group default ({group.id}) is made at every site ({', '.join(group.ids)}). Name a "
                        "remote IP prefix or the group default itself, or make the rule in a security group "
                        "of your own. Nothing was created.",
                        resource=kind,
                        id=ident,
                        site=", ".join(sorted(sites)),
                    )

    async def _make_everywhere(self, call: Call, group: SameRecord, text: bytes) -> None:
        sites = self._sites(call, group)
        answers = await self._made(call, sites[:1], text)
        if not _failed(answers):
            answers |= await self._made(call, sites[1:], text)
        made = {
            name: one for name, one in answers.items() if isinstance(one, SiteAnswer) and one.status < 300
        }
        if _failed(answers) or not made:
            remaining = await self._undo(call, made)
            self._refuse(call, answers, remaining)
            return
        for name, answer in made.items():
            await self._learn(call, name, answer)
        self._answer(call, *next(iter(made.items())))

    def _sites(self, call: Call, group: SameRecord) -> list[Site]:
        """Every site that the caller reaches. Raises SiteUnavailable while one has not shown its group."""
        sites = self._parts.reach.sites(call)
        for site in sites:
            if site.name not in group.ids or not site.healthy(call.service_type):
                raise SiteUnavailable(
                    "A rule of the security group default is made and deleted at every site, and "
                    f"{site.name} is away. Nothing was changed.",
                    resource=RESOURCE,
                    site=site.name,
                    retry_after=5,
                )
        return sites

    async def _made(
        self, call: Call, sites: Sequence[Site], text: bytes
    ) -> dict[str, SiteAnswer | AtollError]:
        parts = self._parts
        refs = NETWORK.by_name[RESOURCE].refs
        gathered = await scatter(
            {
                site.name: parts.forward.ask(
                    call,
                    parts.endpoint(site, call),
                    b"POST",
                    PATH.encode(),
                    body=parts.equivalents.body_at(call, text, refs, site.name),
                )
                for site in sites
            }
        )
        return {site.name: gathered.failed.get(site.name) or gathered.answered[site.name] for site in sites}

    async def _undo(self, call: Call, made: Mapping[str, SiteAnswer]) -> dict[str, str]:
        """Delete what was made; what remains where, with the reason."""
        parts, remaining = self._parts, {}
        aside = call.aside(parts.forward.now() + UNDO_SECONDS)
        for name, answer in made.items():
            endpoint = parts.endpoint(parts.sites.by_name[name], call)
            for ident in _ids(answer):
                try:
                    undone = await parts.forward.ask(
                        aside, endpoint, b"DELETE", f"{PATH}/{ident}".encode(), why="undo"
                    )
                    reason = "" if undone.status < 300 or undone.status == 404 else said(undone)
                except AtollError as error:
                    reason = str(error)
                if reason:
                    remaining[name] = reason
                    log.error("undo_failed", request_id=call.id, site=name, id=ident, reason=reason[:256])
                else:
                    log.info("undone", request_id=call.id, site=name, id=ident)
        return remaining

    def _refuse(
        self, call: Call, answers: Mapping[str, SiteAnswer | AtollError], remaining: Mapping[str, str]
    ) -> None:
        """Answer what one site refused, or every one; raise where no site's words tell how it stands."""
        errors = {name: one for name, one in answers.items() if isinstance(one, AtollError)}
        refused = {
            name: one for name, one in answers.items() if isinstance(one, SiteAnswer) and one.status >= 300
        }
        if not errors and not remaining:
            new = {name: one for name, one in refused.items() if EXISTS not in one.text}
            self._answer(call, *next(iter((new or refused).items())))
            return
        names = ", ".join([*errors, *(name for name in refused if not _exists(refused[name]))])
        text = [f"The rule of the security group default was not made at {names}."]
        text += [f"{name}: {one}" for name, one in errors.items()]
        text += [f"{name} refused it: {said(one)}." for name, one in refused.items() if not _exists(one)]
        if remaining:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in remaining.items())
            text.append(f"It was made at {', '.join(remaining)} and could not be undone there ({reasons}).")
        elif len(answers) > len(errors) + len(refused):
            text.append("It was undone where it had been made.")
        message = " ".join(text)
        lost = [name for name, one in errors.items() if isinstance(one, SiteTimeout | BadSiteAnswer)]
        if lost:
            raise SiteTimeout(
                f"{message} Whether it is at {', '.join(lost)} is not known.", site=", ".join(lost)
            )
        if remaining and not errors:
            raise Conflict(message, resource=RESOURCE, site=names)
        raise SiteUnavailable(message, resource=RESOURCE, site=names, retry_after=5)

    async def _learn(self, call: Call, site: str, answer: SiteAnswer) -> None:
        for ident in _ids(answer):
            call.made.append(ident)
            self._parts.locator.created(RESOURCE, ident)
            await self._parts.locations.created(
                Sighting(resource_type=RESOURCE, id=ident, site=site, project_id=call.caller.project_id)
            )

    # -- deleting ---------------------------------------------------------------------------------

    async def delete(self, call: Call) -> None:
        """Delete a rule, and where it is a default group's those of the other sites that say the same."""
        parts, ident = self._parts, call.match.id.decode("latin-1")
        await parts.equivalents.current(call, GROUP)
        group = parts.equivalents.defaults.of(call.caller.project_id)
        what = await self._what(call, ident, group) if group is not None else None
        if group is None or what is None:
            await self._placed.by_id(call)
            return
        if call.service_type == NOVA:
            self._refuse_default(group)
        sites = self._sites(call, group)
        gathered = await scatter({site.name: self._alike(call, site, group, what) for site in sites})
        for error in gathered.failed.values():
            raise error
        changes = [
            Change(
                site=site,
                method=b"DELETE",
                target=f"{PATH}/{rule['id']}".encode(),
                fine=frozenset({404}),
                undo=(Step(method=b"POST", target=PATH.encode(), bodies=(_again(rule),)),),
            )
            for site in sites
            for rule in gathered.answered[site.name][:1]
        ]
        if not changes:
            await self._placed.by_id(call)
            return
        # The one that is named goes first: what its site refuses, nobody does.
        changes.sort(key=lambda one: not one.target.endswith(ident.encode()))
        answers = await self._everywhere.carry_out(
            call, "Deleting the rule of the security group default", changes
        )
        for one in changes:
            if one.site.name in answers:
                deleted = one.target.rpartition(b"/")[2].decode()
                parts.locations.deleted(RESOURCE, deleted, one.site.name)
        self._answer(call, *next(iter(answers.items())))

    async def _what(self, call: Call, ident: str, group: SameRecord) -> str | None:
        """What a rule says, if it is one of the default group's. Raises SiteUnavailable."""
        parts = self._parts
        try:
            site = await parts.locator.site_of(call, RESOURCE, ident)
        except NotFound:
            return None
        target = f"{PATH}/{ident}".encode()
        aside = call.aside(call.deadline, versioned=call.service_type != NOVA)
        endpoint = parts.reach.endpoint(site, call, NEUTRON)
        answer = await parts.forward.ask(aside, endpoint, b"GET", target, why="check")
        content = bodies.decoded(answer.text) if answer.status == 200 else None
        rule = (content or {}).get(RESOURCE)
        return said_by(msgspec.json.encode(rule), group) if isinstance(rule, dict) else None

    async def _alike(self, call: Call, site: Site, group: SameRecord, what: str) -> list[dict[str, Any]]:
        """The rules of the default group at a site that say the same."""
        parts = self._parts
        target = f"{PATH}?security_group_id={group.ids[site.name]}".encode()
        answer = await parts.forward.ask(call, parts.endpoint(site, call), b"GET", target, why="check")
        rules = (bodies.decoded(answer.text) or {}).get(MANY) if answer.status == 200 else None
        if not isinstance(rules, list):
            raise BadSiteAnswer(f"The site {site.name} answered what are no rules.", site=site.name)
        return [rule for rule in rules if said_by(msgspec.json.encode(rule), group) == what]

    def _answer(self, call: Call, name: str, answer: SiteAnswer) -> None:
        self._parts.forward.answer(call, self._parts.endpoint(self._parts.sites.by_name[name], call), answer)


def _rules(body: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The rules in a body, one or many."""
    many = (body or {}).get(MANY)
    some = many if isinstance(many, list) else [(body or {}).get(RESOURCE)]
    return [one for one in some if isinstance(one, Mapping)]


def _exists(answer: SiteAnswer) -> bool:
    return answer.status == 409 and EXISTS in answer.text


def _failed(answers: Mapping[str, SiteAnswer | AtollError]) -> bool:
    """Whether a site did not do it; one that has the rule already need not."""
    return any(
        isinstance(one, AtollError) or (one.status >= 300 and not _exists(one)) for one in answers.values()
    )


def _ids(answer: SiteAnswer) -> list[str]:
    return [str(rule["id"]) for rule in _rules(bodies.decoded(answer.text)) if "id" in rule]


def _again(rule: Mapping[str, Any]) -> bytes:
    """The body that makes a rule once more."""
    said_again = {name: rule[name] for name in (*RULE, "description") if rule.get(name) is not None}
    return msgspec.json.encode({RESOURCE: said_again})
