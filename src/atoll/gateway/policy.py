"""What a caller may do, decided at the top: where a site sees a credential, it cannot see the caller's roles.

The least roles are in the tables of the services. Where every site shares the clients' Keystone nothing is
checked here: the sites' own policies say more than a table can (ADR 8).
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus, unquote_to_bytes

from atoll.core.errors import Forbidden
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.parts import Parts
from atoll.services.table import RANKS, Kind, Others, Route, Shape

ADMIN = RANKS["admin"]
# Kinds of what is at one site, and may be another project's.
AT_A_SITE = frozenset({Kind.PLACED, Kind.GROUP_RULES})
# From this role on a call is for the whole cloud, not for the project of a credential.
OF_THE_CLOUD = RANKS["service"]
# Parameters that mean something only when they are on: `all_tenants=0` asks for nothing.
SWITCHES = frozenset({"all_tenants", "all_projects", "deleted", "soft_deleted", "force"})
_OFF = frozenset({"0", "false", "f", "off", "n", "no"})
# What asks for no more than everybody gets.
_HARMLESS = frozenset({"is_public=true", "is_public=1"})
# What shows administrators more of the same: clients ask for it whoever they are, and an administrator here
# may be none at the sites.
_WIDENING = frozenset({"is_public"})
# Places whose value is a zone, and names a host where it has a colon.
_ZONES = ("server/availability_zone", "unshelve/availability_zone")
_OWN = {"user_id": "user_id"}  # every other parameter that is OWN names a project
# Where a body says whose something is to be, at the top or one level down.
_OWNERS = {"image": ("owner",), "network": ("project_id", "tenant_id")}
# Bodies say less by these than by leaving them out; only when something is made, for changes undo.
_UNSAID: tuple[Any, ...] = (None, False, [], "")
# What a site may take for another path than it is here: a separator, a step up, an end.
_ODD = re.compile(rb"[\x00-\x1f/\\;]|\A\.{1,2}\Z|[\x00- ]\Z")
# Paths in no table that are one of Neutron's many collections.
_PLAIN = re.compile(rb"[0-9a-z_/-]+\Z")
# What Cinder takes for a format, with the same thing before it.
_FORMATS = (b".json", b".xml")
_SEPARATOR = re.compile(rb"[&;]")
# Roles that no service gives more than members' rights in a project; the last ones are of other services.
_MEMBERS = frozenset(
    {"reader", "member", "_member_", "load-balancer_member", "load-balancer_observer", "creator", "observer",
     "heat_stack_owner", "swiftoperator"}
)  # fmt: skip


async def check(parts: Parts, call: Call, route: Route | None) -> None:
    """Refuse what the caller's roles do not allow, and settle as whom the call is made elsewhere.

    Raises Forbidden. Parameters that the service would not take from this caller are taken out of the query.
    """
    if not any(site.cloud is not None for site in parts.sites.with_service(call.service_type)):
        return
    if route is None or route.shape is not Shape.BY_ID:
        await parts.reach.settle(call)
    rank = call.caller.rank
    if route is None:
        needed, what = await _unknown(parts, call)
        _refuse(rank, needed, what)
        call.as_admin = needed >= OF_THE_CLOUD
        _somewhere(parts, call)
        return
    needed, what = RANKS[route.role], ""
    if call.request.has_body and not route.raw:
        read = [_of_body(call, route, one) for one in _read(await call.read_body(parts.body_limit))]
        needed, what = max(read, key=_rank, default=(needed, what))
    if _of_other_project(call, route):
        needed, what = ADMIN, "for another project"
    if odd(call):
        needed, what = ADMIN, "by a path that can be read in two ways"
    asked = _queries(call, route, everywhere=_administers_all(parts, call))
    if asked:
        needed, what = ADMIN, f"with {asked}"
    _refuse(rank, needed, what)
    call.as_admin = needed >= OF_THE_CLOUD or await _of_somebody_else(parts, call, route)
    _somewhere(parts, call)


def _somewhere(parts: Parts, call: Call) -> None:
    """Refuse an administrator's call that could be made nowhere, before any question. Raises Forbidden."""
    sites = parts.reach.sites(call)
    if call.as_admin and sites and not any(parts.reach.administers(call, site) for site in sites):
        parts.endpoint(sites[0], call)


def _rank(asked: tuple[int, str]) -> int:
    return asked[0]


async def _unknown(parts: Parts, call: Call) -> tuple[int, str]:
    """The rank that a path in no table needs, and why.

    A site of its own cloud refuses what the credential may not do. So whoever has a role may ask it, where
    the credential has none that could be more than members have: what Atoll does not know it cannot allow to
    them with an administrator's. Neutron has a collection for each of its extensions, with members' things.
    Raises what fetching a token raises.
    """
    if odd(call):
        return ADMIN, "by a path that can be read in two ways"
    least = RANKS["reader" if call.request.method in {b"GET", b"HEAD"} else "member"]
    if call.service_type == "network" and _PLAIN.match(call.path.removeprefix(b"/v2.0")):
        return least, ""
    if call.caller.rank >= ADMIN and _administers_all(parts, call):
        return ADMIN, ""
    for cloud in dict.fromkeys(site.cloud for site in parts.reach.sites(call)):
        grant = parts.trust.grants(call.caller, cloud, False) if cloud is not None else None
        if grant is None:
            continue
        await grant.fetch()
        more = [role for role in grant.roles if role.lower() not in _MEMBERS]
        if more:
            return ADMIN, (
                "by a method and path that Atoll does not know, with a credential that has the role "
                f"{', '.join(more)} at the cloud {cloud} (one with the role member only would do)"
            )
    return least, ""


def odd(call: Call) -> bool:
    """Whether a path could be another one to a site, or to a server on the way to it."""
    if call.service_type == "block-storage" and call.path.endswith(_FORMATS):
        return True
    segments = call.path.split(b"/")[1:]
    if not segments[-1]:
        segments.pop()
    return any(not one or _ODD.search(unquote_to_bytes(one)) for one in segments)


def _read(text: bytes) -> Iterator[Mapping[str, Any]]:
    """A body as the services read it, who take what is no JSON (NaN); a JSON patch step by step."""
    body: Any = bodies.decoded(text)
    if body is None:
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            return
    if isinstance(body, dict):
        yield body
    elif isinstance(body, list):
        for step in body:
            if isinstance(step, dict):
                place = next((step[key] for key in ("path", "add", "replace") if key in step), "")
                yield {str(place).strip("/"): step.get("value")}


def _refuse(rank: int, needed: int, what: str) -> None:
    if rank < needed:
        role = next(name for name, one in RANKS.items() if one == needed)
        what = f" {what}" if what else ""
        raise Forbidden(f"Policy doesn't allow this{what} to be performed: it needs the role {role}.")


def _of_body(call: Call, route: Route, body: Mapping[str, Any]) -> tuple[int, str]:
    """The rank that an action or a member of the body needs, and its name: the strongest that is there."""
    found = [
        (RANKS[route.actions[one]], f"action {one}") if one in route.actions else (RANKS[route.role], "")
        for one in body or ("",)
    ]
    for place in route.admin_fields:
        place, _, value = place.partition("=")  # noqa: PLW2901
        said = [one for one in bodies.values(body, place) if _is_said(call, one)]
        if any(one == value for one in said) if value else said:
            found.append((ADMIN, f"with {place.replace('/', '.')}"))
    if any(":" in (bodies.value_at(body, place) or "") for place in _ZONES):
        found.append((ADMIN, "on a named host"))
    if any(owner != call.caller.project_id for owner in _owners(call.service_type, body)):
        found.append((ADMIN, "for another project"))
    if _swaps(call, route, body):
        found.append((ADMIN, "with another volume than the path's"))
    return max(found, key=_rank)


def _is_said(call: Call, value: object) -> bool:
    return value not in _UNSAID if call.request.method == b"POST" else value is not None


def _owners(service_type: str, body: Mapping[str, Any]) -> Iterator[object]:
    """Whose things are to be, as far as a body says so."""
    names = _OWNERS.get(service_type, ())
    for one in (body, *body.values()):
        for item in one if isinstance(one, list) else [one]:
            if isinstance(item, Mapping):
                yield from (item[name] for name in names if item.get(name))


def _swaps(call: Call, route: Route, body: Mapping[str, Any]) -> bool:
    """Whether a volume is to take another's place under a running server: Nova's volume migration."""
    if route.template != "servers/{id}/os-volume_attachments/{id}" or call.request.method != b"PUT":
        return False
    named = bodies.value_at(body, "volumeAttachment/volumeId")
    return named is not None and named.encode() != call.path.rstrip(b"/").rpartition(b"/")[2]


def _of_other_project(call: Call, route: Route) -> bool:
    return route.of_project and call.match.id.decode("latin-1") != call.caller.project_id


def _queries(call: Call, route: Route, *, everywhere: bool) -> str:
    """The first parameter that only administrators may use; what others are not heard with is dropped."""
    if not route.admin_queries:
        return ""
    kept, refused = [], ""
    is_admin = call.caller.rank >= ADMIN
    seen: set[str] = set()
    for part in call.request.query.split(b"&") if call.request.query else ():
        # Older sites take `;` for `&`.
        pairs = [_pair(one) for one in _SEPARATOR.split(part)]
        seen.update(name for name, _ in pairs)
        if all(_is_off(route, *pair) for pair in pairs):
            continue  # Cinder takes some for on whatever they are
        rules = [_rule(call, route, *pair, everywhere=everywhere) for pair in pairs]
        if not any(rules):
            kept.append(part)
        elif is_admin or set(rules) - {None, Others.DROPPED}:
            kept.append(part)
            refused = refused or next(pair[0] for pair, rule in zip(pairs, rules, strict=True) if rule)
    for name, rule in route.admin_queries.items():
        if rule is Others.NEEDED and name not in seen:
            refused = refused or f"no {name}"
    call.request.query = b"&".join(kept)
    return refused


def _pair(text: bytes) -> tuple[str, str]:
    name, _, value = (unquote_plus(one.decode("latin-1")) for one in text.partition(b"="))
    return name, value


def _rule(call: Call, route: Route, name: str, value: str, *, everywhere: bool) -> Others | None:
    """What a parameter gets those who are no administrators; None: it may be said."""
    rule = route.admin_queries.get(name) or route.admin_queries.get(f"{name}={value.lower()}")
    if (
        rule is None
        or f"{name}={value}".lower() in _HARMLESS
        or (name in _WIDENING and call.caller.rank >= ADMIN and not everywhere)
        or _is_off(route, name, value)
        or _own(call, rule, name, value)
    ):
        return None
    return rule


def _is_off(route: Route, name: str, value: str) -> bool:
    """Whether a parameter is a switch of administrators' that asks for nothing."""
    return name in route.admin_queries and name in SWITCHES and value.strip().lower() in _OFF


def _own(call: Call, rule: Others, name: str, value: str) -> bool:
    """Whether a parameter that others may use for themselves names the caller's own project or user."""
    if rule not in {Others.OWN, Others.NEEDED}:
        return False
    return value == (call.caller.user_id if name in _OWN else call.caller.project_id)


async def _of_somebody_else(parts: Parts, call: Call, route: Route) -> bool:
    """Whether an administrator means what is not of their project, where a credential of it has nothing."""
    if call.caller.rank < ADMIN or route.kind not in AT_A_SITE or route.shape is not Shape.BY_ID:
        return False
    location = await parts.locations.find(route.resource, call.match.id.decode("latin-1"))
    if location is not None and location.project_id in {None, call.caller.project_id}:
        return False
    return _administers_all(parts, call)


def _administers_all(parts: Parts, call: Call) -> bool:
    """Whether the call could be made as an administrator wherever the caller is somebody."""
    return all(parts.reach.administers(call, site) for site in parts.reach.sites(call))
