"""One cloud of two whose Keystones are federated, by the stock client: no user has an account at both."""

from typing import Any

from tests.e2e.conftest import Command
from tests.e2e.sites import Site


def boot(cli: Command, zone: str, name: str) -> dict[str, Any]:
    words = ("--image", "cirros", "--flavor", "m1.nano", "--nic", "none", "--availability-zone", zone)
    made: dict[str, Any] = cli("server", "create", *words, "--wait", name)
    return made


def test_servers_of_both_are_one_list_of_the_callers_own(cli: Command, two: list[Site], name: str) -> None:
    made = {}
    for site in two:
        server = boot(cli, site.name, f"{name}-{site.name}")
        made[site.name] = server["id"]
        assert server["status"] == "ACTIVE"
        assert site.has("compute", f"/servers/{server['id']}")
    listed = cli("server", "list", "--long")
    mine = {one["ID"]: one for one in listed if one["Name"].startswith(name)}
    assert set(mine) == set(made.values())
    owners = set()
    for ident in made.values():
        shown = cli("server", "show", ident)
        owners.add((shown["project_id"], shown["user_id"]))
    assert len(owners) == 1, "the same project and user wherever they are"
    ((project, _),) = owners
    assert project == cli("token", "issue")["project_id"]
    there = two[1].admin.get("compute", f"/servers/{made[two[1].name]}")["server"]
    assert there["tenant_id"] != project
    for ident in made.values():
        cli.run("server", "delete", "--wait", ident)
    assert not [one for one in cli("server", "list") if one["Name"].startswith(name)]


def test_volumes_and_networks_are_made_there(cli: Command, two: list[Site], name: str) -> None:
    older = two[1]
    volume = cli("volume", "create", "--size", "1", "--availability-zone", older.name, f"{name}-volume")
    assert older.has("block-storage", f"/volumes/{volume['id']}")
    hint = ("--availability-zone-hint", older.name)
    network = cli("network", "create", *hint, f"{name}-network")
    assert older.has("network", f"/v2.0/networks/{network['id']}")
    assert network["project_id"] == cli("token", "issue")["project_id"]
    cli.run("network", "delete", network["id"])
    assert {one["ID"] for one in cli("volume", "list")} >= {volume["id"]}


def test_keypairs_images_and_flavors(cli: Command, name: str) -> None:
    assert [one["Name"] for one in cli("image", "list")].count("cirros") == 1
    assert [one["Name"] for one in cli("flavor", "list")].count("m1.nano") == 1
    made = cli.run("keypair", "create", name)
    assert "PRIVATE KEY" in made.stdout
    assert [one["Name"] for one in cli("keypair", "list")].count(name) == 1
    cli.run("keypair", "delete", name)
    assert name not in [one["Name"] for one in cli("keypair", "list")]


def test_an_administrator_sees_what_is_the_users(
    cli: Command, admin_cli: Command, two: list[Site], name: str
) -> None:
    made = boot(cli, two[1].name, name)
    project = cli("token", "issue")["project_id"]
    listed = admin_cli("server", "list", "--all-projects", "--long")
    (found,) = [one for one in listed if one["ID"] == made["id"]]
    assert found["Name"] == name
    assert admin_cli("server", "show", made["id"])["project_id"] == project
    refused = cli.run("server", "list", "--all-projects", succeeds=False)
    assert refused.returncode != 0
    cli.run("server", "delete", "--wait", made["id"])
