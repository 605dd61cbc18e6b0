"""What a caller may do, decided at the top: where a site sees a credential, it cannot see the caller's roles.

The least roles are in the tables of the services. Where every site shares the clients' Keystone nothing is
checked here: the sites' own policies say more than a table can (ADR 8).
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from atoll.core.errors import Forbidden
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.parts import Parts
from atoll.services.table import RANKS, Kind, Others, Route, Shape

ADMIN = RANKS["admin"]
# From this role on a call is for the whole cloud, not for the project of a credential.
OF_THE_CLOUD = RANKS["service"]
# Parameters that mean something only when they are on: `all_tenants=0` asks for nothing.
SWITCHES = frozenset({"all_tenants", "all_projects"})
_OFF = frozenset({"0", "false", "f", "off", "n", "no"})
# Places whose value is a zone, and names a host where it has a colon.
_ZONES = ("server/availability_zone", "unshelve/availability_zone")
_OWN = {"user_id": "user_id"}  # every other parameter that is OWN names a project


async def check(parts: Parts, call: Call, route: Route | None) -> None:
    """Refuse what the caller's roles do not allow, and settle as whom the call is made elsewhere.

    Raises Forbidden. Parameters that the service would not take from this caller are taken out of the query.
    """
    if not any(site.cloud is not None for site in parts.sites.with_service(call.service_type)):
        return
    rank = call.caller.rank
    if route is None:  # in no table: what a site makes of it is limited by the credential
        needed = RANKS["reader" if call.request.method in {b"GET", b"HEAD"} else "member"]
        _refuse(rank, needed, "")
        return
    needed, what = RANKS[route.role], ""
    if call.request.has_body and not route.raw:
        body = bodies.decoded(await call.read_body(parts.body_limit))
        if body is not None:
            needed, what = _of_body(route, body, needed)
    if _of_other_project(call, route):
        needed, what = ADMIN, "for another project"
    asked = _queries(call, route)
    if asked:
        needed, what = ADMIN, f"with {asked}"
    _refuse(rank, needed, what)
    call.as_admin = needed >= OF_THE_CLOUD or await _of_somebody_else(parts, call, route)


def _refuse(rank: int, needed: int, what: str) -> None:
    if rank < needed:
        role = next(name for name, one in RANKS.items() if one == needed)
        what = f" {what}" if what else ""
        raise Forbidden(f"Policy doesn't allow this{what} to be performed: it needs the role {role}.")


def _of_body(route: Route, body: Mapping[str, Any], needed: int) -> tuple[int, str]:
    """The rank that an action or a member of the body needs, and its name."""
    what = ""
    for action, role in route.actions.items():
        if action in body and RANKS[role] != needed:
            needed, what = RANKS[role], f"action {action}"
    for place in route.admin_fields:
        if bodies.present(body, place):
            return ADMIN, f"with {place.replace('/', '.')}"
    for place in _ZONES:
        if ":" in (bodies.value_at(body, place) or ""):
            return ADMIN, "on a named host"
    return needed, what


def _of_other_project(call: Call, route: Route) -> bool:
    return route.of_project and call.match.id.decode("latin-1") != call.caller.project_id


def _queries(call: Call, route: Route) -> str:
    """The first parameter that only administrators may use; what others are not heard with is dropped."""
    if not route.admin_queries:
        return ""
    kept, refused = [], ""
    is_admin = call.caller.rank >= ADMIN
    seen = set()
    for part in call.request.query.split(b"&") if call.request.query else ():
        name, _, value = (unquote_plus(one.decode("latin-1")) for one in part.partition(b"="))
        seen.add(name)
        rule = route.admin_queries.get(name) or route.admin_queries.get(f"{name}={value.lower()}")
        if (
            rule is None
            or (name in SWITCHES and value.strip().lower() in _OFF)
            or _own(call, rule, name, value)
        ):
            kept.append(part)
        elif is_admin or rule is not Others.DROPPED:
            kept.append(part)
            refused = refused or name
    for name, rule in route.admin_queries.items():
        if rule is Others.NEEDED and name not in seen:
            refused = refused or f"no {name}"
    call.request.query = b"&".join(kept)
    return refused


def _own(call: Call, rule: Others, name: str, value: str) -> bool:
    """Whether a parameter that others may use for themselves names the caller's own project or user."""
    if rule not in {Others.OWN, Others.NEEDED}:
        return False
    return value == (call.caller.user_id if name in _OWN else call.caller.project_id)


async def _of_somebody_else(parts: Parts, call: Call, route: Route) -> bool:
    """Whether an administrator means what is not of their project, where a credential of it has nothing."""
    if call.caller.rank < ADMIN or route.kind is not Kind.PLACED or route.shape is not Shape.BY_ID:
        return False
    location = await parts.locations.find(route.resource, call.match.id.decode("latin-1"))
    if location is not None and location.project_id in {None, call.caller.project_id}:
        return False
    sites = parts.reach.sites(call)
    return all(parts.reach.administers(call, site) for site in sites)
