"""Paths in no table, at clouds with credentials: the site decides where the credential is a member's."""

from collections.abc import AsyncIterator
from typing import Any

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll
from tests.scenarios.apart import Apart, apart, asked
from tests.scenarios.conftest import UNKNOWN, client_of

from atoll.gateway.call import new_request_id

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")

# Collections of releases to come, and methods that a route has not got.
NEW = (
    ("GET", "/compute/v2.1/os-new-things", "reader"),
    ("GET", f"/compute/v2.1/os-new-things/{UNKNOWN}/parts", "reader"),
    ("POST", "/compute/v2.1/os-new-things", "member"),
    ("PATCH", f"/compute/v2.1/servers/{UNKNOWN}", "member"),
    ("GET", "/block-storage/v3/new-things", "reader"),
    ("POST", "/block-storage/v3/new-things", "member"),
    ("GET", "/image/v2/new-things", "reader"),
    ("DELETE", "/image/v2/new-things/1", "member"),
    ("GET", "/network/v2.0/new_things", "reader"),
    ("POST", "/network/v2.0/sfc/new-things", "member"),
)


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        for role in ("reader", "member"):
            made.keystone.store.add_user(f"a-{role}", "x", made.keystone.project_id("demo"), role)
        yield made


async def gateway(start_atoll: StartAtoll, clouds: Apart, role: str = "", **more: Any) -> Atoll:
    """A gateway with a credential of the project, which has one more role at the sites."""
    for site in clouds.cloud.sites if role else ():
        store = site.keystone.store
        store.assignments.add((store.id_of("user", "demo"), store.id_of("project", "demo"), role))
    credentials = [{**one, **more} for one in clouds.credentials("demo")]
    made = await start_atoll(clouds.auth_url, clouds.sites, credentials=credentials, **clouds.tables)
    await made.settled()
    return made


async def tried(atoll: Atoll, clouds: Apart, who: str, method: str, path: str) -> tuple[int, str, bool]:
    """(status, text, whether a site was asked)."""
    ident = new_request_id()
    async with client_of(atoll, clouds.keystone.token(who, "demo")) as client:
        body: dict[str, Any] | None = {"new_thing": {}} if method in {"POST", "PATCH"} else None
        answer = await client.request(method, path, json=body, headers={"X-OpenStack-Request-ID": ident})
    return answer.status_code, answer.text, bool(asked(clouds, ident))


async def test_a_members_credential_and_the_site_decide(start_atoll, clouds):
    atoll = await gateway(start_atoll, clouds)
    for method, path, role in NEW:
        for who in ("reader", "member"):
            status, text, reached = await tried(atoll, clouds, f"a-{who}", method, path)
            may = who in {role, "member"}
            assert reached == may, (method, path, who, status, text)
            assert (status == 403) == (not may), (method, path, who, status, text)


async def test_an_administrator_goes_as_one_or_where_that_cannot_be_as_a_member(start_atoll, clouds):
    plain = await gateway(start_atoll, clouds)
    both = await start_atoll(
        clouds.auth_url, clouds.sites, credentials=clouds.credentials("demo", "admin"), **clouds.tables
    )
    for atoll, user in ((plain, "demo"), (both, "admin")):
        await atoll.settled()
        ident = new_request_id()
        async with client_of(atoll, clouds.keystone.token("admin", "demo")) as admin:
            await admin.get("/compute/v2.1/os-new-things", headers={"X-OpenStack-Request-ID": ident})
        (site, seen), *_ = asked(clouds, ident)
        store = clouds.cloud.site(site).keystone.store
        assert store.tokens[seen.header("x-auth-token")].user_id == store.id_of("user", user)


async def test_a_path_that_can_be_read_in_two_ways_is_an_administrators_all_the_same(start_atoll, clouds):
    atoll = await gateway(start_atoll, clouds)
    for path in ("/compute/v2.1/new%5cthings", "/image/v2/a;b"):
        status, _, reached = await tried(atoll, clouds, "a-member", "GET", path)
        assert (status, reached) == (403, False), path


async def test_a_path_with_more_slashes_is_the_plain_one(start_atoll, clouds):
    """No site is sent the other one, and what needs a stronger role needs it."""
    atoll = await gateway(start_atoll, clouds)
    for path, plain in (
        ("/compute/v2.1/new%2fthings", "/v2.1/new/things"),
        ("/compute/v2.1//new", "/v2.1/new"),
        ("/network/v2.0/new//things", "/v2.0/new/things"),
    ):
        _, _, reached = await tried(atoll, clouds, "a-member", "GET", path)
        assert reached, path
        seen = [one.target for site in clouds.cloud.sites for one in site.listener.seen]
        assert any(one.endswith(plain) for one in seen), path
        assert not any("//" in one or "%2f" in one for one in seen), path
    for who, method, path in (
        ("a-member", "GET", "/compute/v2.1//os-hypervisors"),
        ("a-member", "GET", "/compute/v2.1/os-hypervisors%2fdetail"),
        ("a-member", "GET", "/compute//v2.1/os-hypervisors"),
        ("a-reader", "POST", "/compute//v2.1/servers"),
        ("a-reader", "POST", "/network//v2.0/networks"),
        ("a-reader", "POST", "/block-storage/%763/volumes"),
        ("a-reader", "POST", "/block-storage/v3/volumes.json"),
    ):
        status, _, reached = await tried(atoll, clouds, who, method, path)
        assert (status, reached) == (403, False), path


@pytest.mark.parametrize(("role", "more"), [("admin", {"admin_for_members": True}), ("service", {})])
async def test_with_a_credential_that_may_do_more_nobody_knows_what_it_would_do(
    start_atoll, clouds, role, more
):
    atoll = await gateway(start_atoll, clouds, role, **more)
    for method, path, _ in NEW:
        if path.startswith("/network/"):
            continue  # what is there is of extensions, see ADR 18
        status, text, reached = await tried(atoll, clouds, "a-member", method, path)
        assert (status, reached) == (403, False), (method, path)
        assert role in text
        assert "member only would do" in text
