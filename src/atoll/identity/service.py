"""The whole of the built-in identity: which route leads where, and which of Keystone's are not served.

Add a route here, its handler in the module of its noun, and a line to docs/reference/built-in-identity.md.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from atoll.core.errors import NotImplementedHere
from atoll.identity.asked import Answer, Asked
from atoll.identity.auth import Auth
from atoll.identity.catalog import Catalog
from atoll.identity.credentials import Credentials
from atoll.identity.directory import Directory
from atoll.identity.keys import Keys, Sealing
from atoll.identity.passwords import Passwords
from atoll.identity.projects import Projects
from atoll.identity.records import User
from atoll.identity.roles import Roles
from atoll.identity.tokens import Tokens
from atoll.identity.users import Users
from atoll.store import Registry

Handle = Callable[[Asked], Awaitable[Answer]]

VERSION: Final = "v3.14"
NOT_FOUND: Final = (
    b"<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"
    b"<p>The requested URL was not found on the server. If you entered the URL manually please check your "
    b"spelling and try again.</p>\n"
)
PUBLIC: Final = frozenset({("POST", "auth/tokens"), ("POST", "users/{}/password")})
"""What needs no token."""

# What Keystone has and one person or a small team does without: the first or third segment of the path.
NOT_SERVED: Final[Mapping[str, str]] = {
    "groups": "groups",
    "system": "system roles",
    "inherited_to_projects": "inherited roles",
    "OS-INHERIT": "inherited roles",
    "implies": "other implied roles than admin, manager, member, reader",
    "role_inferences": "other implied roles than admin, manager, member, reader",
    "credentials": "EC2 and other credentials",
    "ec2tokens": "EC2 credentials",
    "s3tokens": "EC2 credentials",
    "OS-EC2": "EC2 credentials",
    "OS-TRUST": "trusts",
    "OS-FEDERATION": "federation",
    "OS-OAUTH1": "OAuth",
    "OS-OAUTH2": "OAuth",
    "OS-EP-FILTER": "filters of the catalog",
    "OS-ENDPOINT-POLICY": "policies",
    "OS-REVOKE": "lists of revocations",
    "OS-SIMPLE-CERT": "certificates",
    "policies": "policies",
    "limits": "unified limits",
    "limits-model": "unified limits",
    "registered_limits": "unified limits",
    "tags": "tags of projects by a route of their own",
    "config": "settings of domains",
}


class Found(NamedTuple):
    """What a path leads to."""

    template: str
    methods: Mapping[str, Handle]


class Identity:
    """Answers identity v3.

    `endpoints` gives the catalogue by service type; `token_seconds` how long a token lives; `clock` gives
    seconds since 1970.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        region: str,
        endpoints: Callable[[], Mapping[str, str]],
        token_seconds: float,
        sealing: Sealing | None = None,
        clock: Callable[[], float] = time.time,
        passwords: Passwords | None = None,
    ) -> None:
        self.registry = registry
        self._keys = Keys(registry, clock=clock, longest=token_seconds, sealing=sealing)
        self.tokens = Tokens(registry, self._keys, seconds=token_seconds, clock=clock)
        self._passwords = passwords or Passwords(now=time.monotonic)
        self.directory = Directory(registry, self._passwords)
        catalog = Catalog(region, endpoints)
        auth = Auth(self.directory, self.tokens, self._passwords, catalog)
        users = Users(self.directory, self._passwords)
        projects, roles = Projects(self.directory), Roles(self.directory)
        credentials = Credentials(self.directory, clock)
        self.routes: dict[str, dict[str, Handle]] = {
            "auth/tokens": {
                "GET": auth.show_token, "HEAD": auth.show_token, "POST": auth.create_token,
                "DELETE": auth.revoke_token,
            },
            "auth/catalog": {"GET": catalog.of_token},
            "auth/projects": {"GET": auth.list_projects},
            "auth/domains": {"GET": auth.list_domains},
            "auth/system": {"GET": auth.show_system},
            "users": {"GET": users.list_, "POST": users.create},
            "users/{}": {"GET": users.show, "PATCH": users.update, "DELETE": users.delete},
            "users/{}/password": {"POST": users.change_password},
            "users/{}/tokens": {"DELETE": users.revoke_tokens},
            "users/{}/projects": {"GET": projects.list_of_user},
            "users/{}/application_credentials": {"GET": credentials.list_, "POST": credentials.create},
            "users/{}/application_credentials/{}": {"GET": credentials.show, "DELETE": credentials.delete},
            "users/{}/access_rules": {"GET": credentials.list_rules},
            "users/{}/access_rules/{}": {"GET": credentials.show_rule, "DELETE": credentials.delete_rule},
            "projects": {"GET": projects.list_, "POST": projects.create},
            "projects/{}": {"GET": projects.show, "PATCH": projects.update, "DELETE": projects.delete},
            "projects/{}/users/{}/roles": {"GET": roles.list_granted},
            "projects/{}/users/{}/roles/{}": {
                "GET": roles.check_grant, "PUT": roles.grant, "DELETE": roles.revoke,
            },
            "domains": {"GET": projects.list_domains},
            "domains/{}": {"GET": projects.show_domain},
            "roles": {"GET": roles.list_},
            "roles/{}": {"GET": roles.show},
            "role_assignments": {"GET": roles.list_assignments},
            "regions": {"GET": catalog.list_regions},
            "regions/{}": {"GET": catalog.show_region},
            "services": {"GET": catalog.list_services},
            "services/{}": {"GET": catalog.show_service},
            "endpoints": {"GET": catalog.list_endpoints},
            "endpoints/{}": {"GET": catalog.show_endpoint},
        }  # fmt: skip
        self._by_shape = {_shape(template): Found(template, on) for template, on in self.routes.items()}

    async def start(self) -> None:
        """See to it that tokens can be made. Raises `StoreError`."""
        await self.registry.load()
        await self._keys.ensure()

    def close(self) -> None:
        """End what works beside the event loop."""
        self._passwords.close()

    def has_users(self) -> bool:
        """Whether anybody can log in."""
        return bool(self.registry.all(User))

    def needs_token(self, method: str, path: str) -> bool:
        """Whether a token is needed at all for a path below the version."""
        found = self._find(tuple(path.strip("/").split("/")))
        return found is None or (method, found.template) not in PUBLIC

    async def answer(self, asked: Asked) -> Answer:
        """Answer one request below the version. Raises what the handlers raise, NotImplementedHere."""
        found = self._find(asked.segments)
        if found is None:
            for part in asked.segments:
                if part in NOT_SERVED:
                    raise NotImplementedHere(f"The built-in identity has no {NOT_SERVED[part]}.")
            return Answer(status=404, html=NOT_FOUND)
        handle = found.methods.get(asked.method)
        if handle is None and asked.method == "HEAD":
            handle = found.methods.get("GET")
        if handle is None:
            allow = sorted({*found.methods, "OPTIONS", *(["HEAD"] if "GET" in found.methods else [])})
            message = {"message": "The method is not allowed for the requested URL."}
            return Answer(status=405, headers=(("Allow", ", ".join(allow)),), body=message)
        return await handle(asked)

    def _find(self, segments: tuple[str, ...]) -> Found | None:
        """What is served under a path: even segments are names, odd ones below `auth` too."""
        if segments[0] == "auth":
            return self._by_shape.get(segments)
        return self._by_shape.get(tuple("{}" if at % 2 else part for at, part in enumerate(segments)))


def _shape(template: str) -> tuple[str, ...]:
    return tuple(template.split("/"))


def versions(url: str) -> Answer:
    """Say which versions there are; `url` is where identity is, without one. As Keystone: 300."""
    body = {"versions": {"values": [describe_version(url)]}}
    return Answer(status=300, headers=(("Location", f"{url}/v3/"),), body=body)


def version(url: str) -> Answer:
    """Describe version 3."""
    return Answer(body={"version": describe_version(url)})


def describe_version(url: str) -> dict[str, object]:
    """The one version, as Keystone describes it; `url` is where identity is, without a version."""
    return {
        "id": VERSION,
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{url}/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


def encoded(body: object) -> bytes:
    """A body as bytes, with the line end that Keystone's have."""
    return msgspec.json.encode(body) + b"\n"
