"""What a site offers beside the five services: nothing is lost, and no list is of one site only."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import Client, client_of

from atoll.sandbox.simulated import Cloud, Fault

PROVIDERS = "/placement/resource_providers"
BALANCERS = "/load-balancer/v2/lbaas/loadbalancers"
UNKNOWN = "99999999-8888-4777-8666-555555555555"


@pytest.fixture
async def others(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway before three sites that have all services, but for `workflow`, which only site2 has."""
    sites: dict[str, Any] = {name: dict(site) for name, site in sites_of(cloud).items()}
    for site in cloud.sites:
        more = {kind: url for kind, url in site.other_endpoints.items() if kind != "workflow"}
        sites[site.name]["endpoints"] = {**sites[site.name]["endpoints"], **more}
    sites["site2"]["endpoints"]["workflow"] = cloud.site("site2").other_endpoints["workflow"]
    running = await start_atoll(cloud.keystone.auth_url, sites)
    await running.settled()
    return running


@pytest.fixture
async def operator(others: Atoll, cloud: Cloud) -> AsyncIterator[Client]:
    """The administrator."""
    async with client_of(others, cloud.keystone.token("admin")) as client:
        yield client


async def providers(client: httpx.AsyncClient) -> dict[str, str]:
    """The ids of the resource providers by name."""
    answer = await client.get(PROVIDERS)
    assert answer.status_code == 200, answer.text
    return {one["name"]: one["uuid"] for one in answer.json()["resource_providers"]}


# -- placement ------------------------------------------------------------------------------------


async def test_resource_providers_of_all_sites_are_one_list_with_links_to_atoll(
    operator: Client, others: Atoll
) -> None:
    answer = (await operator.get(PROVIDERS)).json()["resource_providers"]
    assert [one["name"] for one in answer] == [f"site{n}-compute1" for n in (1, 2, 3)]
    for one in answer:
        assert one["links"][0]["href"] == f"/placement/resource_providers/{one['uuid']}"
    assert others.url not in str(answer)


async def test_a_resource_provider_is_found_by_its_id_read_and_changed(
    operator: Client, cloud: Cloud
) -> None:
    theirs = next(iter(cloud.site("site3").placement.providers))
    shown = await operator.get(f"{PROVIDERS}/{theirs}")
    assert (shown.status_code, shown.json()["name"]) == (200, "site3-compute1")
    body = {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 2}}}
    changed = await operator.put(f"{PROVIDERS}/{theirs}/inventories", json=body)
    assert changed.json()["resource_provider_generation"] == 1
    assert cloud.site("site3").placement.providers[theirs]["inventories"] == {"VCPU": {"total": 2}}


async def test_a_child_is_made_where_its_parent_is_and_found_again(operator: Client, cloud: Cloud) -> None:
    parent = next(iter(cloud.site("site2").placement.providers))
    body = {"name": "pci", "parent_provider_uuid": parent, "uuid": str(uuid.uuid4())}
    made = await operator.post(PROVIDERS, json=body)
    assert (made.status_code, made.json()["uuid"]) == (200, body["uuid"])
    assert body["uuid"] in cloud.site("site2").placement.providers
    assert (await operator.delete(f"{PROVIDERS}/{body['uuid']}")).status_code == 204
    gone = await operator.get(f"{PROVIDERS}/{body['uuid']}")
    assert gone.status_code == 404
    assert "No resource provider with uuid" in gone.json()["errors"][0]["detail"]


async def test_a_trait_is_made_at_every_site_or_at_none(operator: Client, cloud: Cloud) -> None:
    assert (await operator.put("/placement/traits/CUSTOM_FAST")).status_code == 201
    assert all("CUSTOM_FAST" in site.placement.traits for site in cloud.sites)
    assert (await operator.get("/placement/traits/CUSTOM_FAST")).status_code == 204
    listed = (await operator.get("/placement/traits")).json()["traits"]
    assert sorted(listed) == sorted(set(listed))
    cloud.site("site2").placement.traits.discard("CUSTOM_FAST")  # behind Atoll's back
    assert (await operator.put("/placement/traits/CUSTOM_FAST")).status_code == 201
    assert "CUSTOM_FAST" in cloud.site("site2").placement.traits
    assert (await operator.delete("/placement/traits/CUSTOM_FAST")).status_code == 204
    assert not any("CUSTOM_FAST" in site.placement.traits for site in cloud.sites)
    assert (await operator.delete("/placement/traits/CUSTOM_FAST")).status_code == 404
    assert (await operator.put("/placement/traits/FAST")).status_code == 400


async def test_a_trait_that_one_site_cannot_make_is_at_none(operator: Client, cloud: Cloud) -> None:
    cloud.site("site3").faults.add(Fault("status", service="placement", method="PUT", status=503))
    assert (await operator.put("/placement/traits/CUSTOM_FAST")).status_code >= 500
    assert not any("CUSTOM_FAST" in site.placement.traits for site in cloud.sites)


async def test_candidates_are_of_all_sites_and_usages_add_up(operator: Client, cloud: Cloud) -> None:
    answer = (await operator.get("/placement/allocation_candidates?resources=VCPU:8")).json()
    ids = [next(iter(one["allocations"])) for one in answer["allocation_requests"]]
    assert len(ids) == 3
    assert set(answer["provider_summaries"]) == set(ids)
    few = (await operator.get("/placement/allocation_candidates?resources=VCPU:8&limit=2")).json()
    assert len(few["allocation_requests"]) == 2
    for number, ident in enumerate(ids[:2], 1):
        body = {
            "allocations": {ident: {"resources": {"VCPU": number}}},
            "project_id": "p", "user_id": "u", "consumer_generation": None, "consumer_type": "INSTANCE",
        }  # fmt: skip
        consumer = str(uuid.uuid4())
        assert (await operator.put(f"/placement/allocations/{consumer}", json=body)).status_code == 204
        assert list(cloud.sites[number - 1].placement.allocations) == [consumer]
        shown = (await operator.get(f"/placement/allocations/{consumer}")).json()
        assert list(shown["allocations"]) == [ident]
    usages = (await operator.get("/placement/usages?project_id=p")).json()
    assert usages == {"usages": {"VCPU": 3}}
    assert (await operator.delete(f"/placement/allocations/{consumer}")).status_code == 204
    assert cloud.sites[1].placement.allocations == {}


async def test_allocations_of_two_sites_in_one_request_are_refused(operator: Client, cloud: Cloud) -> None:
    known = await providers(operator)
    named = {ident: {"resources": {"VCPU": 1}} for ident in list(known.values())[:2]}
    body = {"allocations": named, "project_id": "p", "user_id": "u", "consumer_generation": None}
    answer = await operator.put(f"/placement/allocations/{UNKNOWN}", json=body)
    assert answer.status_code == 409
    assert "site1" in answer.text
    assert "site2" in answer.text
    assert not any(site.placement.allocations for site in cloud.sites)


async def test_a_missing_site_is_reported_by_a_list_and_spoils_a_figure(
    operator: Client, cloud: Cloud
) -> None:
    cloud.site("site2").refuse()
    listed = await operator.get(PROVIDERS)
    assert listed.status_code == 200
    assert listed.headers["x-atoll-missing-sites"].startswith("site2 (")
    usages = await operator.get("/placement/usages?project_id=p")
    assert usages.status_code == 503
    assert "site2" in usages.text
    assert (await operator.get(f"{PROVIDERS}/{UNKNOWN}")).status_code == 503
    assert (await operator.put("/placement/traits/CUSTOM_X")).status_code == 503


# -- collections ----------------------------------------------------------------------------------


async def test_pages_go_through_the_sites_and_have_every_item_once(operator: Client, cloud: Cloud) -> None:
    for site in cloud.sites:
        things = site.other("load-balancer").things.setdefault("/v2/lbaas/loadbalancers", {})
        for number in range(5):
            ident = str(uuid.uuid4())
            things[ident] = {"id": ident, "name": f"{site.name}-{number}"}
    seen: list[str] = []
    target: str | None = f"{BALANCERS}?limit=3"
    pages = 0
    while target:
        answer = (await operator.get(target)).json()
        assert len(answer["loadbalancers"]) <= 3
        seen += [one["name"] for one in answer["loadbalancers"]]
        target = next((one["href"] for one in answer.get("loadbalancers_links", [])), None)
        pages += 1
        assert target is None or target.startswith(str(operator.base_url))
    assert seen == [f"site{n}-{number}" for n in (1, 2, 3) for number in range(5)]
    assert pages < 9
    whole = (await operator.get(BALANCERS)).json()
    assert (len(whole["loadbalancers"]), "loadbalancers_links" in whole) == (15, False)


async def test_a_site_that_cuts_its_pages_loses_nothing(operator: Client, cloud: Cloud) -> None:
    for site in cloud.sites:
        site.other("load-balancer").max_limit = 2
        things = site.other("load-balancer").things.setdefault("/v2/lbaas/loadbalancers", {})
        things.update({ident: {"id": ident} for ident in (str(uuid.uuid4()) for _ in range(3))})
    seen: list[str] = []
    target: str | None = BALANCERS
    while target:
        answer = (await operator.get(target)).json()
        seen += [one["id"] for one in answer["loadbalancers"]]
        target = next((one["href"] for one in answer.get("loadbalancers_links", [])), None)
    assert len(seen) == len(set(seen)) == 9


async def test_what_hangs_on_another_thing_is_made_at_its_site(operator: Client, cloud: Cloud) -> None:
    site = cloud.site("site3").other("load-balancer")
    ident = str(uuid.uuid4())
    site.things["/v2/lbaas/loadbalancers"] = {ident: {"id": ident}}
    made = await operator.post(
        "/load-balancer/v2/lbaas/listeners", json={"listener": {"name": "l", "loadbalancer_id": ident}}
    )
    assert made.status_code == 201
    listener = made.json()["listener"]["id"]
    assert list(site.things["/v2/lbaas/listeners"]) == [listener]
    changed = await operator.put(
        f"/load-balancer/v2/lbaas/listeners/{listener}", json={"listener": {"name": "m"}}
    )
    assert changed.json()["listener"]["name"] == "m"
    assert (await operator.delete(f"/load-balancer/v2/lbaas/listeners/{listener}")).status_code == 204


async def test_sorting_over_sites_is_refused_not_pretended(operator: Client) -> None:
    assert (await operator.get(f"{BALANCERS}?sort=name")).status_code == 400


async def test_a_secret_is_known_by_its_url_in_both_directions(
    operator: Client, others: Atoll, cloud: Cloud
) -> None:
    made = await operator.post("/key-manager/v1/secrets", json={"name": "s"})
    url = made.json()["secret_ref"]
    assert url.startswith(f"{others.url}/key-manager/v1/secrets/")
    shown = await operator.get(url)
    assert (shown.status_code, shown.json()["secret"]["secret_ref"]) == (200, url)
    body = {"name": "c", "secret_refs": [{"name": "s", "secret_ref": url}]}
    assert (await operator.post("/key-manager/v1/containers", json=body)).status_code == 201
    kept = [site.other("key-manager") for site in cloud.sites]
    (home,) = (one for one in kept if one.things.get("/v1/containers"))
    (container,) = home.things["/v1/containers"].values()
    assert container["secret_refs"][0]["secret_ref"].startswith(f"{home.site.url}/key-manager/v1/secrets/")
    assert home.things["/v1/secrets"], "the container is where its secret is"


async def test_pages_by_offset_count_over_all_sites(operator: Client, cloud: Cloud) -> None:
    for site in cloud.sites:
        things = site.other("key-manager").things.setdefault("/v1/secrets", {})
        things.update(
            {f"{site.name}-{n}": {"id": f"{site.name}-{n}", "name": f"{site.name}-{n}"} for n in range(4)}
        )
    first = (await operator.get("/key-manager/v1/secrets?limit=5")).json()
    assert (len(first["secrets"]), first["total"]) == (5, 12)
    second = (await operator.get(first["next"])).json()
    third = (await operator.get(second["next"])).json()
    assert "next" not in third
    names = [one["name"] for page in (first, second, third) for one in page["secrets"]]
    assert names == [f"site{n}-{number}" for n in (1, 2, 3) for number in range(4)]


async def test_objects_go_to_the_site_of_their_container(operator: Client, cloud: Cloud) -> None:
    account = f"/object-store/v1/AUTH_{cloud.keystone.project_id('admin')}"
    cloud.site("site2").other("object-store").containers["pictures"] = {}  # type: ignore[attr-defined] # it is Objects
    cloud.site("site3").other("object-store").containers["papers"] = {}  # type: ignore[attr-defined] # likewise
    data = bytes(range(256)) * 1000
    assert (await operator.put(f"{account}/pictures/a/b.png", content=data)).status_code == 201
    assert cloud.site("site2").other("object-store").containers["pictures"] == {"a/b.png": data}  # type: ignore[attr-defined] # likewise
    assert (await operator.get(f"{account}/pictures/a/b.png")).content == data
    assert (await operator.get(account)).text.split() == ["pictures", "papers"]
    assert [one["name"] for one in (await operator.get(f"{account}?format=json")).json()] == [
        "pictures",
        "papers",
    ]
    assert (await operator.put(f"{account}/new")).status_code == 201
    assert (await operator.get(f"{account}/nothing")).status_code == 404


async def test_a_project_that_an_endpoint_leaves_out_is_put_in(operator: Client, cloud: Cloud) -> None:
    assert (await operator.put("/object-store/v1/pictures")).status_code == 201
    account = f"/object-store/v1/AUTH_{cloud.keystone.project_id('admin')}"
    assert (await operator.get(account)).text.split() == ["pictures"]


# -- of one site ----------------------------------------------------------------------------------


async def test_a_site_is_asked_as_it_is_below_its_name(operator: Client, others: Atoll, cloud: Cloud) -> None:
    answer = (await operator.get("/placement@site2/resource_providers")).json()["resource_providers"]
    assert [one["name"] for one in answer] == ["site2-compute1"]
    assert answer[0]["links"][0]["href"].startswith("/placement@site2/resource_providers/")
    assert (await operator.put("/placement@site2/traits/CUSTOM_HERE")).status_code == 201
    assert [site.name for site in cloud.sites if "CUSTOM_HERE" in site.placement.traits] == ["site2"]
    made = await operator.post("/key-manager@site3/v1/secrets", json={"name": "s"})
    assert made.json()["secret_ref"].startswith(f"{others.url}/key-manager@site3/v1/secrets/")
    assert made.headers["location"].startswith(f"{others.url}/key-manager@site3/")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/placement@nowhere/resource_providers", 404),
        ("/workflow@site1/v2/workflows", 404),
        ("/compute@site1/v2.1/servers", 404),
        ("/dns/v2/zones", 404),
    ],
)
async def test_what_is_not_there_is_said_to_be_so(operator: Client, path: str, status: int) -> None:
    assert (await operator.get(path)).status_code == status


async def test_without_a_token_nothing_but_versions_is_told(others: Atoll, cloud: Cloud) -> None:
    async with others.client() as nobody:
        for path in (PROVIDERS, "/placement@site1/resource_providers", BALANCERS, "/workflow/v2/workflows"):
            answer = await nobody.get(path)
            assert answer.status_code == 401, path
            assert "www-authenticate" in answer.headers
        for path in ("/placement/", "/placement@site1/", "/load-balancer/"):
            assert (await nobody.get(path)).json()["versions"], path
    assert not any("resource_providers" in one.target for site in cloud.sites for one in site.listener.seen)


async def test_a_service_without_a_table_is_passed_on_where_one_site_has_it(
    operator: Client, cloud: Cloud
) -> None:
    made = await operator.post("/workflow/v2/workflows", json={"workflow": {"name": "w"}})
    ident = made.json()["workflow"]["id"]
    assert list(cloud.site("site2").other("workflow").things["/v2/workflows"]) == [ident]
    assert (await operator.get(f"/workflow/v2/workflows/{ident}")).json()["workflow"]["name"] == "w"


async def test_a_path_of_no_table_is_refused_with_the_way_to_each_site(
    operator: Client, others: Atoll
) -> None:
    answer = await operator.get("/load-balancer/v2/lbaas/quotas")
    assert answer.status_code == 501
    assert f"{others.url}/load-balancer@site1" in answer.text
