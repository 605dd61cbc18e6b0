"""Tokens of application credentials with access rules, at clouds apart and with a site that reads them."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.conftest import StartAtoll
from tests.origin import Exchange, Origin
from tests.running import Atoll, until
from tests.scenarios.apart import Apart, apart
from tests.scenarios.conftest import SERVERS, UNKNOWN, server_body
from tests.scenarios.keystones import keystone_of
from tests.scenarios.test_access_rules import restricted

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")

PROJECT = "0" * 32


@dataclass
class Way:
    """A gateway, the clients' Keystone, and what was asked of the sites and their Keystones with a token."""

    atoll: Atoll
    top: Origin
    clouds: Apart

    def asked(self) -> list[str]:
        listeners = [site.listener for site in self.clouds.cloud.sites]
        return [seen.target for one in listeners for seen in one.seen if seen.header("x-auth-token")]

    def logins(self) -> int:
        return sum(
            seen.method == "POST"
            for keystone in self.clouds.cloud.keystones
            for seen in keystone.listener.seen
        )

    async def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        async with self.atoll.client("special") as client:
            answer = await client.request(method, path, follow_redirects=False)
            return answer.status_code, answer.text


@pytest.fixture
async def start(
    start_atoll: StartAtoll, tmp_path, monkeypatch
) -> AsyncIterator[Callable[..., Awaitable[Way]]]:
    """(rules) -> a way through a gateway whose sites have Keystones of their own."""
    async with apart(tmp_path) as clouds:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds.clouds_yaml))
        origins = []

        async def begin(*rules: str) -> Way:
            top = await Origin(keystone_of(restricted(*rules))).__aenter__()
            origins.append(top)
            credentials = [{**one, "project_id": PROJECT} for one in clouds.credentials("demo")]
            atoll = await start_atoll(
                f"{top.url}/identity/v3", clouds.sites, credentials=credentials, **clouds.tables
            )
            await atoll.settled()
            way = Way(atoll, top, clouds)
            await until(lambda: way.logins() >= len(credentials), seconds=20)  # those ahead of any request
            return way

        yield begin
        for one in origins:
            await one.__aexit__(None, None, None)


@pytest.mark.parametrize(
    ("rules", "method", "path"),
    [
        ((), "GET", SERVERS),
        (("compute GET /v2.1/servers",), "GET", f"{SERVERS}/{UNKNOWN}"),
        (("compute GET /v2.1/servers/*",), "DELETE", f"{SERVERS}/{UNKNOWN}"),
        (("compute GET /v2.1/servers/*",), "GET", f"{SERVERS}/{UNKNOWN}/ips"),
        (("volume GET /v2.1/servers",), "GET", SERVERS),
        (("compute GET /v2.1/flavors/**",), "GET", "/compute/v2.1/flavors/../servers"),
        (("compute GET /v2.1/flavors/**",), "GET", "/compute/v2.1/flavors/%2e%2e/servers"),
        (("compute GET /v2.1/flavors/*",), "GET", "/compute/v2.1/flavors/..%2fservers"),
        (("image GET /v2/schemas/**",), "GET", "/image/v2/schemas//images"),
    ],
)
async def test_what_no_rule_allows_is_refused_before_any_call_for_the_caller(start, rules, method, path):
    way = await start(*rules)
    before = way.logins()
    status, _ = await way.get(path, method)
    assert status in {400, 401}
    assert (way.asked(), way.logins() - before) == ([], 0)


async def test_what_a_rule_allows_goes_with_the_credentials_token(start):
    way = await start("compute GET /v2.1/servers/{server_id}")
    status, _ = await way.get(f"{SERVERS}/{UNKNOWN}")
    assert status == 404
    assert len([one for one in way.asked() if UNKNOWN in one]) >= 2


async def test_nor_does_the_shortest_way_let_it_through(start, start_atoll):
    """Where all is known of a server, and others of the project ask for it there."""
    way = await start("compute GET /v2.1/servers/detail")
    # An administrator's takes the ordinary way.
    member: dict[str, object] = {"roles": [{"id": "3", "name": "member"}]}
    special = keystone_of(restricted("compute GET /v2.1/servers/detail") | member)
    plain = keystone_of({"project": {"id": PROJECT}} | member)

    async def keystone(exchange: Exchange) -> None:
        await (plain if exchange.head.header(b"x-subject-token") == b"plain" else special)(exchange)

    async with Origin(keystone) as top:
        credentials = [{**one, "project_id": PROJECT} for one in way.clouds.credentials("demo")]
        atoll = await start_atoll(
            f"{top.url}/identity/v3", way.clouds.sites, credentials=credentials, **way.clouds.tables
        )
        await atoll.settled()
        async with atoll.client("plain") as client:
            made = await client.post(SERVERS, json=server_body(way.clouds.cloud, availability_zone="site1"))
            path = f"{SERVERS}/{made.json()['server']['id']}"
            for _ in range(3):
                assert (await client.get(path)).status_code == 200
        async with atoll.client("special") as client:
            assert (await client.get(f"{SERVERS}/detail")).status_code == 200
            before = len(way.asked())
            for _ in range(3):
                assert (await client.get(path)).status_code == 401
            assert len(way.asked()) == before
        await atoll.end()


async def test_a_fan_out_that_needs_more_names_the_rule(start):
    way = await start("compute GET /v2.1/servers")
    status, text = await way.get(SERVERS)
    assert (status, "GET /v2.1/servers/detail" in text) == (403, True)
    assert way.asked() == []
    other = await start("compute GET /v2.1/servers", "compute GET /v2.1/servers/detail")
    assert (await other.get(SERVERS))[0] == 200


async def test_the_keystone_is_told_that_access_rules_are_known_here(start):
    way = await start("compute GET /v2.1/servers/*")
    await way.get(f"{SERVERS}/{UNKNOWN}")
    asked = [one for one in way.top.seen if one.header(b"x-subject-token")]
    assert asked
    assert {one.header(b"openstack-identity-access-rules") for one in asked} == {b"1.0"}


async def test_atolls_own_api_is_a_service_like_the_others(start):
    """Or a token for one call would do for credentials, sites and all that an administrator sets up."""
    way = await start("compute GET /v2.1/servers")
    for method, path in (
        ("GET", "/atoll/v1/credentials"), ("GET", "/atoll/v1/sites"), ("POST", "/atoll/v1/credentials"),
        ("DELETE", "/atoll/v1/sites/site1"),
    ):  # fmt: skip
        status, text = await way.get(path, method)
        assert (status, "access rules" in text) == (401, True), path
    other = await start("atoll GET /v1/sites", "atoll GET /v1/credentials/**")
    assert (await other.get("/atoll/v1/sites"))[0] == 200
    assert (await other.get("/atoll/v1/credentials/none"))[0] == 404
    assert (await other.get("/atoll/v1/clouds"))[0] == 401


async def test_a_site_that_reads_a_rule_otherwise_makes_it_a_403_that_is_about_the_rule(
    start_atoll: StartAtoll,
):
    """A 401 would have the client throw its token away, and ask again for ever."""

    async def site(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(401, b'{"error": {"code": 401, "message": "no"}}')

    rules = ("compute GET /v2.1/servers", "compute GET /v2.1/servers/detail", "compute GET /v2.1/servers/*")
    async with Origin(keystone_of(restricted(*rules))) as top, Origin(site) as one, Origin(site) as two:
        sites = {
            name: {"region": name, "endpoints": {"compute": f"{origin.url}/compute/v2.1"}}
            for name, origin in (("one", one), ("two", two))
        }
        atoll = await start_atoll(f"{top.url}/identity/v3", sites)
        async with atoll.client("special") as client:
            for path in (SERVERS, f"{SERVERS}/detail", f"{SERVERS}/{UNKNOWN}"):
                answer = await client.get(path)
                assert answer.status_code == 403, (path, answer.text)
                assert "access rules" in answer.text
        await atoll.end()


RULES = [
    {"id": "1", "service": "compute", "method": "GET", "path": "/v2.1/servers/detail"},
    {"id": "2", "service": "compute", "method": "GET", "path": "/one/v2.1/flavors"},
]
LIMITED = {
    "user": {"id": "4" * 32, "name": "u", "domain": {"id": "default", "name": "Default"}},
    "project": {"id": "5" * 32, "name": "p", "domain": {"id": "default", "name": "Default"}},
    "roles": [{"id": "1", "name": "member"}], "methods": ["application_credential"],
    "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2026-01-01T08:00:00.000000Z",
    "application_credential": {"id": "9", "name": "a", "restricted": True, "access_rules": RULES},
}  # fmt: skip


async def limited_keystone(exchange: Exchange) -> None:
    """Gives a token of an application credential with rules."""
    await exchange.body()
    await exchange.answer(201, json.dumps({"token": LIMITED}).encode(), b"X-Subject-Token: theirs")


async def limiting_site(exchange: Exchange) -> None:
    """Keeps to the rules as a site does: anything else is a 401."""
    await exchange.body()
    path = exchange.head.target.partition(b"?")[0]
    good = path.endswith((b"/flavors", b"/servers/detail"))
    server = {"id": UNKNOWN, "name": "vm", "created": "2030-01-01T00:00:00Z", "tenant_id": "5" * 32}
    body = {"flavors": [], "servers": [server] if path.startswith(b"/one/") else []}
    await exchange.answer(200 if good else 401, json.dumps(body).encode())


async def test_a_credential_with_rules_is_used_for_what_they_allow_and_stays_good(
    start_atoll: StartAtoll, tmp_path, monkeypatch
):
    """What the site would refuse is a 403 about the rule. Asked for again and again it ends nothing else."""
    async with (
        apart(tmp_path) as clouds,
        Origin(limited_keystone) as theirs,
        Origin(limiting_site) as compute,
    ):
        entry = {
            "auth_type": "v3applicationcredential",
            "auth": {"auth_url": f"{theirs.url}/v3", "application_credential_id": "9",
                     "application_credential_secret": "s"},
        }  # fmt: skip
        file = tmp_path / "other.yaml"
        file.write_text(json.dumps({"clouds": {"limited": entry}}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
        atoll = await start_atoll(
            clouds.auth_url,
            {
                name: {"region": "r", "cloud": "c", "endpoints": {"compute": f"{compute.url}/{name}/v2.1"}}
                for name in ("one", "two")
            },
            clouds={"c": {"auth_url": f"{theirs.url}/v3"}},
            credentials=[
                {"cloud": "c", "project_id": clouds.keystone.project_id("demo"), "clouds_yaml": "limited"}
            ],
        )
        async with atoll.client(clouds.keystone.token()) as user:
            listed = await user.get(f"{SERVERS}/detail")
            assert [one["id"] for one in listed.json()["servers"]] == [UNKNOWN]
            for path in ("/compute/v2.1/limits", f"{SERVERS}/{UNKNOWN}", f"{SERVERS}/{UNKNOWN}?x=1"):
                for _ in range(4):
                    refused = await user.get(path)
                    assert (refused.status_code, "access rules" in refused.text) == (403, True), refused.text
                    assert "site one" in refused.text
            assert (await user.delete(f"{SERVERS}/{UNKNOWN}")).status_code == 403
            assert (await user.get("/compute/v2.1/flavors")).status_code == 200
        await atoll.end()
        assert len([one for one in theirs.seen if one.method == b"POST"]) == 1, "it logged in once"
        asked = {
            one.target.partition(b"?")[0].partition(b"/v2.1")[2]
            for one in compute.seen
            if one.header(b"x-auth-token")
        }
        assert asked == {b"/servers/detail", b"/flavors"}
