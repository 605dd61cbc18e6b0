"""What is under contract: a simulated site, Atoll before two of them, or a real site by ATOLL_CONTRACT.

`ATOLL_CONTRACT=<clouds.yaml>:<cloud>:<region>` runs the suite against a real site. The cloud's name must
end in `-admin`; the same name without the ending is the plain user's. Without it every test runs against a
simulated site and, but for those that DIFFERENT gives a reason for, through Atoll, which answers as one site.
"""

import asyncio
import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.identities import directory_in
from tests.running import ELSEWHERE, atoll_before, sites_of

from atoll.sandbox.simulated import Cloud

UNKNOWN = "11111111-2222-3333-4444-555555555555"
WAIT_SECONDS = 60.0


@dataclass
class Answer:
    """What a site answered."""

    status: int
    headers: list[tuple[str, str]]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def text(self) -> str:
        return self.raw.decode()

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class User:
    """Someone with a token."""

    token: str
    project_id: str
    user_id: str
    urls: dict[str, str]


@dataclass
class SiteUnderTest:
    """One site, real or simulated, reached by plain HTTP."""

    demo: User
    admin: User
    auth_url: str
    real: bool
    undo: list[Callable[[], Any]] = field(default_factory=list)

    def root(self, service: str) -> str:
        """Where the service is, without version."""
        url = self.demo.urls[service]
        for version in ("/v2.1", "/v3", "/v2.0", "/v2"):
            url = url.partition(version)[0]
        return url

    def call(
        self,
        method: str,
        service: str,
        path: str,
        body: Any = None,
        *,
        user: str | None = "demo",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request. `path` starts with the version; `user` is demo, admin, invalid or None."""
        tokens = {"demo": self.demo.token, "admin": self.admin.token, "invalid": "no-such-token"}
        sent = {"X-Auth-Token": tokens[user]} if user else {}
        sent |= headers or {}
        if body is not None and not isinstance(body, bytes):
            body = body if isinstance(body, str) else json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        return fetch(method, self.root(service) + path, sent, body)

    def wait(self, look: Callable[[], Any]) -> Any:
        """Wait until `look` returns something true; that thing."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(0.3 if self.real else 0.01)
        raise AssertionError("nothing happened in time")


def fetch(method: str, url: str, headers: dict[str, str], body: Any = None) -> Answer:
    """One request on a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
    try:
        connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def log_in(cloud: dict[str, Any], region: str) -> User:
    """A token and the endpoints of a region for a clouds.yaml entry."""
    auth = cloud["auth"]

    def domain(of: str) -> dict[str, str]:
        return {key: auth[f"{of}_domain_{key}"] for key in ("id", "name") if f"{of}_domain_{key}" in auth}

    user = {"name": auth["username"], "domain": domain("user"), "password": auth["password"]}
    project = {"name": auth["project_name"], "domain": domain("project")}
    identity = {"methods": ["password"], "password": {"user": user}}
    body = {"auth": {"identity": identity, "scope": {"project": project}}}
    answer = fetch(
        "POST", auth["auth_url"] + "/auth/tokens", {"Content-Type": "application/json"}, json.dumps(body)
    )
    assert answer.status == 201, answer.text
    token = answer.json["token"]
    urls = {
        entry["type"]: endpoint["url"]
        for entry in token["catalog"]
        for endpoint in entry["endpoints"]
        if endpoint["region_id"] == region and endpoint["interface"] == "public"
    }
    return User(answer.header("x-subject-token") or "", token["project"]["id"], token["user"]["id"], urls)


def _connect(clouds: dict[str, Any], name: str, region: str, *, real: bool) -> SiteUnderTest:
    admin, demo = clouds[name], clouds[name.removesuffix("-admin")]
    return SiteUnderTest(log_in(demo, region), log_in(admin, region), demo["auth"]["auth_url"], real)


# What one site and Atoll before two of them must answer differently, and why.
DIFFERENT = {
    "test_zones": "the zones are the operator's, each for a site",
    "test_types_limits_quotas_zones": "the zones are the operator's, each for a site",
    "test_zones_of_networks": "the zones are the operator's, each for a site",
    "test_catalog_and_projects_of_a_token": "the catalogue names only Atoll",
    "test_a_region_is_registered_and_removed": "the catalogue names only Atoll",
    "test_pages_counts_and_sorting": "Cinder links to an empty page after the last one; a merged list ends",
    "test_attach_to_a_server": "demo has a network at each site: the server is where its network is",
}


# What the built-in identity answers differently from a Keystone.
NOT_BUILT_IN = {
    "test_catalog_and_projects_of_a_token": "the catalogue names only Atoll",
    "test_a_region_is_registered_and_removed": "the catalogue is read only",
    "test_no_two_trusts_end_in_the_same_second": "it needs no trusts",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs against a simulated site and through Atoll; or against the site that is named.

    Those of identity run against the built-in one too.
    """
    if "connected" in metafunc.fixturenames:
        under = ["named"] if os.environ.get("ATOLL_CONTRACT") else ["site", "atoll"]
        if metafunc.function.__name__ in DIFFERENT and "atoll" in under:
            under.remove("atoll")
        of_identity = metafunc.module.__name__.endswith("test_identity")
        if "site" in under and of_identity and metafunc.function.__name__ not in NOT_BUILT_IN:
            under.append("built-in")
        metafunc.parametrize("connected", under, indirect=True, scope="session")


@pytest.fixture(scope="session")
def connected(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SiteUnderTest]:
    """The site for the whole run."""
    if request.param == "named":
        path, name, region = os.environ["ATOLL_CONTRACT"].split(":")
        yield _connect(json.loads(Path(path).read_text())["clouds"], name, region, real=True)
        return
    loop, stack, cloud = (
        asyncio.new_event_loop(),
        AsyncExitStack(),
        Cloud(1 if request.param == "site" else 2),
    )
    thread = threading.Thread(target=loop.run_forever, name=ELSEWHERE, daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(20)

    try:
        run(stack.enter_async_context(cloud))
        clouds = cloud.clouds_yaml()["clouds"]
        region = "site1"
        if request.param != "site":
            database = tmp_path_factory.mktemp("contract") / "atoll.db"
            front = _front if request.param == "atoll" else _built_in
            run(front(stack, cloud, clouds, database))
            region = "Atoll"
        yield _connect(clouds, "simulated-admin", region, real=False)
        errors = [*cloud.keystone.listener.server.errors, *cloud.sites[0].listener.server.errors]
        assert errors == []
    finally:
        run(stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _front(stack: AsyncExitStack, cloud: Cloud, clouds: dict[str, Any], database: Path) -> None:
    """Atoll before the sites of a cloud, and its address in the entries of clouds.yaml."""
    public = {site.name: site.public_network_id for site in cloud.sites}
    equivalents = [{"resource": "network", "name": "public", "ids": public}]
    limits = {"fan_out_per_second": 10000.0, "fan_out_burst": 10000}
    tables = {"equivalents": equivalents, "limits": limits}
    atoll = await stack.enter_async_context(
        atoll_before(cloud.keystone.auth_url, sites_of(cloud), database, tables)
    )
    await atoll.settled()
    for entry in clouds.values():
        entry["auth"]["auth_url"] = f"{atoll.url}/identity/v3"


async def _built_in(stack: AsyncExitStack, cloud: Cloud, clouds: dict[str, Any], database: Path) -> None:
    """Atoll with an identity of its own, and the same users in it as the simulated Keystone has."""
    async with directory_in(database) as directory:
        for entry, roles in ((clouds["simulated-admin"], ["admin"]), (clouds["simulated"], ["member"])):
            auth = entry["auth"]
            project = await directory.create_project(auth["project_name"])
            user = await directory.create_user(auth["username"], auth["password"])
            for role in roles:
                await directory.assign(user.id, project.id, role)
    sites = {name: {**one, "cloud": "simulated"} for name, one in sites_of(cloud).items()}
    tables = {"clouds": {"simulated": {"auth_url": cloud.keystone.auth_url}}}
    atoll = await stack.enter_async_context(atoll_before("", sites, database, tables))
    for entry in clouds.values():
        entry["auth"]["auth_url"] = f"{atoll.url}/identity/v3"


@pytest.fixture
def site(connected: SiteUnderTest) -> Iterator[SiteUnderTest]:
    """The site, with what a test made taken away after it."""
    yield connected
    while connected.undo:
        connected.undo.pop()()
