"""What a simulated Keystone knows: domains, projects, users, roles, the catalogue, tokens."""

import uuid
from collections.abc import Callable, Iterable
from typing import Any

from atoll.identity.records import ROLES, effective
from atoll.sandbox.simulated.tokens import Token, new_id

Json = dict[str, Any]
INTERFACES = ("public", "internal", "admin")
NAMES = {
    "identity": "keystone",
    "compute": "nova",
    "block-storage": "cinder",
    "image": "glance",
    "network": "neutron",
}


class IdentityStore:
    """The records of one Keystone, as the bodies it answers with (without links).

    `passwords` maps user ids to passwords; `assignments` holds (user id, project id, role name).
    """

    def __init__(self, name: str, clock: Callable[[], float], interfaces: Iterable[str] = INTERFACES) -> None:
        self.name = name
        self.clock = clock
        self.interfaces = tuple(interfaces)
        self.token_seconds = 24 * 3600.0
        self.records: dict[str, dict[str, Json]] = {
            kind: {}
            for kind in (
                "domains",
                "projects",
                "users",
                "roles",
                "regions",
                "services",
                "endpoints",
                "groups",
            )
        }
        self.passwords: dict[str, str] = {}
        self.assignments: set[tuple[str, str, str]] = set()
        self.application_credentials: dict[str, Json] = {}
        self.tokens: dict[str, Token] = {}
        self._catalogs: dict[str, list[Json]] = {}
        self.add("domains", "default", name="Default", description="The default domain", tags=[], options={})
        for role in ROLES:
            self.add(
                "roles", self.id_of("role", role), name=role, domain_id=None, description=None, options={}
            )

    def id_of(self, kind: str, name: str) -> str:
        """A stable id (32 hex digits) for a seeded record: the same for the same Keystone name."""
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{self.name}/{kind}/{name}").hex

    def add(self, kind: str, record_id: str, **fields: Any) -> Json:
        """Store a record under its id and return it."""
        record = {"id": record_id, "enabled": True, **fields}
        if kind in ("roles", "regions"):
            del record["enabled"]
        self.records[kind][record_id] = record
        self._catalogs.clear()
        return record

    def add_project(self, name: str, description: str = "", domain_id: str = "default") -> str:
        """Make a project, return its id."""
        project_id = self.id_of("project", name)
        fields = {"parent_id": domain_id, "is_domain": False, "tags": [], "options": {}}
        self.add("projects", project_id, name=name, domain_id=domain_id, description=description, **fields)
        return project_id

    def add_user(self, name: str, password: str, project_id: str, *roles: str) -> str:
        """Make a user with roles on a project, return its id."""
        user_id = self.id_of("user", name)
        self.add("users", user_id, name=name, domain_id="default", password_expires_at=None, options={})
        self.passwords[user_id] = password
        self.assignments |= {(user_id, project_id, role) for role in roles}
        return user_id

    def named(self, kind: str, name: str, domain_id: str | None = None) -> Json | None:
        """The record of that name (in a domain), or None."""
        for record in self.records[kind].values():
            if record.get("name") == name and domain_id in (None, record.get("domain_id")):
                return record
        return None

    def roles_of(self, user_id: str, project_id: str) -> frozenset[str]:
        """The user's role names on the project, implied ones included."""
        direct = {
            role for user, project, role in self.assignments if (user, project) == (user_id, project_id)
        }
        return effective(direct)

    def register(self, region: str, urls: dict[str, str]) -> None:
        """Put a region into the catalogue: `urls` maps service types to URLs (with `$(project_id)s`)."""
        if region not in self.records["regions"]:
            self.add("regions", region, description="", parent_region_id=None)
        for service_type, url in urls.items():
            service = next((s for s in self.records["services"].values() if s["type"] == service_type), None)
            if service is None:
                fields = {"name": NAMES.get(service_type, service_type), "type": service_type}
                service = self.add("services", self.id_of("service", service_type), **fields)
            for interface in self.interfaces:
                endpoint_id = self.id_of("endpoint", f"{region}/{service_type}/{interface}")
                at = {"interface": interface, "region_id": region, "region": region, "url": url}
                self.add("endpoints", endpoint_id, service_id=service["id"], **at)

    def unregister(self, region: str) -> None:
        """Take a region and its endpoints out of the catalogue."""
        endpoints = self.records["endpoints"]
        for endpoint_id in [key for key, record in endpoints.items() if record["region_id"] == region]:
            del endpoints[endpoint_id]
        self.records["regions"].pop(region, None)
        self._catalogs.clear()

    def catalog(self, project_id: str | None) -> list[Json]:
        """The catalogue as a token for that project carries it."""
        found = self._catalogs.get(project_id or "")
        if found is None:
            found = [self._entry(service, project_id or "") for service in self.records["services"].values()]
            self._catalogs[project_id or ""] = found
        return found

    def _entry(self, service: Json, project_id: str) -> Json:
        endpoints = [
            {
                "id": record["id"],
                "interface": record["interface"],
                "region_id": record["region_id"],
                "url": _url(record["url"], project_id),
                "region": record["region_id"],
            }
            for record in self.records["endpoints"].values()
            if record["service_id"] == service["id"]
        ]
        return {
            "endpoints": endpoints,
            "id": service["id"],
            "type": service["type"],
            "name": service.get("name", ""),
        }

    def changed(self) -> None:
        """Forget what was derived from records that were changed in place."""
        self._catalogs.clear()

    def issue(self, user_id: str, project_id: str | None, methods: list[str], roles: frozenset[str]) -> Token:
        """Make a token for the user, scoped to a project or to nothing."""
        now = float(int(self.clock()))
        token = Token(
            id=new_id(),
            user_id=user_id,
            user_name=self.records["users"][user_id]["name"],
            roles=roles,
            methods=methods,
            issued_at=now,
            expires_at=now + self.token_seconds,
            project_id=project_id,
            project_name=self.records["projects"][project_id]["name"] if project_id else None,
        )
        self.tokens[token.id] = token
        return token

    def validate(self, token_id: str | None) -> Token | None:
        """The token if it is known, unexpired and not revoked."""
        token = self.tokens.get(token_id or "")
        if token is None or token.revoked or token.expires_at <= self.clock():
            return None
        return token


def _url(template: str, project_id: str) -> str:
    return (
        template.replace("$(project_id)s", project_id)
        .replace("%(project_id)s", project_id)
        .replace("$(tenant_id)s", project_id)
    )
