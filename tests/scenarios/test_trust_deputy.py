"""The confused deputy: what a site would do for Atoll's credential, it does not do for every caller of Atoll.

Each credential here is an administrator's at its site, not marked so, and allowed for members all the same:
nothing but the check at the top is between them and it. The cases are the tables' own.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.conftest import StartAtoll
from tests.raw import connected
from tests.running import Atoll
from tests.scenarios.apart import Apart, apart, asked
from tests.scenarios.conftest import SERVERS, UNKNOWN, Client, client_of

from atoll.gateway.call import new_request_id
from atoll.services.catalog import SERVICES
from atoll.services.table import RANKS, Others, Service

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")

NAMES = ("compute", "block-storage", "image", "network")
ROLES = ("reader", "member", "manager")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, and the least role that it needs."""

    method: str
    path: str  # below the service
    role: str
    body: Mapping[str, Any] | list[Any] | None = None


def asks_of(service: Service, project: str) -> Iterator[Ask]:
    """Every method of every line of a service's table, with each action and each field that has a role."""
    own = UNKNOWN.replace("-", "")
    for line in service.rows:
        parts = line.path.replace("{id}", project if line.of_project else own).replace("**", "thing")
        if service.service_type != "network" and not line.of_project:
            parts = parts.replace(own, UNKNOWN)
        path = f"/{service.service_type}/{service.versions[0]}/{parts}"
        for method, role in line.roles.items():
            yield Ask(method, path, role)
            if method in {"POST", "PUT", "PATCH"}:
                for action, least in line.actions.items():
                    yield Ask(method, path, least, {action: {}})
                for place in line.admin_fields:
                    yield Ask(method, path, "admin", body_with(place))
            if line.of_project:
                yield Ask(method, path.replace(project, "f" * 32), "admin")


def body_with(place: str) -> dict[str, Any]:
    """A body with something at a place."""
    place, _, said = place.partition("=")
    value: Any = said or True
    for key in reversed(place.split("/")):
        value = [value] if key == "*" else {key: value}
    assert isinstance(value, dict)
    return value


def too_high(service: Service, project: str, rank: int) -> list[Ask]:
    return [one for one in asks_of(service, project) if RANKS[one.role] > rank]


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        for site in made.cloud.sites:
            store = site.keystone.store
            store.assignments.add((store.id_of("user", "demo"), store.id_of("project", "demo"), "admin"))
        for role in ROLES:
            made.keystone.store.add_user(f"a-{role}", "x", made.keystone.project_id("demo"), role)
        yield made


def for_members(clouds: Apart, *projects: str) -> list[dict[str, Any]]:
    """The credentials of projects, used for all of their members whatever they are at the sites."""
    return [{**one, "admin_for_members": not one["admin"]} for one in clouds.credentials(*projects)]


# Every route is asked for in turn: faster than anybody should.
WIDE = {"limits": {"fan_out_burst": 100_000, "private_addresses": True}}


@pytest.fixture
async def atoll(start_atoll: StartAtoll, clouds: Apart) -> Atoll:
    running = await start_atoll(
        clouds.auth_url,
        clouds.sites,
        credentials=for_members(clouds, "demo", "admin"),
        **WIDE,
        **clouds.tables,
    )
    await running.settled()
    return running


@pytest.fixture
async def ordinary(start_atoll: StartAtoll, clouds: Apart) -> Atoll:
    """A gateway to which no credential was given as an administrator's."""
    running = await start_atoll(
        clouds.auth_url, clouds.sites, credentials=for_members(clouds, "demo"), **clouds.tables
    )
    await running.settled()
    return running


def of_role(atoll: Atoll, clouds: Apart, role: str) -> Client:
    return client_of(atoll, clouds.keystone.token(f"a-{role}", "demo"))


async def reached(client: Client, clouds: Apart, ask: Ask, **more: Any) -> tuple[int, str, list[str]]:
    """(status, message, the sites that heard of it)."""
    ident = new_request_id()
    answer = await client.request(
        ask.method, ask.path, json=ask.body, headers={"X-OpenStack-Request-ID": ident}, **more
    )
    return answer.status_code, answer.text, [site for site, _ in asked(clouds, ident)]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", NAMES)
async def test_what_needs_a_stronger_role_reaches_no_site(atoll, clouds, name, role):
    service, project = SERVICES[name], clouds.keystone.project_id("demo")
    asks = too_high(service, project, RANKS[role])
    assert asks
    async with of_role(atoll, clouds, role) as client:
        wrong = []
        for ask in asks:
            status, _, sites = await reached(client, clouds, ask)
            if (status, sites) != (403, []):
                wrong.append((ask.method, ask.path, ask.body, status, sites))
    assert wrong == []


@pytest.mark.parametrize("name", ["compute", "block-storage"])
async def test_nor_with_the_project_in_the_path_a_slash_at_the_end_or_as_head(atoll, clouds, name):
    service, project = SERVICES[name], clouds.keystone.project_id("demo")
    version = f"/{name}/{service.versions[0]}/"
    async with of_role(atoll, clouds, "member") as client:
        wrong = []
        for ask in too_high(service, project, RANKS["member"]):
            for changed in (
                Ask(ask.method, ask.path.replace(version, f"{version}{project}/"), "", ask.body),
                Ask(ask.method, ask.path + "/", "", ask.body),
                *([Ask("HEAD", ask.path, "")] if ask.method == "GET" else []),
            ):
                status, _, sites = await reached(client, clouds, changed)
                if (status, sites) != (403, []):
                    wrong.append((changed.method, changed.path, changed.body, status, sites))
    assert wrong == []


def spellings(path: str) -> Iterator[str]:
    """Other ways to write a path that a site, or a server before it, may take for the same."""
    service, version, rest = path[1:].split("/", 2)
    base = f"/{service}/{version}"
    first, _, tail = rest.partition("/")
    tail = f"/{tail}" if tail else ""
    yield f"{base}/%{ord(first[0]):02x}{first[1:]}{tail}"
    yield f"{base}/{first[:-1]}%{ord(first[-1]):02X}{tail}"
    yield f"/{service}//{version}/{rest}"
    yield f"/{service}/./{version}/{rest}"
    yield f"/{service}/%{ord(version[0]):02x}{version[1:]}/{rest}"
    yield f"{base}%2f{rest}"
    yield f"{base}//{rest}"
    yield f"{base}/./{rest}"
    yield f"{base}/%2e/{rest}"
    yield f"{base}/x/../{rest}"
    yield f"{base}/x/%2e%2e/{rest}"
    yield f"{base}/x%2f..%2f{rest}"
    yield f"{base}/%2f{rest}"
    yield f"{base}/servers/..%2f..%2f{rest}"
    yield f"{base}/flavors/..%2f{rest}"
    yield f"{base}/{rest}.json"
    yield f"{base}/{rest}.xml"
    yield f"{base}/{rest};x=1"
    yield f"{base}/{rest}%3fx=1"
    yield f"{base}/{rest}%00"
    yield f"{base}/{rest}%20"
    yield f"{base}/{rest}%0a"
    yield f"{base}/{rest.replace('os-', 'OS-')}?x" if "os-" in rest else f"{base}/{rest.upper()}"


@pytest.mark.parametrize(
    "path",
    [
        "/compute/v2.1/os-hypervisors", "/compute/v2.1/os-services",
"/block-storage/v3/os-services",
        "/block-storage/v3/qos-specs", "/block-storage/v3/scheduler-stats/get_pools",
        "/image/v2/tasks", "/image/v2/cache", "/network/v2.0/quotas", "/network/v2.0/agents",
    ],
)  # fmt: skip
async def test_nor_however_the_path_is_written(atoll, clouds, path):
    token = clouds.keystone.token("a-member", "demo")
    wrong = []
    for written in spellings(path):
        ident = new_request_id()
        async with connected(atoll.port) as raw:
            answer = await raw.ask(
                f"GET {written} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\n"
                f"X-OpenStack-Request-ID: {ident}\r\n\r\n".encode()
            )
        sites = [site for site, _ in asked(clouds, ident)]
        if answer.status not in {400, 403, 404} or sites:
            wrong.append((written, answer.status, sites))
    assert wrong == []


@pytest.mark.parametrize(
    ("action", "others"),
    [
        ('"os-resetState": {"state": "error"}', '"resetNetwork": null'),
        ('"evacuate": {"host": "h"}', '"os-getRDPConsole": {}'),
        ('"evacuate": {"host": "h"}', '"os-stop": null'),
        ('"migrate": null', '"os-getRDPConsole": {"type": "x"}'),
    ],
)
async def test_nor_beside_another_action(atoll, clouds, action, others):
    path = f"/compute/v2.1/servers/{UNKNOWN}/action"
    async with of_role(atoll, clouds, "member") as client:
        for text in (f"{{{action}, {others}}}", f"{{{others}, {action}}}"):
            ident = new_request_id()
            answer = await client.post(
                path,
                content=text,
                headers={"X-OpenStack-Request-ID": ident, "Content-Type": "application/json"},
            )
            assert (answer.status_code, asked(clouds, ident)) == (403, [])


# What the readers of the services take, and stricter ones do not.
LENIENT = (
    '{"os-resetState": {"state": "error", "x": NaN}}',
    '{"os-resetState": {"state": "\\ud800"}}',
    '{"os-resetState": {"state": "error"}, "os-resetState": {"state": "active"}}',
    '{"os-reset\\u0053tate": {"state": "error"}}',
    ' \n{"os-resetState": {"state": -Infinity}} ',
)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-thing", ""])
@pytest.mark.parametrize("text", LENIENT)
async def test_nor_in_json_of_another_kind(atoll, clouds, text, kind):
    headers = {"Content-Type": kind} if kind else {}
    async with of_role(atoll, clouds, "member") as client:
        for chunked in (False, True):
            ident = new_request_id()

            async def content() -> AsyncIterator[bytes]:
                yield text[:9].encode()
                yield text[9:].encode()

            answer = await client.post(
                f"/compute/v2.1/servers/{UNKNOWN}/action",
                content=content() if chunked else text,
                headers={"X-OpenStack-Request-ID": ident, **headers},
            )
            assert (answer.status_code, asked(clouds, ident)) == (403, [])


VOLUME, OTHER = "1" * 8 + UNKNOWN[8:], "f" * 32
ATTACHMENT = f"/compute/v2.1/servers/{UNKNOWN}/os-volume_attachments/{VOLUME}"
# (method, path, body): what only administrators may say, in places that are no members of their own.
SAID = (
    ("POST", SERVERS, {"server": {"name": "vm", "availability_zone": "site1:host"}}),
    ("POST", SERVERS, {"server": {"name": "vm", "availability_zone": "site1::node"}}),
    ("POST", f"{SERVERS}/{UNKNOWN}/action", {"unshelve": {"availability_zone": "site1:host"}}),
    ("PUT", ATTACHMENT, {"volumeAttachment": {"volumeId": UNKNOWN}}),
    ("PUT", f"{ATTACHMENT}/", {"volumeAttachment": {"volumeId": UNKNOWN, "delete_on_termination": True}}),
    ("POST", "/network/v2.0/networks", {"network": {"name": "n", "project_id": OTHER}}),
    ("POST", "/network/v2.0/networks", {"network": {"name": "n", "tenant_id": OTHER}}),
    ("POST", "/network/v2.0/networks", {"networks": [{"name": "n"}, {"name": "n", "tenant_id": OTHER}]}),
    ("POST", "/network/v2.0/security-groups", {"security_group": {"name": "n", "project_id": OTHER}}),
    ("POST", "/image/v2/images", {"name": "i", "owner": OTHER}),
    ("PATCH", f"/image/v2/images/{UNKNOWN}", [{"op": "replace", "path": "/owner", "value": OTHER}]),
)


@pytest.mark.parametrize(("method", "path", "body"), SAID)
async def test_nor_by_what_a_body_says(atoll, clouds, method, path, body):
    async with of_role(atoll, clouds, "manager") as client:
        assert (await reached(client, clouds, Ask(method, path, "admin", body)))[::2] == (403, [])


async def test_and_the_same_of_ones_own_is_anybodys(atoll, clouds):
    own = clouds.keystone.project_id("demo")
    async with of_role(atoll, clouds, "member") as client:
        for method, path, body in SAID:
            text = json.dumps(body).replace(OTHER, own).replace("site1:host", "site1")
            text = text.replace("site1::node", "site1").replace(
                f'"volumeId": "{UNKNOWN}', f'"volumeId": "{VOLUME}'
            )
            status, said, sites = await reached(client, clouds, Ask(method, path, "member", json.loads(text)))
            assert status != 403, (path, text, said)
            assert sites, (path, text, status)


def queries() -> Iterator[tuple[str, str, Others]]:
    """(path, parameter and value, what others get)."""
    for name in NAMES:
        service = SERVICES[name]
        for line in service.rows:
            if "{id}" not in line.path and "GET" in line.roles:
                for parameter, rule in line.admin_queries.items():
                    if RANKS[line.roles["GET"]] <= RANKS["reader"]:
                        pair = parameter if "=" in parameter else f"{parameter}=1"
                        yield f"/{name}/{service.versions[0]}/{line.path}", pair, rule


# Nova takes these from everybody.
SAID_BY_ALL = frozenset({"is_public=1"})


async def test_queries_that_only_administrators_may_ask(atoll, clouds):
    wrong, count = [], 0
    async with of_role(atoll, clouds, "manager") as client:
        for path, pair, rule in queries():
            if pair in SAID_BY_ALL:
                pair = pair.replace("1", "none")  # noqa: PLW2901
            parameter, _, value = pair.partition("=")
            ways = [
                pair, f"{parameter}=0&{pair}" if value == "1" else f"x=1&{pair}",
                f"{pair}&{parameter}=0" if value == "1" else f"{pair}&x=1",
                f"%{ord(parameter[0]):02x}{parameter[1:]}={value}", f"x=1;{pair}", f"{pair};x=1",
            ]  # fmt: skip
            for query in ways:
                count += 1
                ident = new_request_id()
                answer = await client.get(f"{path}?{query}", headers={"X-OpenStack-Request-ID": ident})
                seen = asked(clouds, ident)
                if rule is Others.DROPPED:
                    heard = [one.target for _, one in seen if pair in one.target]
                    if answer.status_code not in {200, 400, 403, 404} or heard:
                        wrong.append((path, query, answer.status_code, heard))
                elif answer.status_code not in {403, 404} or seen:
                    wrong.append((path, query, answer.status_code, [one.target for _, one in seen]))
    assert count > 100
    assert wrong == []


@pytest.mark.parametrize("role", ["member", "manager"])
async def test_a_switch_that_is_off_is_not_said_to_a_site_that_may_take_it_for_on(atoll, clouds, role):
    """Cinder lists the groups of all projects for `all_tenants=0`."""
    paths = {path for path, pair, _ in queries() if pair.startswith("all_tenants")}
    assert len(paths) > 10
    async with of_role(atoll, clouds, role) as client:
        for path in paths:
            for query in ("all_tenants=0&limit=5", "limit=5&all_tenants=False"):
                ident = new_request_id()
                await client.get(f"{path}?{query}", headers={"X-OpenStack-Request-ID": ident})
                assert [one.target for _, one in asked(clouds, ident) if "all_tenants" in one.target] == []


@pytest.mark.parametrize("name", NAMES)
async def test_an_administrator_without_an_administrators_credential(ordinary, clouds, name):
    wrong = []
    async with client_of(ordinary, clouds.keystone.token("admin", "demo")) as client:
        for ask in too_high(SERVICES[name], clouds.keystone.project_id("demo"), RANKS["manager"]):
            status, text, sites = await reached(client, clouds, ask)
            if status != 403 or sites or (ask.method != "HEAD" and "site" not in text):
                wrong.append((ask.method, ask.path, ask.body, status, sites, text[:200]))
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
async def test_an_administrator_goes_as_one(atoll, clouds, name):
    wrong, count = [], 0
    project = clouds.keystone.project_id("demo")
    async with client_of(atoll, clouds.keystone.token("admin", "demo")) as client:
        for ask in too_high(SERVICES[name], project, RANKS["manager"]):
            if ask.method not in {"GET", "DELETE"}:
                continue  # what is to be written comes after questions that anybody may ask
            ident = new_request_id()
            answer = await client.request(ask.method, ask.path, headers={"X-OpenStack-Request-ID": ident})
            for site, seen in asked(clouds, ident):
                if (seen.method, seen.target.rpartition("/")[2]) != (ask.method, ask.path.rpartition("/")[2]):
                    continue
                count += 1
                store = clouds.cloud.site(site).keystone.store
                user = store.tokens[seen.header("x-auth-token")].user_id
                if user != store.id_of("user", "admin"):
                    wrong.append((ask.method, ask.path, ask.body, answer.status_code, site))
            if answer.status_code == 403:
                wrong.append((ask.method, ask.path, ask.body, answer.status_code, answer.text[:200]))
    assert count > 10
    assert wrong == []


async def test_what_is_anothers_is_found_by_an_administrator_each_time(start_atoll, clouds):
    store = clouds.keystone.store
    atoll = await start_atoll(
        clouds.auth_url,
        clouds.sites,
        credentials=for_members(clouds, "demo", "alt_demo", "admin"),
        **clouds.tables,
    )
    await atoll.settled()
    body = {"server": {"name": "vm", "flavorRef": "42", "imageRef": clouds.cloud.sites[0].image_id("cirros"),
                       "availability_zone": "site1"}}  # fmt: skip
    async with client_of(atoll, clouds.keystone.token()) as user:
        made = await user.post(SERVERS, json=body)
        assert made.status_code == 202, made.text
        path = f"{SERVERS}/{made.json()['server']['id']}"
        assert (await user.get(path)).status_code == 200
        store.assignments.add((store.id_of("user", "admin"), store.id_of("project", "alt_demo"), "admin"))
        async with client_of(atoll, clouds.keystone.token("admin", "alt_demo")) as admin:
            assert [(await admin.get(path)).status_code for _ in range(3)] == [200, 200, 200]
        async with client_of(atoll, clouds.keystone.token("alt_demo")) as other:
            assert [(await other.get(path)).status_code for _ in range(3)] == [404, 404, 404]
        assert (await user.get(path)).status_code == 200, "what others do not see is not gone"
