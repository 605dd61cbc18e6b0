"""Neutron over sites: tags, quotas of all projects and in detail, a topology made for one, Nova's view."""

from typing import Any

import pytest
from tests.scenarios.conftest import Client, writes

from atoll.sandbox.simulated import Cloud, Fault, Site
from atoll.sandbox.simulated.network_kinds import KINDS, QUOTAS

NETWORK = "/network/v2.0"
NOVA = "/compute/v2.1"
# What can be tagged, with what is needed to make one.
TAGGED: dict[str, dict[str, Any]] = {
    "networks": {"name": "n"},
    "subnets": {"cidr": "10.98.0.0/24", "ip_version": 4},
    "ports": {},
    "routers": {"name": "r"},
    "floatingips": {},
    "security-groups": {"name": "web"},
    "subnetpools": {"name": "p", "prefixes": ["10.97.0.0/16"]},
}


def make(cloud: Cloud, site: Site, plural: str) -> str:
    """One of demo's things at a site; its id."""
    records, project = site.network.records, cloud.keystone.project_id("demo")
    store = cloud.keystone.store
    token = store.issue(store.id_of("user", "demo"), project, ["password"], frozenset({"member", "reader"}))
    given = dict(TAGGED[plural])
    if plural in {"subnets", "ports"}:
        network = records.create(token, KINDS["networks"], {"name": "n"})
        given["network_id"] = network["id"]
    if plural == "floatingips":
        given["floating_network_id"] = site.public_network_id
    return str(records.create(token, KINDS[plural], given)["id"])


# -- tags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("plural", TAGGED)
async def test_what_is_tagged_is_found_by_its_tags_at_all_sites(
    user: Client, cloud: Cloud, plural: str
) -> None:
    first, second, third = (make(cloud, site, plural) for site in cloud.sites)
    path = f"{NETWORK}/{plural}"
    for ident, tags in ((first, ["blue", "red"]), (second, ["blue"])):
        answer = await user.put(f"{path}/{ident}/tags", json={"tags": tags})
        assert (answer.status_code, answer.json()) == (200, {"tags": tags}), answer.text
    assert (await user.put(f"{path}/{third}/tags/green")).status_code == 201
    assert (await user.get(f"{path}/{third}/tags/green")).status_code == 204
    key = KINDS[plural].key

    async def found(query: str) -> set[str]:
        page = (await user.get(f"{path}?{query}")).json()[key]
        return {one["id"] for one in page} & {first, second, third}

    assert await found("tags=blue") == {first, second}
    assert await found("tags=blue,red") == {first}
    assert await found("tags-any=red,green") == {first, third}
    assert await found("not-tags=blue,red") == {second, third}
    assert await found("not-tags-any=blue,red") == {third}
    assert await found("tags=blue&limit=1&sort_key=id&sort_dir=asc") == {min(first, second)}
    assert (await user.delete(f"{path}/{first}/tags/red")).status_code == 204
    assert (await user.get(f"{path}/{first}/tags")).json() == {"tags": ["blue"]}
    gone = await user.get(f"{path}/{first}/tags/red")
    assert (gone.status_code, gone.json()["NeutronError"]["type"]) == (404, "TagNotFound")
    assert (await user.delete(f"{path}/{second}/tags")).status_code == 204
    assert await found("tags=blue") == {first}


# -- quotas ---------------------------------------------------------------------------------------


async def test_details_are_summed_over_sites(user: Client, cloud: Cloud) -> None:
    project = cloud.keystone.project_id("demo")
    before = (await user.get(f"{NETWORK}/quotas/{project}/details")).json()["quota"]
    for site in cloud.sites[:2]:
        make(cloud, site, "routers")
    details = (await user.get(f"{NETWORK}/quotas/{project}/details")).json()["quota"]
    assert details["router"]["used"] == before["router"]["used"] + 2
    assert details["router"] == {
        "limit": 3 * QUOTAS["router"],
        "used": details["router"]["used"],
        "reserved": 0,
    }
    of_one = (await user.get(f"{NETWORK}/quotas/{project}/details?atoll_site=site3")).json()["quota"]
    assert of_one["router"]["limit"] == QUOTAS["router"]
    cloud.site("site2").faults.add(Fault("refuse"))
    lacking = await user.get(f"{NETWORK}/quotas/{project}/details")
    assert (lacking.status_code, "site2" in lacking.text) == (503, True)


async def test_each_project_s_quota_is_listed_once(admin: Client, user: Client, cloud: Cloud) -> None:
    ours, theirs = cloud.keystone.project_id("demo"), cloud.keystone.project_id("alt_demo")
    assert (await admin.put(f"{NETWORK}/quotas/{ours}", json={"quota": {"port": 10}})).status_code == 200
    cloud.site("site2").network.extras.quotas[theirs] = {"port": 1}  # beside Atoll, at one site
    quotas = (await admin.get(f"{NETWORK}/quotas")).json()["quotas"]
    found = {one["project_id"]: (one["port"], one["network"]) for one in quotas}
    every = 3 * QUOTAS["network"]
    assert found == {ours: (10, every), theirs: (1 + 2 * QUOTAS["port"], every)}
    assert len(quotas) == 2
    assert (await user.get(f"{NETWORK}/quotas")).status_code == 403


# -- auto-allocated topology ----------------------------------------------------------------------


def allocated(cloud: Cloud) -> list[int]:
    """How many networks made for a project each site has."""
    return [
        sum(one["name"] == "auto_allocated_network" for one in site.network.records.of("networks").values())
        for site in cloud.sites
    ]


@pytest.mark.parametrize("word", ["None", "id"])
async def test_a_project_has_one_topology(user: Client, cloud: Cloud, word: str) -> None:
    project = cloud.keystone.project_id("demo")
    path = f"{NETWORK}/auto-allocated-topology/{project if word == 'id' else word}"
    dry = (await user.get(f"{path}?fields=dry-run")).json()["auto_allocated_topology"]
    assert (dry["id"], allocated(cloud)) == ("dry-run=pass", [0, 0, 0])
    made = (await user.get(path)).json()["auto_allocated_topology"]
    assert allocated(cloud) == [1, 0, 0]
    assert (await user.get(f"{NETWORK}/networks/{made['id']}")).status_code == 200
    assert (await user.get(path)).json()["auto_allocated_topology"] == made
    other = f"{NETWORK}/auto-allocated-topology/{cloud.keystone.project_id('alt_demo')}"
    assert (await user.get(other)).status_code == 403
    assert (await user.delete(path)).status_code == 204
    assert allocated(cloud) == [0, 0, 0]


async def test_one_made_beside_is_the_project_s_and_no_other_is_made(user: Client, cloud: Cloud) -> None:
    path = f"{NETWORK}/auto-allocated-topology/None"
    cloud.site("site1").faults.add(Fault("refuse"))
    away = await user.get(path)
    assert (away.status_code, "site1" in away.json()["NeutronError"]["message"]) == (503, True)
    assert allocated(cloud) == [0, 0, 0]
    records = cloud.site("site3").network.records
    records.of("networks")[make(cloud, cloud.site("site3"), "networks")]["name"] = "auto_allocated_network"
    made = await user.get(path)
    assert (made.status_code, allocated(cloud)) == (200, [0, 0, 1]), made.text
    not_yet = await user.delete(path)
    assert (not_yet.status_code, allocated(cloud)) == (503, [0, 0, 1])


# -- Nova's view of security groups ---------------------------------------------------------------


async def test_the_default_group_is_one_in_nova_s_view(user: Client, cloud: Cloud) -> None:
    groups = (await user.get(f"{NOVA}/os-security-groups")).json()["security_groups"]
    (default,) = groups
    listed = (await user.get(f"{NETWORK}/security-groups?name=default")).json()["security_groups"]
    assert (default["name"], default["id"]) == ("default", listed[0]["id"])
    for site in cloud.sites:
        site.listener.seen.clear()
    rule = {"parent_group_id": default["id"], "ip_protocol": "tcp", "from_port": 22, "to_port": 22,
            "cidr": "0.0.0.0/0"}  # fmt: skip
    refused = await user.post(f"{NOVA}/os-security-group-rules", json={"security_group_rule": rule})
    assert refused.status_code == 409, refused.text
    assert "openstack security group rule create" in refused.json()["conflictingRequest"]["message"]
    its = cloud.site("site2").network.records.default_group(cloud.keystone.project_id("demo"))["id"]
    some = cloud.site("site2").network.records.rules_of(its)[0]["id"]
    kept = await user.delete(f"{NOVA}/os-security-group-rules/{some}")
    assert kept.status_code == 409, kept.text
    assert writes(cloud) == []


async def test_rules_of_other_groups_are_made_through_nova_at_their_site(user: Client, cloud: Cloud) -> None:
    group = make(cloud, cloud.site("site2"), "security-groups")
    rule = {
        "parent_group_id": group,
        "ip_protocol": "tcp",
        "from_port": 22,
        "to_port": 22,
        "cidr": "10.0.0.0/8",
    }
    made = await user.post(f"{NOVA}/os-security-group-rules", json={"security_group_rule": rule})
    assert made.status_code == 200, made.text
    ident = made.json()["security_group_rule"]["id"]
    rules = [one["id"] for one in cloud.site("site2").network.records.rules_of(group)]
    assert ident in rules
    assert (await user.delete(f"{NOVA}/os-security-group-rules/{ident}")).status_code == 202
    assert ident not in [one["id"] for one in cloud.site("site2").network.records.rules_of(group)]
