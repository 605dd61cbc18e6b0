"""A project's security group `default`: one to its users, though each site has its own."""

from typing import Any

import pytest
from tests.running import Atoll
from tests.scenarios.conftest import Client, server_body

from atoll.sandbox.simulated import Cloud, Fault, Site

GROUPS = "/network/v2.0/security-groups"
RULES = "/network/v2.0/security-group-rules"
PORTS = "/network/v2.0/ports"
SSH = {"direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}


def own(site: Site, cloud: Cloud) -> str:
    """The id of demo's group at a site."""
    return str(site.network.records.default_group(cloud.keystone.project_id("demo"))["id"])


def rules_at(site: Site, cloud: Cloud) -> list[dict[str, Any]]:
    """The rules of demo's group at a site."""
    return site.network.records.rules_of(own(site, cloud))


async def default(client: Client) -> dict[str, Any]:
    """The group as a client finds it by its name."""
    found = (await client.get(GROUPS, params={"name": "default"})).json()["security_groups"]
    (group,) = found
    return dict(group)


def networks(cloud: Cloud) -> list[str]:
    """A network of demo's at each site."""
    return [
        next(
            one["id"]
            for one in site.network.records.of("networks").values()
            if one["project_id"] == cloud.keystone.project_id("demo")
        )
        for site in cloud.sites
    ]


async def test_it_is_listed_once_by_name_and_among_all(user: Client, cloud: Cloud) -> None:
    group = await default(user)
    assert group["id"] == own(cloud.sites[0], cloud)
    named = [one["name"] for one in (await user.get(GROUPS)).json()["security_groups"]]
    assert named == ["default"]
    assert (await user.get(f"{GROUPS}/{group['id']}")).json()["security_group"]["id"] == group["id"]


async def test_its_rules_are_listed_once(user: Client) -> None:
    group = await default(user)
    every = (await user.get(RULES)).json()["security_group_rules"]
    its = (await user.get(RULES, params={"security_group_id": group["id"]})).json()["security_group_rules"]
    assert len(every) == len(its) == 4
    assert {one["security_group_id"] for one in every} == {group["id"]}
    assert {one["remote_group_id"] for one in every} == {group["id"], None}
    paged = (await user.get(RULES, params={"limit": "3", "fields": "id"})).json()["security_group_rules"]
    assert [set(one) for one in paged] == [{"id"}] * 3


async def test_a_port_of_any_site_shows_it(user: Client, cloud: Cloud) -> None:
    group = await default(user)
    for network in networks(cloud):
        for given in ({}, {"security_groups": [group["id"]]}):
            answer = await user.post(PORTS, json={"port": {"network_id": network, **given}})
            assert answer.status_code == 201, answer.text
            port = answer.json()["port"]
            assert port["security_groups"] == [group["id"]]
            for _ in range(2):  # the first by the ordinary way, then by the lane
                shown = (await user.get(f"{PORTS}/{port['id']}")).json()["port"]
                assert shown["security_groups"] == [group["id"]]
            changed = {"port": {"security_groups": [group["id"]]}}
            assert (await user.put(f"{PORTS}/{port['id']}", json=changed)).status_code == 200
    mine = [one for site in cloud.sites for one in site.network.records.of("ports").values()]
    assert {tuple(one["security_groups"]) for one in mine if one["security_groups"]} == {
        (own(site, cloud),) for site in cloud.sites
    }
    found = (await user.get(PORTS, params={"security_groups": group["id"]})).json()["ports"]
    assert len(found) == 6


async def test_a_port_is_the_same_to_a_gateway_that_was_asked_nothing_before(
    user: Client, cloud: Cloud
) -> None:
    port = cloud.sites[2].network.records
    network = networks(cloud)[2]
    made = (await user.post(PORTS, json={"port": {"network_id": network}})).json()["port"]
    assert made["security_groups"] == [own(cloud.sites[0], cloud)]
    assert port.of("ports")[made["id"]]["security_groups"] == [own(cloud.sites[2], cloud)]
    shown = (await user.get(f"{PORTS}/{made['id']}")).json()["port"]
    assert shown["security_groups"] == [own(cloud.sites[0], cloud)]


@pytest.mark.parametrize("zone", ["site1", "site2", "site3"])
async def test_a_server_by_its_id_goes_where_it_likes(user: Client, cloud: Cloud, zone: str) -> None:
    """The `openstack` command puts the id of a group in the place of its name."""
    group = await default(user)
    network = dict(zip((site.name for site in cloud.sites), networks(cloud), strict=True))[zone]
    for named in ("default", group["id"], own(cloud.sites[1], cloud)):
        body = server_body(cloud, networks=[{"uuid": network}], security_groups=[{"name": named}])
        answer = await user.post("/compute/v2.1/servers", json=body)
        assert answer.status_code == 202, answer.text
        action = f"/compute/v2.1/servers/{answer.json()['server']['id']}/action"
        for what in ("removeSecurityGroup", "addSecurityGroup"):
            done = await user.post(action, json={what: {"name": named}})
            assert done.status_code == 202, done.text


async def test_a_rule_is_made_and_deleted_in_all_of_them(user: Client, cloud: Cloud) -> None:
    group = await default(user)
    given = {"security_group_rule": {"security_group_id": group["id"], **SSH}}
    answer = await user.post(RULES, json=given)
    assert answer.status_code == 201, answer.text
    rule = answer.json()["security_group_rule"]
    assert rule["security_group_id"] == group["id"]
    assert [len(rules_at(site, cloud)) for site in cloud.sites] == [5, 5, 5]
    shown = (await user.get(f"{GROUPS}/{group['id']}")).json()["security_group"]["security_group_rules"]
    assert rule["id"] in {one["id"] for one in shown}
    again = await user.post(RULES, json=given)
    assert again.status_code == 409
    message = f"Security group rule already exists. Rule id is {rule['id']}."
    assert again.json()["NeutronError"]["message"] == message
    assert (await user.delete(f"{RULES}/{rule['id']}")).status_code == 204
    assert [len(rules_at(site, cloud)) for site in cloud.sites] == [4, 4, 4]
    assert (await user.get(f"{RULES}/{rule['id']}")).status_code == 404
    assert (await user.delete(f"{RULES}/{rule['id']}")).status_code == 404


async def test_rules_in_bulk_that_name_the_group_itself(user: Client, cloud: Cloud) -> None:
    group = await default(user)
    many = [
        {
            "security_group_id": group["id"],
            "direction": "ingress",
            "protocol": one,
            "remote_group_id": group["id"],
        }
        for one in ("tcp", "udp")
    ]
    answer = await user.post(RULES, json={"security_group_rules": many})
    assert answer.status_code == 201, answer.text
    assert {one["remote_group_id"] for one in answer.json()["security_group_rules"]} == {group["id"]}
    for site in cloud.sites:
        made = [one for one in rules_at(site, cloud) if one["protocol"] in {"tcp", "udp"}]
        assert [one["remote_group_id"] for one in made] == [own(site, cloud)] * 2


async def test_nothing_is_made_where_a_site_refuses(user: Client, cloud: Cloud) -> None:
    group = await default(user)
    cloud.sites[2].network.records.of("security-groups").pop(own(cloud.sites[2], cloud))
    answer = await user.post(RULES, json={"security_group_rule": {"security_group_id": group["id"], **SSH}})
    assert answer.status_code == 404
    assert [len(site.network.records.rules_of(own_before)) for site, own_before in _owns(cloud)] == [4, 4]


def _owns(cloud: Cloud) -> list[tuple[Site, str]]:
    return [(site, own(site, cloud)) for site in cloud.sites[:2]]


async def test_nothing_is_made_while_a_site_is_away(user: Client, cloud: Cloud) -> None:
    group = await default(user)
    cloud.site("site2").refuse()
    answer = await user.post(RULES, json={"security_group_rule": {"security_group_id": group["id"], **SSH}})
    assert answer.status_code == 503
    assert "site2" in answer.json()["NeutronError"]["message"]
    assert [len(rules_at(site, cloud)) for site in cloud.sites] == [4, 4, 4]


async def test_a_rule_that_names_another_group_is_refused(user: Client, cloud: Cloud) -> None:
    group = await default(user)
    other = (await user.post(GROUPS, json={"security_group": {"name": "web"}})).json()["security_group"]
    given = {"security_group_id": group["id"], "direction": "ingress", "remote_group_id": other["id"]}
    answer = await user.post(RULES, json={"security_group_rule": given})
    assert answer.status_code == 409
    message = answer.json()["NeutronError"]["message"]
    assert other["id"] in message
    assert "default" in message
    assert [len(rules_at(site, cloud)) for site in cloud.sites] == [4, 4, 4]


async def test_a_rule_of_another_group_names_it_at_its_site(user: Client, cloud: Cloud) -> None:
    group = await default(user)
    other = (await user.post(GROUPS, json={"security_group": {"name": "web"}})).json()["security_group"]
    given = {"security_group_id": other["id"], "direction": "ingress", "remote_group_id": group["id"]}
    answer = await user.post(RULES, json={"security_group_rule": given})
    assert answer.status_code == 201, answer.text
    rule = answer.json()["security_group_rule"]
    assert rule["remote_group_id"] == group["id"]
    (site,) = (one for one in cloud.sites if other["id"] in one.network.records.of("security-groups"))
    assert site.network.records.rules_of(other["id"])[-1]["remote_group_id"] == own(site, cloud)
    assert (await user.delete(f"{RULES}/{rule['id']}")).status_code == 204


async def test_what_a_site_has_more_is_shown(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    """A rule that was made at a site behind Atoll's back is seen, and deleted there."""
    group = await default(user)
    site = cloud.sites[1]
    rule = site.network.records._rule(  # noqa: SLF001 - as the site itself makes one
        site.network.records.default_group(cloud.keystone.project_id("demo")),
        "egress",
        "IPv4",
        protocol="icmp",
    )
    found = (await user.get(RULES, params={"security_group_id": group["id"]})).json()["security_group_rules"]
    assert rule["id"] in {one["id"] for one in found}
    assert len(found) == 5
    assert (await user.delete(f"{RULES}/{rule['id']}")).status_code == 204
    assert [len(rules_at(one, cloud)) for one in cloud.sites] == [4, 4, 4]
    del atoll


async def test_it_is_shown_while_its_site_is_away(user: Client, cloud: Cloud) -> None:
    group = await default(user)
    cloud.site("site1").refuse()
    shown = await user.get(f"{GROUPS}/{group['id']}")
    assert shown.status_code in {200, 503}


async def test_an_administrator_sees_every_project_s(admin: Client, user: Client, cloud: Cloud) -> None:
    await default(user)
    found = (await admin.get(GROUPS)).json()["security_groups"]
    demos = [one for one in found if one["project_id"] == cloud.keystone.project_id("demo")]
    admins = [one for one in found if one["project_id"] == cloud.keystone.project_id("admin")]
    assert (len(demos), len(admins)) == (3, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"security_group_rule": "x"}',
        b'{"security_group_rules": [1]}',
        b'{"rule": {"a": 1}}',
    ],
)
async def test_a_body_that_is_none_is_refused_by_a_site(user: Client, cloud: Cloud, body: bytes) -> None:
    await default(user)
    answer = await user.post(RULES, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert set(answer.json()["NeutronError"]) == {"type", "message", "detail"}
    assert [len(rules_at(site, cloud)) for site in cloud.sites] == [4, 4, 4]


async def test_the_id_of_any_site_means_all_of_them(user: Client, cloud: Cloud) -> None:
    group = await default(user)
    site = cloud.sites[2]
    before = len(rules_at(site, cloud))
    given = {"security_group_rule": {"security_group_id": own(site, cloud), **SSH}}
    assert (await user.post(RULES, json=given)).status_code == 201
    assert [len(rules_at(one, cloud)) for one in cloud.sites] == [before + 1] * 3
    shown = (await user.get(f"{GROUPS}/{group['id']}")).json()["security_group"]["security_group_rules"]
    assert len(shown) == before + 1


async def test_a_lost_answer_is_told_and_the_rest_is_undone(user: Client, cloud: Cloud) -> None:
    group = await default(user)
    cloud.site("site3").faults.add(Fault("die_after_commit", service="network", method="POST", count=1))
    answer = await user.post(RULES, json={"security_group_rule": {"security_group_id": group["id"], **SSH}})
    assert answer.status_code == 504, answer.text
    message = answer.json()["NeutronError"]["message"]
    assert "Whether it is at site3 is not known." in message
    assert "undone" in message
    assert [len(rules_at(site, cloud)) for site in cloud.sites[:2]] == [4, 4]


async def test_a_delete_that_one_site_refuses_is_undone(user: Client, cloud: Cloud) -> None:
    group = await default(user)
    given = {"security_group_rule": {"security_group_id": group["id"], **SSH}}
    rule = (await user.post(RULES, json=given)).json()["security_group_rule"]
    cloud.site("site2").faults.add(Fault("status", status=500, service="network", method="DELETE", count=1))
    answer = await user.delete(f"{RULES}/{rule['id']}")
    assert answer.status_code == 500, answer.text
    assert [len(rules_at(site, cloud)) for site in cloud.sites] == [5, 5, 5]


async def test_one_that_an_administrator_deleted_is_made_anew(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    group = await default(user)
    owns = [own(site, cloud) for site in cloud.sites]
    for site in cloud.sites:  # a simulated site keeps its default groups from everybody
        site.network.records._defaults.clear()  # noqa: SLF001 - as Neutron forgets one that is deleted
    for ident in owns:
        assert (await admin.delete(f"{GROUPS}/{ident}")).status_code == 204
    anew = await default(user)
    assert anew["id"] == own(cloud.sites[0], cloud) != group["id"]
