"""A site joins, is drained, maintained, resumed and removed, while clients go on."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import TLS, Atoll, sites_of, until
from tests.scenarios.conftest import SERVERS, Client, boot, client_of, instances_of, server_body

from atoll.sandbox.simulated import Cloud
from atoll.sandbox.simulated.faults import Fault

API = "/atoll/v1"
SEEN_SECONDS = 30.0
PRIVATE = {"private_addresses": True}  # the simulated sites are on this machine


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway in front of two of the three sites."""
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1", "site2"), limits=PRIVATE)
    await running.settled()
    return running


@pytest.fixture
async def other(start_atoll: StartAtoll, cloud: Cloud) -> AsyncIterator[Client]:
    """The user demo at a second gateway over the same store."""
    second = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1", "site2"), limits=PRIVATE)
    await second.settled()
    async with client_of(second, cloud.keystone.token("admin")) as client:
        yield client


def third(cloud: Cloud, **fields: Any) -> dict[str, Any]:
    """The body that adds the third site."""
    site = cloud.site("site3")
    endpoints = {kind: url for kind, url in site.endpoints.items() if kind != "identity"}
    return {"name": "site3", "region": site.region, "endpoints": endpoints, **fields}


async def add(admin: Client, cloud: Cloud, **fields: Any) -> Mapping[str, Any]:
    """The third site, added."""
    answer = await admin.post(f"{API}/sites", json=third(cloud, **fields))
    assert answer.status_code == 201, answer.text
    return dict(answer.json()["site"])


async def act(admin: Client, name: str, action: str, **body: Any) -> Mapping[str, Any]:
    """A site after an action."""
    answer = await admin.post(f"{API}/sites/{name}/{action}", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["site"])


def held(cloud: Cloud, name: str) -> set[str]:
    """The ids of the servers at a site."""
    return {str(one.id) for one in instances_of(cloud.site(name))}


def said(answer: Any) -> str:
    """The words of a refusal of the own API."""
    return str(answer.json()["errors"][0]["detail"])


async def place_behind(cloud: Cloud, site: str, name: str = "behind") -> str:
    """A server of demo's at a site, made without Atoll."""
    headers = {"X-Auth-Token": cloud.keystone.token()}
    async with httpx.AsyncClient(verify=TLS, headers=headers, timeout=30) as client:
        url = cloud.site(site).endpoints["compute"]
        answer = await client.post(f"{url}/servers", json=server_body(cloud, name))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["server"]["id"])


# -- joining ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["a key that it has not", "by another project"])
async def test_a_404_that_is_not_of_a_server_itself_does_not_make_its_site_removable(
    atoll: Atoll, user: Client, admin: Client, cloud: Cloud, asked: str
) -> None:
    await add(admin, cloud)
    server = await boot(user, cloud, "site3")
    assert (await admin.delete(f"{API}/sites/site3")).status_code == 409
    if asked == "by another project":
        async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
            assert (await other.get(f"{SERVERS}/{server}")).status_code == 404
    else:
        assert (await user.get(f"{SERVERS}/{server}/metadata/none")).status_code == 404
    await asyncio.sleep(0.3)  # it would be written down by then
    assert (await admin.delete(f"{API}/sites/site3")).status_code == 409


async def test_a_site_joins_while_a_client_lists_in_a_loop(user: Client, admin: Client, cloud: Cloud) -> None:
    ident = await place_behind(cloud, "site3")
    statuses: set[int] = set()
    seen = asyncio.Event()

    async def listing() -> None:
        while not seen.is_set():
            answer = await user.get(f"{SERVERS}/detail", headers={"OpenStack-API-Version": "compute latest"})
            statuses.add(answer.status_code)
            if ident in answer.text:
                seen.set()

    loops = [asyncio.create_task(listing()) for _ in range(4)]
    site = await add(admin, cloud)
    assert site["number"] >= 4096
    assert site["declared"] == "api"
    async with asyncio.timeout(SEEN_SECONDS):
        await asyncio.gather(*loops)
    assert statuses == {200}
    answer = await user.get(f"{SERVERS}/{ident}")
    assert answer.status_code == 200
    assert answer.json()["server"]["OS-EXT-AZ:availability_zone"] == "site3"
    assert await boot(user, cloud, "site3")


async def test_two_gateways_see_a_site_come_and_go(admin: Client, other: Client, cloud: Cloud) -> None:
    async def names() -> set[str]:
        return {one["name"] for one in (await other.get(f"{API}/sites")).json()["sites"]}

    async def awaited(wanted: set[str]) -> None:
        async with asyncio.timeout(SEEN_SECONDS):
            while await names() != wanted:
                pass

    await add(admin, cloud)
    await awaited({"site1", "site2", "site3"})
    assert (await other.post(SERVERS, json=server_body(cloud, availability_zone="site3"))).status_code == 202
    removed = await admin.delete(f"{API}/sites/site3", params={"forget": "true"})
    assert removed.status_code == 204
    await awaited({"site1", "site2"})
    refused = await other.post(SERVERS, json=server_body(cloud, availability_zone="site3"))
    assert refused.status_code == 400


async def test_a_site_brings_a_service_that_no_other_had(start_atoll: StartAtoll, cloud: Cloud) -> None:
    sites = sites_of(cloud, "site1")
    sites["site1"]["endpoints"].pop("block-storage")
    atoll = await start_atoll(cloud.keystone.auth_url, sites, limits=PRIVATE)
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        assert (await admin.get("/block-storage/v3/volumes")).status_code == 404
        await add(admin, cloud)
        assert (await admin.get("/block-storage/v3/volumes")).status_code == 200
        token = await admin.get("/identity/v3/auth/catalog")
        assert "block-storage" in token.text or "volumev3" in token.text


async def test_what_is_unchanged_keeps_its_connections(user: Client, admin: Client, cloud: Cloud) -> None:
    await user.get(SERVERS)
    before = cloud.site("site1").listener.server.accepted
    await add(admin, cloud)
    await act(admin, "site2", "drain")
    assert (await user.get(SERVERS)).status_code == 200
    assert cloud.site("site1").listener.server.accepted == before


# -- states -------------------------------------------------------------------------------------------


async def test_a_draining_site_takes_nothing_new_and_does_the_rest(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    here = await boot(user, cloud, "site2")
    site = await act(admin, "site2", "drain", reason="new racks")
    assert (site["state"], site["reason"]) == ("draining", "new racks")
    assert site["since"]
    assert site["by"]
    refused = await user.post(SERVERS, json=server_body(cloud, availability_zone="site2"))
    assert refused.status_code == 503
    assert "new racks" in refused.text
    for _ in range(3):
        made = await boot(user, cloud)
        assert made in held(cloud, "site1")
    assert here in (await user.get(SERVERS)).text
    assert (await user.delete(f"{SERVERS}/{here}")).status_code == 204
    await act(admin, "site2", "resume")
    assert await boot(user, cloud, "site2")


async def test_in_maintenance_nothing_is_changed_and_what_can_be_read_is(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    here = await boot(user, cloud, "site2")
    await act(admin, "site2", "maintain", reason="switches until 18:00")
    before = len(cloud.site("site2").listener.seen)
    for method, path in (("DELETE", f"{SERVERS}/{here}"), ("PUT", f"{SERVERS}/{here}")):
        refused = await user.request(method, path, json={"server": {"name": "x"}})
        assert refused.status_code == 503
        assert "site2" in refused.text
        assert "switches until 18:00" in refused.text
    flavor = {"flavor": {"name": "new", "ram": 64, "vcpus": 1, "disk": 1}}
    refused = await admin.post("/compute/v2.1/flavors", json=flavor)
    assert (refused.status_code, "switches" in refused.text) == (503, True)
    seen = list(cloud.site("site2").listener.seen)[before:]
    assert {one.method for one in seen} <= {"GET"}
    assert (await user.get(f"{SERVERS}/{here}")).status_code == 200
    answer = await user.get(SERVERS)
    assert here in answer.text
    assert "X-Atoll-Missing-Sites" not in answer.headers
    cloud.site("site2").refuse()
    answer = await user.get(SERVERS)
    assert "switches until 18:00" in answer.headers["X-Atoll-Missing-Sites"]
    refused = await user.get(f"{SERVERS}/{here}")
    assert (refused.status_code, "switches" in refused.text) == (503, True)


async def test_a_single_site_takes_nothing_new_while_it_drains(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"))
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        await act(admin, "site1", "drain")
        refused = await admin.post(SERVERS, json=server_body(cloud))
        assert (refused.status_code, "draining" in refused.text) == (503, True)
        assert len(cloud.site("site1").compute.instances) == 0


# -- the end ------------------------------------------------------------------------------------------


async def test_a_site_with_things_on_record_is_not_removed_unless_told_to_forget(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    await add(admin, cloud)
    ident = await boot(user, cloud, "site3")
    refused = await admin.delete(f"{API}/sites/site3")
    assert refused.status_code == 409
    assert "1 server" in said(refused)
    assert "--forget" in said(refused)
    assert (await user.get(f"{SERVERS}/{ident}")).status_code == 200
    assert (await admin.delete(f"{API}/sites/site3", params={"forget": "true"})).status_code == 204
    assert (await user.get(f"{SERVERS}/{ident}")).status_code == 404
    assert ident not in (await user.get(SERVERS)).text
    assert ident in held(cloud, "site3"), "at the site nothing happens"
    again = await add(admin, cloud)
    assert (await user.get(f"{SERVERS}/{ident}")).status_code == 200
    assert again["number"] >= 4096


async def test_a_number_is_never_that_of_another_site(admin: Client, cloud: Cloud) -> None:
    first = await add(admin, cloud)
    await admin.delete(f"{API}/sites/site3", params={"forget": "true"})
    body = third(cloud) | {"name": "other"}
    refused = await admin.post(f"{API}/sites", json=body | {"number": first["number"]})
    assert refused.status_code == 409
    assert "site3" in said(refused)
    made = await admin.post(f"{API}/sites", json=body)
    assert made.json()["site"]["number"] == first["number"] + 1
    await admin.delete(f"{API}/sites/other")
    assert (await add(admin, cloud))["number"] == first["number"]


async def test_a_request_under_way_ends_where_it_began(user: Client, admin: Client, cloud: Cloud) -> None:
    await add(admin, cloud)
    ident = await boot(user, cloud, "site3")
    slow = cloud.site("site3").faults
    slow.add(Fault("latency", method="GET", path=ident, seconds=0.5))
    asking = asyncio.create_task(user.get(f"{SERVERS}/{ident}"))
    await until(lambda: any(ident in seen.target for seen in cloud.site("site3").listener.seen))
    assert (await admin.delete(f"{API}/sites/site3", params={"forget": "true"})).status_code == 204
    assert (await asking).status_code == 200


# -- what a new site lacks ----------------------------------------------------------------------------


async def test_what_is_shared_and_absent_at_a_new_site(user: Client, admin: Client, cloud: Cloud) -> None:
    flavor = {"flavor": {"name": "ours", "id": "ours", "ram": 64, "vcpus": 1, "disk": 1}}
    assert (await admin.post("/compute/v2.1/flavors", json=flavor)).status_code == 200
    made = await user.post("/compute/v2.1/os-keypairs", json={"keypair": {"name": "mine"}})
    assert made.status_code == 200
    await add(admin, cloud)
    for path in ("flavors/ours", "os-keypairs/mine"):
        answers = [await user.get(f"/compute/v2.1/{path}") for _ in range(3)]
        assert {one.status_code for one in answers} == {200}
    listed = (await user.get("/compute/v2.1/flavors")).json()["flavors"]
    assert [one["id"] for one in listed].count("ours") == 1
    refused = await user.post(SERVERS, json=server_body(cloud, flavorRef="ours", availability_zone="site3"))
    assert refused.status_code == 409
    for word in ("flavor ours", "site1", "site3", "flavor create --id ours"):
        assert word in refused.text
    refused = await user.post(SERVERS, json=server_body(cloud, key_name="mine", availability_zone="site3"))
    assert (refused.status_code, "keypair mine" in refused.text) == (409, True)
    for _ in range(4):
        ident = await boot(user, cloud, flavorRef="ours", key_name="mine")
        assert ident not in held(cloud, "site3")
    found = (await act(admin, "site3", "check"))["findings"]
    assert any(one["what"] == "absent" and "ours" in one["text"] for one in found)


# -- drift --------------------------------------------------------------------------------------------


async def test_a_check_finds_what_is_not_as_it_is_set_up_and_changes_nothing(
    admin: Client, cloud: Cloud, log_lines: list[Any]
) -> None:
    body = third(cloud)
    body["endpoints"]["image"] = cloud.site("site3").url + "/elsewhere"
    assert (await admin.post(f"{API}/sites", json=body)).status_code == 201
    zone = {"name": "z3", "site": "site3", "zone": {"compute": "gone"}}
    assert (await admin.post(f"{API}/zones", json=zone)).status_code == 201
    site = await act(admin, "site3", "check")
    texts = {(one["what"], one["text"].split()[0].rstrip(":")) for one in site["findings"]}
    assert ("endpoint", "image") in texts
    assert ("zone", "compute") in texts
    zones = " ".join(one["text"] for one in site["findings"] if one["what"] == "zone")
    assert "gone" in zones, "mapped, and not there"
    assert "nova" in zones, "there, and not mapped"
    assert site["endpoints"]["image"]["url"].endswith("/elsewhere")
    assert site["endpoints"]["network"]["extensions"]
    assert site["capacity"]["vcpus"] > 0
    shown = (await admin.get(f"{API}/sites/site3")).json()["site"]
    assert shown["findings"] == site["findings"]
    assert "site_drift" in [line["event"] for line in log_lines]
    assert 'atoll_site_findings{site="site3"}' in (await admin.get("/metrics")).text


async def test_a_site_as_it_is_set_up_has_no_findings(admin: Client) -> None:
    site = await act(admin, "site1", "check")
    assert site["findings"] == []


async def test_the_catalogue_is_read_once_for_a_new_site(admin: Client) -> None:
    answer = await admin.get(f"{API}/catalog", params={"region": "site3"})
    assert answer.status_code == 200
    found = answer.json()["endpoints"]
    assert set(found) == {"compute", "block-storage", "image", "network"}
    unknown = await admin.get(f"{API}/catalog", params={"region": "nowhere"})
    assert unknown.status_code == 404
    assert "site1" in said(unknown)


async def test_a_site_that_lies_about_its_versions_is_named(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    cloud.site("site2").faults.add(Fault("status", "compute", "GET", "/servers", count=1, status=406))
    answer = await user.get(SERVERS, headers={"OpenStack-API-Version": "compute 2.90"})
    assert answer.status_code == 200
    assert "site2" in answer.headers["X-Atoll-Missing-Sites"]
    site = (await admin.get(f"{API}/sites/site2")).json()["site"]
    assert "406 at 2.90" in site["endpoints"]["compute"]["contradiction"]
    assert site["findings"][0]["what"] == "version"


# -- health -------------------------------------------------------------------------------------------


async def test_a_site_that_comes_and_goes_is_not_chosen_until_it_stayed(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    here = await boot(user, cloud, "site2")
    site = cloud.site("site2")
    port = site.listener.server.port
    for _ in range(3):
        site.refuse()
        async with asyncio.timeout(30):
            while (await health(admin, "site2")) != "away":
                await user.get(f"{SERVERS}/{here}")
        await site.start(port)
        async with asyncio.timeout(30):
            while (await user.get(f"{SERVERS}/{here}")).status_code != 200:
                pass
    assert (await health(admin, "site2")) == "unsteady"
    shown = (await admin.get(f"{API}/sites/site2")).json()["site"]["endpoints"]["compute"]
    assert "has to stay up" in shown["reason"]
    for _ in range(4):
        assert await boot(user, cloud) in held(cloud, "site1")
    assert (await user.get(f"{SERVERS}/{here}")).status_code == 200
    assert await boot(user, cloud, "site2"), "where nothing else will do it is taken"


async def health(admin: Client, name: str) -> str:
    """How the compute service of a site is."""
    site = (await admin.get(f"{API}/sites/{name}")).json()["site"]
    return str(site["endpoints"]["compute"]["health"])
