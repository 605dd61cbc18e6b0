"""Nova's own view of floating IPs, until 2.35: each is at one site, and so is the server it is given to."""

from typing import Any

import pytest
from tests.scenarios.conftest import SERVERS, UNKNOWN, Client, boot, writes

from atoll.sandbox.simulated import Cloud, Fault

FLOATING = "/compute/v2.1/os-floating-ips"
NETWORK = "/network/v2.0/floatingips"


async def allocated(client: Client, cloud: Cloud, site: str) -> dict[str, Any]:
    """A floating IP of a site's external network."""
    answer = await client.post(FLOATING, json={"pool": cloud.site(site).public_network_id})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()["floating_ip"]
    return made


def at(cloud: Cloud, site: str) -> dict[str, Any]:
    return cloud.site(site).network.records.of("floatingips")


async def shown(client: Client, ident: str) -> dict[str, Any]:
    answer = await client.get(f"{FLOATING}/{ident}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["floating_ip"]
    return found


async def test_one_is_made_at_the_site_of_its_pool_and_found_by_both_services(
    user: Client, cloud: Cloud
) -> None:
    made = [await allocated(user, cloud, site.name) for site in reversed(cloud.sites)]
    for site, one in zip(reversed(cloud.sites), made, strict=True):
        assert list(at(cloud, site.name)) == [one["id"]]
        assert await shown(user, one["id"]) == one
        neutrons = (await user.get(f"{NETWORK}/{one['id']}")).json()["floatingip"]
        assert neutrons["floating_ip_address"] == one["ip"]
    listed = (await user.get(FLOATING)).json()
    assert list(listed) == ["floating_ips"]
    assert sorted(one["id"] for one in listed["floating_ips"]) == sorted(one["id"] for one in made)


async def test_one_of_neutron_is_shown_and_deleted_by_nova(user: Client, cloud: Cloud) -> None:
    """Behind Atoll's back, so that nothing is on record of it."""
    network = cloud.site("site3").public_network_id
    records = cloud.site("site3").network.records
    made = await user.post(NETWORK, json={"floatingip": {"floating_network_id": network}})
    ident = made.json()["floatingip"]["id"]
    record = dict(records.of("floatingips")[ident])
    records.of("floatingips").clear()
    other = {**record, "id": record["id"][:-6] + "abcdef"}
    records.of("floatingips")[other["id"]] = other
    assert (await shown(user, other["id"]))["ip"] == other["floating_ip_address"]
    assert (await user.delete(f"{FLOATING}/{other['id']}")).status_code == 202
    assert not records.of("floatingips")
    gone = await user.get(f"{FLOATING}/{other['id']}")
    assert (gone.status_code, "Floating IP not found for ID" in gone.text) == (404, True)


async def test_one_by_the_name_of_its_pool_is_where_the_project_is(user: Client, cloud: Cloud) -> None:
    await boot(user, cloud, "site2")
    answer = await user.post(FLOATING, json={"pool": "public"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["floating_ip"]["id"] in at(cloud, "site2")
    assert answer.json()["floating_ip"]["pool"] == "public"


async def test_a_pool_of_one_site_by_its_name(user: Client, admin: Client, cloud: Cloud) -> None:
    """The project lives elsewhere: its pool decides."""
    fields = {"name": "outside", "router:external": True, "availability_zone_hints": ["site3"]}
    made = await admin.post("/network/v2.0/networks", json={"network": fields})
    network = made.json()["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "198.51.100.0/24"}
    assert (await admin.post("/network/v2.0/subnets", json={"subnet": subnet})).status_code == 201
    await boot(user, cloud, "site2")
    answer = await user.post(FLOATING, json={"pool": "outside"})
    assert answer.status_code == 200, answer.text
    assert list(at(cloud, "site3")) == [answer.json()["floating_ip"]["id"]]


async def test_the_pools_of_all_sites_each_once(user: Client, admin: Client) -> None:
    fields = {"name": "outside", "router:external": True, "availability_zone_hints": ["site3"]}
    assert (await admin.post("/network/v2.0/networks", json={"network": fields})).status_code == 201
    answer = await user.get("/compute/v2.1/os-floating-ip-pools")
    assert answer.json() == {"floating_ip_pools": [{"name": "public"}, {"name": "outside"}]}


async def test_without_a_pool_nova_takes_its_default(user: Client, cloud: Cloud) -> None:
    for body in ({}, {"pool": None}, None):
        answer = await user.post(FLOATING, json=body)
        assert answer.status_code == 404, answer.text
        assert answer.json()["itemNotFound"]["message"] == "Floating IP pool not found."
    assert not any(at(cloud, site.name) for site in cloud.sites)


async def test_one_is_given_to_a_server_and_taken_from_it(user: Client, cloud: Cloud) -> None:
    server = await boot(user, cloud, "site2")
    made = await allocated(user, cloud, "site2")
    action = f"{SERVERS}/{server}/action"
    given = await user.post(action, json={"addFloatingIp": {"address": made["ip"]}})
    assert given.status_code == 202, given.text
    now = await shown(user, made["id"])
    assert now["instance_id"] == server
    addresses = (await user.get(f"{SERVERS}/{server}")).json()["server"]["addresses"]
    assert (now["fixed_ip"], made["ip"]) == tuple(one["addr"] for one in addresses["private"])
    taken = await user.post(action, json={"removeFloatingIp": {"address": made["ip"]}})
    assert taken.status_code == 202, taken.text
    assert await shown(user, made["id"]) == made
    again = await user.post(action, json={"removeFloatingIp": {"address": made["ip"]}})
    assert again.status_code == 403, "of a server that has it, which is none"
    assert (await user.delete(f"{FLOATING}/{made['id']}")).status_code == 202
    assert not at(cloud, "site2")


async def test_one_of_another_site_is_not_given(user: Client, cloud: Cloud) -> None:
    server = await boot(user, cloud, "site2")
    made = await allocated(user, cloud, "site1")
    before = len(writes(cloud))
    answer = await user.post(f"{SERVERS}/{server}/action", json={"addFloatingIp": {"address": made["ip"]}})
    assert answer.status_code == 409
    assert f"{made['ip']} is at site1" in answer.text
    assert len(writes(cloud)) == before


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_one_that_is_nowhere(user: Client, method: str) -> None:
    answer = await user.request(method, f"{FLOATING}/{UNKNOWN}")
    assert answer.status_code == 404
    assert answer.json()["itemNotFound"]["message"] == f"Floating IP not found for ID {UNKNOWN}"


async def test_the_list_without_a_site(user: Client, cloud: Cloud) -> None:
    made = await allocated(user, cloud, "site1")
    cloud.site("site3").refuse()
    answer = await user.get(FLOATING)
    assert [one["id"] for one in answer.json()["floating_ips"]] == [made["id"]]
    assert answer.headers["X-Atoll-Missing-Sites"].startswith("site3")


async def test_a_quota_that_is_used_up_at_one_site(user: Client, admin: Client, cloud: Cloud) -> None:
    await boot(user, cloud, "site3")
    project = cloud.keystone.project_id("demo")
    quota = await admin.put(f"/network/v2.0/quotas/{project}", json={"quota": {"floatingip": 2}})
    assert quota.status_code == 200, quota.text
    for site in ("site1", "site2"):
        answer = await user.post(FLOATING, json={"pool": "public"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["floating_ip"]["id"] in at(cloud, site)
    refused = await user.post(FLOATING, json={"pool": "public"})
    assert refused.status_code == 403
    assert "IP allocation over quota" in refused.text


async def test_a_lost_create_is_told(user: Client, cloud: Cloud) -> None:
    cloud.site("site1").faults.add(Fault("die_after_commit", service="compute", method="POST", count=1))
    answer = await user.post(FLOATING, json={"pool": cloud.site("site1").public_network_id})
    assert answer.status_code == 504
    assert "Whether it has created the floatingip is not known" in answer.text


async def test_from_2_36_on_they_are_neutrons_and_from_2_44_on_so_are_the_actions(
    user: Client, cloud: Cloud
) -> None:
    made = await allocated(user, cloud, "site1")
    for method, path in (("GET", ""), ("POST", ""), ("GET", f"/{made['id']}"), ("DELETE", f"/{made['id']}")):
        headers = {"OpenStack-API-Version": "compute 2.36"}
        answer = await user.request(method, FLOATING + path, headers=headers)
        assert answer.status_code == 404, (method, path)
    server = await boot(user, cloud, "site1")
    body = {"addFloatingIp": {"address": made["ip"]}}
    for version, status in (("2.44", 404), ("2.43", 202)):
        headers = {"OpenStack-API-Version": f"compute {version}"}
        answer = await user.post(f"{SERVERS}/{server}/action", json=body, headers=headers)
        assert answer.status_code == status, answer.text
