"""Give a Keystone its users, services, regions and endpoints. Only what is missing is made."""

from typing import Any

from atoll.sandbox.real.api import Cloud
from atoll.sandbox.real.model import Keystone, Site

SERVICE_USERS = ("nova", "neutron", "cinder", "glance", "placement")
INTERFACES = ("public", "internal", "admin")


class Identity:
    """The admin's view of one Keystone: its collections by name."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def named(self, collection: str, key: str = "name") -> dict[str, Any]:
        """Give the resources of a collection by name, or by another field."""
        return {item[key]: item for item in self.cloud.get("identity", f"/{collection}")[collection]}

    def ensure(self, collection: str, name: str, **attributes: Any) -> str:
        """Give the id of the resource of that name, made when it is missing."""
        have = self.named(collection)
        if name not in have:
            kind = collection.removesuffix("s")
            body = {kind: {"name": name, **attributes}}
            return str(self.cloud.post("identity", f"/{collection}", body)[kind]["id"])
        return str(have[name]["id"])

    def grant(self, role: str, user: str, scope: str) -> None:
        """Give a user a role on `projects/ID` or, with `system`, on the whole deployment."""
        path = f"/{scope}/users/{user}/roles/{role}"
        self.cloud.call("PUT", "identity", path)


def fill_keystone(keystone: Keystone, sites: list[Site]) -> None:
    """Have the service users, the ordinary users, and the endpoints of `sites`."""
    identity = Identity(Cloud(keystone.admin_credentials, keystone.region))
    roles = {name: identity.ensure("roles", name) for name in ("service", "member", "creator")}
    roles["admin"] = identity.ensure("roles", "admin")
    _users(identity, keystone, roles)
    _endpoints(identity, keystone, sites)


def _users(identity: Identity, keystone: Keystone, roles: dict[str, str]) -> None:
    home = identity.named("domains")["Default"]["id"]
    domain = identity.ensure("domains", keystone.user_domain)
    service = identity.ensure("projects", "service", domain_id=home)
    for name in SERVICE_USERS:
        user = identity.ensure("users", name, domain_id=home, password=keystone.password)
        for role in ("admin", "service"):
            identity.grant(roles[role], user, f"projects/{service}")
    for name in keystone.users:
        project = identity.ensure("projects", name, domain_id=domain)
        user = identity.ensure("users", name, domain_id=domain, password=keystone.password)
        identity.grant(roles["member"], user, f"projects/{project}")
    identity.grant(roles["admin"], identity.named("users")[keystone.admin]["id"], "system")


def _endpoints(identity: Identity, keystone: Keystone, sites: list[Site]) -> None:
    volume_type, volume_name = keystone.release.volume_service
    offered = {
        "compute": ("nova", "/v2.1"),
        volume_type: ("cinder", "/v3/$(project_id)s"),
        "placement": ("placement", ""),
        "image": ("glance", ""),
        "network": ("neutron", ""),
    }
    names = {volume_type: volume_name}
    for kind, (program, _) in offered.items():
        identity.ensure("services", names.get(kind, program), type=kind)
    services = {kind: service["id"] for kind, service in identity.named("services", "type").items()}
    endpoints = identity.cloud.get("identity", "/endpoints")["endpoints"]
    have = {(one["service_id"], one["interface"], one["region_id"]) for one in endpoints}
    regions = identity.named("regions", "id")
    for site in sites:
        if site.region not in regions:
            identity.cloud.post("identity", "/regions", {"region": {"id": site.region}})
        urls = {kind: site.url(program) + path for kind, (program, path) in offered.items()}
        for kind, url in {"identity": keystone.url, **urls}.items():
            for interface in INTERFACES:
                if (services[kind], interface, site.region) not in have:
                    endpoint = {"service_id": services[kind], "interface": interface, "url": url}
                    body = {"endpoint": {**endpoint, "region": site.region}}
                    identity.cloud.post("identity", "/endpoints", body)
