"""What does not fit is refused, and the refusal names it and says what to do."""

import asyncio
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import SERVERS, Client, server_body

from atoll.inventory.records import SiteRecord
from atoll.sandbox.simulated import Cloud
from atoll.store import open_store

API = "/atoll/v1"
GOOD = {"name": "new", "region": "r", "endpoints": {"compute": "http://127.0.0.1:1/v2.1"}}
ZONES = {"z1": {"site": "site1", "zone": "nova"}, "z2": {"site": "site2"}}


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway in front of two sites, with a zone in each."""
    return await start_atoll(
        cloud.keystone.auth_url,
        sites_of(cloud, "site1", "site2"),
        zones=ZONES,
        limits={"private_addresses": True},
    )


BAD: list[tuple[str, str, dict[str, Any], int, list[str]]] = [
    ("POST", "/sites", GOOD | {"name": "site1"}, 409, ["site1 already", "another name"]),
    ("POST", "/sites", GOOD | {"name": "z1"}, 409, ["zone z1", "site1", "another name"]),
    ("POST", "/sites", GOOD | {"name": "a b"}, 400, ["name"]),
    ("POST", "/sites", GOOD | {"number": 1}, 409, ["number 1", "site2", "choose another"]),
    ("POST", "/sites", GOOD | {"number": 8192}, 400, ["number"]),
    ("POST", "/sites", GOOD | {"endpoints": {}}, 400, ["endpoints"]),
    ("POST", "/sites", GOOD | {"endpoints": {"nova": "http://h/"}}, 400, ["nova", "did you mean compute"]),
    ("POST", "/sites", GOOD | {"endpoints": {"compute": "ftp://h/"}}, 400, ["ftp://h/", "http or https"]),
    ("POST", "/sites", GOOD | {"endpoints": {"compute": "http://u:p@h/"}}, 400, ["user or password"]),
    ("POST", "/sites", GOOD | {"cloud": "gone"}, 404, ["no cloud gone"]),
    ("POST", "/sites", GOOD | {"colour": "red"}, 400, ["colour"]),
    ("PATCH", "/sites/site1", {"region": "x"}, 409, ["configuration file", "[sites.site1]"]),
    ("DELETE", "/sites/site1", {}, 409, ["configuration file", "[sites.site1]"]),
    ("PATCH", "/sites/nowhere", {"region": "x"}, 404, ["no site nowhere", "site1, site2"]),
    ("POST", "/sites/nowhere/drain", {}, 404, ["no site nowhere"]),
    ("POST", "/sites/site1/maintain", {}, 400, ["reason"]),
    ("POST", "/zones", {"name": "z1", "site": "site1"}, 409, ["z1 already", "atoll zone set"]),
    ("POST", "/zones", {"name": "z9", "site": "gone"}, 400, ["no site gone", "z9", "site1, site2"]),
    ("POST", "/zones", {"name": "z9", "site": "site1", "zone": "nova"}, 409, ["z1", "one name"]),
    ("POST", "/zones", {"name": "z9", "site": "site1", "zone": {"image": "x"}}, 400, ["image has no zones"]),
    ("POST", "/zones", {"name": "a:b", "site": "site1"}, 400, ["name"]),
    ("PATCH", "/zones/z1", {"zone": "other"}, 409, ["configuration file", "[zones.z1]"]),
    ("DELETE", "/zones/z1", {}, 409, ["configuration file", "[zones.z1]"]),
    ("DELETE", "/zones/gone", {}, 404, ["no zone gone", "z1, z2"]),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "words"), BAD)
async def test_each_is_named_with_what_to_do(
    admin: Client, method: str, path: str, body: dict[str, Any], status: int, words: list[str]
) -> None:
    before = (await admin.get(f"{API}/sites")).json(), (await admin.get(f"{API}/zones")).json()
    answer = await admin.request(method, API + path, json=body)
    detail = answer.json()["errors"][0]["detail"]
    assert (answer.status_code, [word for word in words if word not in detail]) == (status, []), detail
    after = (await admin.get(f"{API}/sites")).json(), (await admin.get(f"{API}/zones")).json()
    assert [one["name"] for one in after[0]["sites"]] == [one["name"] for one in before[0]["sites"]]
    assert after[1] == before[1]


async def test_one_endpoint_is_of_one_site(admin: Client, cloud: Cloud) -> None:
    url = cloud.site("site2").endpoints["compute"]
    answer = await admin.post(f"{API}/sites", json=GOOD | {"endpoints": {"compute": url + "/"}})
    assert answer.status_code == 409
    assert "listed twice" in answer.text
    assert "site2" in answer.text


async def test_a_private_address_is_the_operators_choice(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"))
    async with atoll.client(cloud.keystone.token("admin")) as admin:
        for url in ("http://127.0.0.1:1/v2.1", "http://169.254.169.254/", "http://10.1.1.1/v2.1"):
            answer = await admin.post(f"{API}/sites", json=GOOD | {"endpoints": {"compute": url}})
            assert answer.status_code == 400
            assert "private_addresses" in answer.text


async def test_a_host_that_cannot_be_one_keeps_nobody_from_looking_at_others(
    admin: Client, cloud: Cloud
) -> None:
    url = f"http://{'a' * 64}.example/v2.1"
    assert (await admin.post(f"{API}/sites", json=GOOD | {"endpoints": {"compute": url}})).status_code == 201
    body = {
        "name": "site3",
        "region": "site3",
        "endpoints": {"compute": cloud.site("site3").endpoints["compute"]},
    }
    assert (await admin.post(f"{API}/sites", json=body)).status_code == 201
    async with asyncio.timeout(30):
        while (await compute_of(admin, "site3"))["versions"] is None:
            pass
    assert (await compute_of(admin, "new"))["versions"] is None


async def compute_of(admin: Client, name: str) -> Any:
    """How the compute service of a site is shown."""
    return (await admin.get(f"{API}/sites/{name}")).json()["site"]["endpoints"]["compute"]


async def test_a_change_of_what_was_changed_meanwhile_is_refused(admin: Client) -> None:
    assert (await admin.post(f"{API}/sites", json=GOOD)).status_code == 201
    old = (await admin.get(f"{API}/sites/new")).json()["site"]["revision"]
    first = await admin.patch(f"{API}/sites/new", json={"region": "other", "revision": old})
    assert (first.status_code, first.json()["site"]["region"]) == (200, "other")
    second = await admin.patch(f"{API}/sites/new", json={"region": "third", "revision": old})
    assert (second.status_code, "changed since" in second.text) == (409, True)
    assert (await admin.get(f"{API}/sites/new")).json()["site"]["region"] == "other"


async def test_a_site_is_not_removed_while_zones_are_in_it(admin: Client) -> None:
    assert (await admin.post(f"{API}/sites", json=GOOD)).status_code == 201
    assert (await admin.post(f"{API}/zones", json={"name": "z9", "site": "new"})).status_code == 201
    refused = await admin.delete(f"{API}/sites/new")
    assert (refused.status_code, "z9" in refused.text) == (409, True)
    assert (await admin.delete(f"{API}/zones/z9")).status_code == 204
    assert (await admin.delete(f"{API}/sites/new")).status_code == 204


async def test_a_zone_moves_and_goes(user: Client, admin: Client, cloud: Cloud) -> None:
    zone = {"name": "z9", "site": "site1", "zone": {"compute": "nova", "network": "nova"}}
    refused = await admin.post(f"{API}/zones", json=zone | {"zone": "nova"})
    assert refused.status_code == 409
    made = await admin.post(f"{API}/zones", json=zone)
    assert (made.status_code, made.json()["zone"]["declared"]) == (201, "api")
    assert (await user.get(f"{API}/zones/z9")).json()["zone"]["zone"] == zone["zone"]
    booted = await user.post(SERVERS, json=server_body(cloud, availability_zone="z9"))
    assert booted.status_code == 202
    moved = await admin.patch(f"{API}/zones/z9", json={"site": "site2", "zone": "nova"})
    assert moved.json()["zone"]["site"] == "site2"
    booted = await user.post(SERVERS, json=server_body(cloud, availability_zone="z9"))
    assert booted.status_code == 202
    assert (await admin.delete(f"{API}/zones/z9")).status_code == 204
    gone = await user.post(SERVERS, json=server_body(cloud, availability_zone="z9"))
    assert gone.status_code == 400


async def test_a_record_whose_number_a_file_took_is_told_and_not_used(
    start_atoll: StartAtoll, cloud: Cloud, log_lines: list[Any]
) -> None:
    first = await start_atoll(
        cloud.keystone.auth_url, sites_of(cloud, "site1"), limits={"private_addresses": True}
    )
    store = await open_store(f"sqlite:///{first.database}")
    record = SiteRecord(name="new", region="r", number=1, endpoints={"compute": "http://127.0.0.1:1/v2.1"})
    await store.intent.change(lambda ledger: ledger.put(record))
    await store.close()
    await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1", "site2"))
    told = [line for line in log_lines if line["event"] == "record_not_used"]
    assert "site2" in told[0]["reason"]


async def test_users_see_zones_and_what_is_theirs(user: Client, admin: Client, cloud: Cloud) -> None:
    made = await user.post(SERVERS, json=server_body(cloud))
    ident = made.json()["server"]["id"]
    other = await admin.post(SERVERS, json=server_body(cloud))
    theirs = other.json()["server"]["id"]
    assert {one["name"] for one in (await user.get(f"{API}/zones")).json()["zones"]} == {"z1", "z2"}
    mine = (await user.get(f"{API}/locations")).json()["locations"]
    assert [one["id"] for one in mine] == [ident]
    counted = (await user.get(f"{API}/counts")).json()["counts"]
    assert [(one["resource_type"], one["count"]) for one in counted] == [("server", 1)]
    assert (await user.get(f"{API}/locations/{theirs}")).status_code == 403
    assert (await user.get(f"{API}/locations", params={"project_id": "other"})).status_code == 403
    assert (await user.get(f"{API}/sites")).status_code == 403


async def test_locations_come_page_by_page_and_are_forgotten(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    made = [(await user.post(SERVERS, json=server_body(cloud))).json()["server"]["id"] for _ in range(5)]
    found: list[str] = []
    marker: str | None = ""
    while marker is not None:
        query = {"limit": "2", "resource_type": "server", "marker": marker}
        page = (await admin.get(f"{API}/locations", params=query)).json()
        assert len(page["locations"]) <= 2
        found += [one["id"] for one in page["locations"]]
        marker = page["next"]
    assert found == sorted(made)
    assert (await admin.delete(f"{API}/locations/{made[0]}")).status_code == 204
    assert (await admin.delete(f"{API}/locations/{made[0]}")).status_code == 404
    assert (await user.get(f"{SERVERS}/{made[0]}")).status_code == 200, "it is looked for"
