"""The catalogue as clients get it: Atoll's endpoints and no others."""

from collections.abc import Sequence
from typing import Any

from atoll.services.catalog import SERVICES
from atoll.sites.site import Sites, root_of

INTERFACES = ("public", "internal", "admin")
# What clients expect an endpoint to end with; a project that belongs after it is put in where it is missing.
VERSIONS = {
    "compute": "/v2.1",
    "block-storage": "/v3",
    "identity": "/v3",
    "orchestration": "/v1",
    "object-store": "/v1",
}


def endpoint_url(public_url: str, service_type: str) -> str:
    """Atoll's own endpoint of a service, as the catalogue gives it."""
    return f"{public_url}/{service_type}{VERSIONS.get(service_type, '')}"


def endpoint_urls(public_url: str, sites: Sites) -> dict[str, str]:
    """Atoll's own endpoints by service type: identity, what the sites have, and Atoll's own API."""
    served = [name for name in SERVICES if name == "identity" or sites.with_service(name)]
    urls = {name: endpoint_url(public_url, name) for name in served}
    return {**urls, "atoll": f"{public_url}/atoll/v1"}


def catalog(
    sites_catalog: Sequence[dict[str, Any]], services: Sequence[str], url: str, region: str
) -> list[Any]:
    """The catalogue with Atoll's endpoints for what it serves, its own API, and services without endpoints.

    Names and ids of the services are kept: clients select by them. Endpoint ids are stable.
    """
    ours = [
        {
            "id": "atoll",
            "type": "atoll",
            "name": "atoll",
            "endpoints": _endpoints("atoll", f"{url}/atoll/v1", region),
        }
    ]
    seen = set()
    for entry in sites_catalog:
        service_type = _official(entry.get("type", ""))
        if not entry.get("endpoints"):
            ours.append(entry)  # no way past Atoll
            continue
        if service_type not in {*services, "identity"} or service_type in seen:
            continue
        seen.add(service_type)
        address = endpoint_url(url, service_type)
        if SERVICES[service_type].other:
            address = f"{url}/{service_type}{_below_root(entry)}"
        ours.append({**entry, "endpoints": _endpoints(entry.get("id", service_type), address, region)})
    return ours


def _endpoints(service: str, url: str, region: str) -> list[dict[str, str]]:
    """One URL under each interface."""
    return [
        {"id": f"{service}{index}", "interface": one, "region": region, "region_id": region, "url": url}
        for index, one in enumerate(INTERFACES)
    ]


def _below_root(entry: dict[str, Any]) -> str:
    """The version and project that the sites' endpoints of a service end with."""
    for one in entry.get("endpoints", ()):
        text = str(one.get("url", "")).rstrip("/")
        return text[len(root_of(text)) :]
    return ""


def _official(service_type: str) -> str:
    return "block-storage" if service_type in {"volumev3", "volume", "block-store"} else service_type
