"""The catalogue: Atoll's endpoints and nothing else, in one region. Read only.

GET /auth/catalog  GET /regions[/{id}]  GET /services[/{id}]  GET /endpoints[/{id}]
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from atoll.core.errors import Forbidden, NotFound
from atoll.identity.asked import Answer, Asked

INTERFACES: Final = ("public", "internal", "admin")
NAMES: Final = {
    "identity": "keystone",
    "compute": "nova",
    "block-storage": "cinder",
    "image": "glance",
    "network": "neutron",
}


class Catalog:
    """The endpoints of a region; `endpoints` gives them by service type."""

    def __init__(self, region: str, endpoints: Callable[[], Mapping[str, str]]) -> None:
        self._region = region
        self._endpoints = endpoints

    def entries(self) -> list[dict[str, Any]]:
        """Give the catalogue as it stands in a token."""
        return [
            {
                "id": self._id(service_type),
                "type": service_type,
                "name": NAMES.get(service_type, service_type),
                "endpoints": [
                    {
                        "id": self._id(service_type, interface),
                        "interface": interface,
                        "region": self._region,
                        "region_id": self._region,
                        "url": url,
                    }
                    for interface in INTERFACES
                ],
            }
            for service_type, url in self._endpoints().items()
        ]

    def _id(self, *names: str) -> str:
        """An id that stays the same as long as the region's name does."""
        return uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("atoll", self._region, *names))).hex

    async def of_token(self, asked: Asked) -> Answer:
        """GET /auth/catalog. Raises Forbidden without a project."""
        if asked.caller.project is None:
            raise Forbidden("A project-scoped token is required to produce a service catalog.")
        return Answer(body={"catalog": self.entries(), "links": {"self": asked.link("auth", "catalog")}})

    async def list_regions(self, asked: Asked) -> Answer:
        """GET /regions."""
        return asked.listed("regions", self._regions(asked))

    async def show_region(self, asked: Asked) -> Answer:
        """GET /regions/{id}. Raises NotFound."""
        return _one(asked, "region", self._regions(asked))

    async def list_services(self, asked: Asked) -> Answer:
        """GET /services."""
        asked.need_admin("identity:list_services")
        return asked.listed("services", self._services(asked), ("name", "type"))

    async def show_service(self, asked: Asked) -> Answer:
        """GET /services/{id}. Raises NotFound."""
        asked.need_admin("identity:get_service")
        return _one(asked, "service", self._services(asked))

    async def list_endpoints(self, asked: Asked) -> Answer:
        """GET /endpoints."""
        asked.need_admin("identity:list_endpoints")
        return asked.listed("endpoints", self._every(asked), ("interface", "service_id", "region_id"))

    async def show_endpoint(self, asked: Asked) -> Answer:
        """GET /endpoints/{id}. Raises NotFound."""
        asked.need_admin("identity:get_endpoint")
        return _one(asked, "endpoint", self._every(asked))

    def _regions(self, asked: Asked) -> list[dict[str, Any]]:
        return [asked.shown("regions", {"id": self._region, "description": "", "parent_region_id": None})]

    def _services(self, asked: Asked) -> list[dict[str, Any]]:
        return [
            asked.shown(
                "services",
                {"id": one["id"], "type": one["type"], "name": one["name"], "enabled": True},
            )
            for one in self.entries()
        ]

    def _every(self, asked: Asked) -> list[dict[str, Any]]:
        return [
            asked.shown("endpoints", {**endpoint, "service_id": service["id"], "enabled": True})
            for service in self.entries()
            for endpoint in service["endpoints"]
        ]


def _one(asked: Asked, what: str, records: list[dict[str, Any]]) -> Answer:
    wanted = asked.segments[1]
    for record in records:
        if record["id"] == wanted:
            return Answer(body={what: record})
    raise NotFound(f"Could not find {what}: {wanted}.")
