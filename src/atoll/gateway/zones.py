"""Availability zones: what a user picks from, each mapped by the operator to a site.

GET /compute/v2.1/os-availability-zone[/detail]
GET /block-storage/v3/os-availability-zone
GET /network/v2.0/availability_zones
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec

from atoll.core.errors import BadSiteAnswer
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.of_site import INTERNAL, internal
from atoll.gateway.partial import add_missing
from atoll.gateway.parts import Parts
from atoll.sites.site import Endpoint

# What a site is taken to have for networks where it decides by itself; Neutron has zones where agents run.
ANY_NETWORK_ZONE = [{"resource": kind, "state": "available"} for kind in ("network", "router")]
FIELDS = ("name", "resource", "state")


class Zones:
    """The zones of all sites under the names the operator gave them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def handle(self, call: Call) -> None:
        """Ask each site for its zones and name them as clients do."""
        parts = self._parts
        sites = parts.reach.sites(call)
        of_network = call.service_type == "network"
        # Neutron's filters are of names as clients know them, so they are ours to apply.
        query = b"" if of_network else call.request.query
        target = call.path + (b"?" + query if query else b"")
        if len(sites) > 1:
            parts.limiter.take(call.caller.project_id, parts.forward.now())
        gathered = await scatter(
            {site.name: parts.forward.ask(call, parts.endpoint(site, call), b"GET", target) for site in sites}
        )
        if not gathered.answered:
            raise none_answered("its zones", gathered.failed)
        refused = {name: one for name, one in gathered.answered.items() if one.status != 200}
        name, first = next(iter((refused or gathered.answered).items()))
        endpoint = parts.endpoint(parts.sites.by_name[name], call)
        if refused:
            parts.forward.answer(call, endpoint, first)
            return
        answers = [
            (parts.endpoint(parts.sites.by_name[name], call), _decoded(name, one))
            for name, one in gathered.answered.items()
        ]
        internals = {site.name: internal(site) for site in sites}
        content = _network(answers) if of_network else _compute(answers, internals)
        # A zone whose site is away is still a zone: it is listed, as not available.
        if gathered.failed:
            add_missing(call, gathered.missing())
            if not of_network:
                away = [parts.sites.by_name[name] for name in gathered.failed]
                content["availabilityZoneInfo"] += [_away(zone) for site in away for zone in site.zones]
        if of_network:
            content = {"availability_zones": _filtered(content["availability_zones"], call.request.query)}
        parts.forward.answer(call, endpoint, first, msgspec.json.encode(content))


def _decoded(site: str, answer: SiteAnswer) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(answer.text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BadSiteAnswer(f"The site {site} answered what is not a list of zones.", site=site) from error


def _away(zone: str) -> dict[str, Any]:
    return {"zoneName": zone, "zoneState": {"available": False}, "hosts": None}


def _compute(
    answers: list[tuple[Endpoint, Mapping[str, Any]]], internals: Mapping[str, str]
) -> dict[str, Any]:
    """Nova's and Cinder's form: each of our zones with the state of the site's zones behind it."""
    zones = []
    for endpoint, content in answers:
        theirs = {one["zoneName"]: one for one in content.get("availabilityZoneInfo", [])}
        for ours, here in endpoint.zones.items():
            behind = [one for name, one in theirs.items() if name != INTERNAL and here in {None, name}]
            if behind:
                zones.append({**_together(behind), "zoneName": ours})
            else:
                zones.append({"zoneName": ours, "zoneState": {"available": False}})
        for name, one in theirs.items():
            # Nova lists the zone of its own services; it is not one to boot in, and not one of ours.
            if name == INTERNAL:
                zones.append({**one, "zoneName": internals[endpoint.site]})
    return {"availabilityZoneInfo": zones}


def _together(zones: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Zones of a site that are one to clients: with the hosts of all, available where one is."""
    available = any(one.get("zoneState", {}).get("available") for one in zones)
    first = next((one for one in zones if one.get("zoneState", {}).get("available") == available), zones[0])
    hosts = [one["hosts"] for one in zones if one.get("hosts")]
    return (
        {**first, "hosts": {name: host for some in hosts for name, host in some.items()}} if hosts else first
    )


def _network(answers: list[tuple[Endpoint, Mapping[str, Any]]]) -> dict[str, Any]:
    """Neutron's form: a zone once for networks and once for routers.

    A zone of ours that names none there is taken as a hint by a site without any, so it is listed too.
    """
    zones = []
    for endpoint, content in answers:
        theirs = content.get("availability_zones", [])
        for ours, here in endpoint.zones.items():
            behind = [one for one in theirs if here in {None, one.get("name")}]
            if here is None:
                behind += ANY_NETWORK_ZONE
            by_kind = {one.get("resource"): one for one in reversed(behind)}
            zones += [{**one, "name": ours} for one in by_kind.values()]
    return {"availability_zones": zones}


def _filtered(zones: Sequence[Mapping[str, Any]], query: bytes) -> list[dict[str, Any]]:
    """Those that have one of the values asked for, with the fields asked for."""
    wanted = parse_qs(query.decode("latin-1"))
    fields = wanted.get("fields", FIELDS)
    return [
        {key: value for key, value in zone.items() if key in fields}
        for zone in zones
        if all(zone.get(key) in wanted.get(key, [zone.get(key)]) for key in FIELDS)
    ]
