"""A small client of the sites' own REST APIs: what seeding, counting and tempest's configuration need.

Synchronous and slow, one connection a call; nothing on a request path may use it.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.model import Credentials

TIMEOUT = 60
ALIASES = {"block-storage": ("block-storage", "volumev3", "block-store", "volume")}


class Refused(SandboxError):
    """An API answered with an error; `status` is its number."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Cloud:
    """One user's view of the services of one region."""

    def __init__(self, credentials: Credentials, region: str) -> None:
        self.credentials = credentials
        self.region = region
        self._token: dict[str, Any] = {}
        self._secret = ""

    @property
    def project_id(self) -> str:
        """The project the token is for."""
        return str(self._login()["project"]["id"])

    @property
    def domain_id(self) -> str:
        """The domain of the user."""
        return str(self._login()["user"]["domain"]["id"])

    def service_type(self, names: Sequence[str]) -> str:
        """Give the first of these service types that the catalog has; raises `SandboxError` for none."""
        types = {entry["type"] for entry in self._login()["catalog"]}
        for name in names:
            if name in types:
                return name
        raise SandboxError(f"{self.credentials.auth_url} has no service of type {names[0]}")

    @property
    def token(self) -> str:
        """The token, got at the first use."""
        self._login()
        return self._secret

    def endpoint(self, service: str) -> str:
        """Give the public endpoint of a service type in the region, an older name of the type too.

        Raises `SandboxError` when the catalog has none.
        """
        if service == "identity":
            return self.credentials.auth_url
        catalog = {entry["type"]: entry for entry in self._login()["catalog"]}
        for name in ALIASES.get(service, (service,)):
            for endpoint in catalog.get(name, {"endpoints": []})["endpoints"]:
                if endpoint["interface"] == "public" and endpoint["region_id"] == self.region:
                    return str(endpoint["url"]).rstrip("/")
        raise SandboxError(f"{self.credentials.auth_url} has no {service} endpoint in {self.region}")

    def get(self, service: str, path: str, version: str | None = None) -> Any:
        """GET a JSON document; `version` is a microversion."""
        return self.call("GET", service, path, version=version)

    def post(self, service: str, path: str, body: Any) -> Any:
        """POST a JSON document and give the answer's."""
        return self.call("POST", service, path, body)

    def call(
        self, method: str, service: str, path: str, body: Any = None, *, version: str | None = None
    ) -> Any:
        """Send a request; bytes go as they are, anything else as JSON. Raises `Refused` for 4xx and 5xx."""
        headers = {"X-Auth-Token": self.token}
        if version:
            headers["OpenStack-API-Version"] = f"{service} {version}"
        return send(method, self.endpoint(service) + path, headers, body)[1]

    def _login(self) -> dict[str, Any]:
        """Get a token once; every use of this class is shorter than a token's life."""
        if not self._token:
            who = self.credentials
            password = {"name": who.username, "password": who.password, "domain": {"name": who.user_domain}}
            scope = {"project": {"name": who.project, "domain": {"name": who.project_domain}}}
            methods = {"methods": ["password"], "password": {"user": password}}
            body = {"auth": {"identity": methods, "scope": scope}}
            headers, answer = send("POST", f"{who.auth_url}/auth/tokens", {}, body)
            self._secret = headers["x-subject-token"]
            self._token = answer["token"]
        return self._token


def send(method: str, url: str, headers: Mapping[str, str], body: Any = None) -> tuple[dict[str, str], Any]:
    """Send one request; give the answer's headers, names in lower case, and its JSON (None for no JSON).

    Raises `Refused` for 4xx and 5xx, `SandboxError` when there is no answer.
    """
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    wanted = {"Accept": "application/json", "Content-Type": kind, **headers}
    request = urllib.request.Request(url, data=raw, headers=wanted, method=method)  # noqa: S310 - http, ours
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=TIMEOUT
        ) as got:
            content = got.read()
            names = {name.lower(): value for name, value in got.headers.items()}
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")[:500]
        raise Refused(f"{method} {url}: {error.code} {text}", error.code) from error
    except OSError as error:
        raise SandboxError(f"{method} {url}: no answer ({error})") from error
    is_json = "json" in names.get("content-type", "") and content
    return names, json.loads(content) if is_json else None
