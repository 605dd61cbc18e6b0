"""Atoll as a region of a Keystone: registered once, checked any time, taken out again.

Works with an administrator's keystoneauth session; changes nothing that is right already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

INTERFACES = ("public", "internal", "admin")
NAMES = {
    "compute": "nova",
    "block-storage": "cinder",
    "image": "glance",
    "network": "neutron",
    "identity": "keystone",
}
ALIASES = {"block-storage": ("block-storage", "volumev3")}


class Session(Protocol):
    """What is used of keystoneauth's session: requests to the identity API."""

    def request(self, url: str, method: str, **kwargs: Any) -> Any:
        """Send a request; the answer has `status_code` and `json()`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be: what, and what would be done."""

    what: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None


class Registration:
    """Atoll's entry in one Keystone's catalogue."""

    def __init__(self, session: Session, region: str, endpoints: Mapping[str, str]) -> None:
        self._session = session
        self._region = region
        self._endpoints = endpoints

    def differences(self) -> list[Difference]:
        """What is missing or wrong, in the order in which it has to be put right; empty when all is well."""
        found: list[Difference] = []
        regions = {region["id"] for region in self._list("regions")}
        if self._region not in regions:
            body = {"region": {"id": self._region, "description": "One cloud made of many, by Atoll"}}
            found.append(Difference(f"region {self._region} is missing", "POST", "/regions", body))
        services = self._list("services")
        endpoints = [one for one in self._list("endpoints") if one["region_id"] == self._region]
        for service_type, url in self._endpoints.items():
            service = _service(services, service_type)
            if service is None:
                body = {"service": {"type": service_type, "name": NAMES.get(service_type, service_type)}}
                found.append(Difference(f"service {service_type} is missing", "POST", "/services", body))
                continue
            found += self._of_service(service, endpoints, service_type, url)
        known = {
            service["id"] for service in (_service(services, name) for name in self._endpoints) if service
        }
        for one in endpoints:
            if one["service_id"] not in known:
                what = f"endpoint {one['url']} of {self._region} is none of Atoll's"
                found.append(Difference(what, "DELETE", f"/endpoints/{one['id']}"))
        return found

    def _of_service(
        self, service: Mapping[str, Any], endpoints: list[dict[str, Any]], service_type: str, url: str
    ) -> list[Difference]:
        found = []
        for interface in INTERFACES:
            mine = [
                one
                for one in endpoints
                if one["service_id"] == service["id"] and one["interface"] == interface
            ]
            body = {
                "endpoint": {
                    "service_id": service["id"],
                    "interface": interface,
                    "region_id": self._region,
                    "url": url,
                    "enabled": True,
                }
            }
            what = f"{interface} endpoint of {service_type}"
            if not mine:
                found.append(Difference(f"{what} is missing", "POST", "/endpoints", body))
            elif mine[0]["url"] != url or not mine[0].get("enabled", True):
                path = f"/endpoints/{mine[0]['id']}"
                found.append(Difference(f"{what} is {mine[0]['url']}, not {url}", "PATCH", path, body))
            for extra in mine[1:]:
                path = f"/endpoints/{extra['id']}"
                found.append(Difference(f"{what} is there twice", "DELETE", path))
        return found

    def register(self) -> list[Difference]:
        """Put everything right; give what was done. Safe to repeat, and to go on with after a failure."""
        done: list[Difference] = []
        # A service that is made now gets its endpoints in a second pass.
        for _ in range(2):
            differences = self.differences()
            for one in differences:
                self._session.request(
                    one.path,
                    one.method,
                    json=one.body,
                    endpoint_filter={"service_type": "identity", "interface": "public", "version": 3},
                )
            done += differences
            if not differences:
                break
        return done

    def unregister(self) -> int:
        """Take the region and its endpoints out; the number of endpoints that were there."""
        endpoints = [one for one in self._list("endpoints") if one["region_id"] == self._region]
        for one in endpoints:
            self._call("DELETE", f"/endpoints/{one['id']}")
        if self._region in {region["id"] for region in self._list("regions")}:
            self._call("DELETE", f"/regions/{self._region}")
        return len(endpoints)

    def _list(self, what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("GET", f"/{what}").json()[what]
        return found

    def _call(self, method: str, path: str) -> Any:
        identity = {"service_type": "identity", "interface": "public", "version": 3}
        return self._session.request(path, method, endpoint_filter=identity)


def _service(services: list[dict[str, Any]], service_type: str) -> dict[str, Any] | None:
    for name in ALIASES.get(service_type, (service_type,)):
        for service in services:
            if service["type"] == name:
                return service
    return None
