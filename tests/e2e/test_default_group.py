"""The project's security group `default` at real sites: one name to the clients, a group at each site."""

from typing import Any

import pytest
from tests.e2e.sites import CLOUD, sites


@pytest.fixture
def owns():
    """The id of the user's group at each site, by the site."""
    return [
        (site, site.mine.get("network", "/v2.0/security-groups?name=default")["security_groups"][0]["id"])
        for site in sites()
    ]


def rules_at(site, group, name):
    """The rules of a group at a site that a test made."""
    path = f"/v2.0/security-group-rules?security_group_id={group}"
    found = site.mine.get("network", path)["security_group_rules"]
    return [rule["id"] for rule in found if rule["description"] == name]


def test_the_command_finds_it_by_its_name(cli, owns):
    assert cli("security", "group", "show", "default")["id"] in {ident for _, ident in owns}
    assert [row["Name"] for row in cli("security", "group", "list")].count("default") == 1


def test_a_rule_of_it_is_at_every_site_or_at_none(cli, name, owns):
    rule = cli(
        "security", "group", "rule", "create", "--protocol", "tcp", "--dst-port", "2222",
        "--description", name, "default",
    )  # fmt: skip
    try:
        assert [len(rules_at(site, own, name)) for site, own in owns] == [1] * len(owns)
        listed = [row["ID"] for row in cli("security", "group", "rule", "list", "default")]
        assert listed.count(rule["id"]) == 1
    finally:
        cli.run("security", "group", "rule", "delete", rule["id"])
    assert [rules_at(site, own, name) for site, own in owns] == [[]] * len(owns)


def test_ports_of_all_sites_show_one_group(cloud, name, undo, private, owns):
    group = cloud.network.find_security_group("default", ignore_missing=False)
    for site, own in owns:
        port = cloud.network.create_port(network_id=private(site), name=name, security_group_ids=[group.id])
        undo(cloud.network.delete_port, port.id)
        assert port.security_group_ids == [group.id]
        assert cloud.network.get_port(port.id).security_group_ids == [group.id]
        there = site.mine.get("network", f"/v2.0/ports/{port.id}")["port"]
        assert there["security_groups"] == [own]
    found = cloud.network.ports(name=name, security_groups=[group.id])
    assert len(list(found)) == len(owns)


def backwards(cloud: Any, path: str, limit: int) -> list[str]:
    """The ids of a list in pages from its end, by the links that say what is before."""
    found: list[str] = []
    url = f"{path}&limit={limit}&page_reverse=True"
    while url:
        page = cloud.network.get(url).json()
        if not page["networks"]:
            return found
        assert len(page["networks"]) <= limit
        found = [one["id"] for one in page["networks"]] + found
        links = {one["rel"]: one["href"] for one in page["networks_links"]}
        url = links.get("previous", "")
    return found


@pytest.mark.parametrize("sort", ["", "&sort_key=name&sort_dir=asc", "&sort_key=name&sort_dir=desc"])
def test_pages_backwards_are_the_list_from_its_end(cloud, name, undo, sort):
    hints = [{"availability_zone_hints": [site.zone]} for site in sites()] if CLOUD == "atoll" else [{}]
    for number in range(6):
        made = cloud.network.create_network(
            name=f"{name}-{number % 3}", description=name, **hints[number % len(hints)]
        )
        undo(cloud.network.delete_network, made.id)
    path = f"/networks?description={name}&fields=id{sort}"
    pages, url = [], f"{path}&limit=4"
    while url:
        page = cloud.network.get(url).json()
        pages += [one["id"] for one in page["networks"]]
        url = {one["rel"]: one["href"] for one in page["networks_links"]}.get("next", "")
    assert len(pages) == len(set(pages)) == 6
    assert backwards(cloud, path, 4) == pages
