"""Transactions on real sites: all of it or nothing, through a gateway that is killed in the middle, too."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import KEY
from tests.e2e.runs import Runs, two_gateways
from tests.e2e.sites import CLOUD, Site, sites

pytestmark = pytest.mark.skipif(CLOUD != "atoll", reason="a bare site has no transactions")

LINK = "$from"


class Transactions(Runs):
    """Transactions over the API of a gateway."""

    def transact(self, **given: Any) -> str:
        """Accept one; its run's id."""
        answer = self._session.request(
            f"{self._url}/atoll/v1/transactions", "POST", json=given, raise_exc=False
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run"]["id"])


@pytest.fixture
def two() -> tuple[Site, Site]:
    """Two sites, if there are two."""
    found = list(sites())
    if len(found) < 2:
        pytest.skip("there is one site only")
    return found[0], found[1]


def small_cloud(cloud: Any, name: str, first: Site, second: Site) -> list[dict[str, Any]]:
    """A network with a server and its volume at one site, a volume and a server at another."""
    image = str(next(cloud.image.images(name="cirros")).id)
    hint = {"availability_zone_hints": [first.zone]}

    def server(short: str, site: Site, networks: Any) -> dict[str, Any]:
        body = {
            "name": f"{name}-{short}", "flavorRef": "42", "imageRef": image, "networks": networks,
            "availability_zone": site.zone, "metadata": {"mine": "1"},
        }  # fmt: skip
        return {"name": short, "create": "server", "body": body}

    def volume(short: str, site: Site) -> dict[str, Any]:
        body = {"name": f"{name}-{short}", "size": 1, "availability_zone": site.zone}
        return {"name": short, "create": "volume", "body": body}

    def of_network(short: str, word: str, **body: Any) -> dict[str, Any]:
        return {"name": short, "create": word, "body": {"name": f"{name}-{short}", **body}}

    rule = {
        "security_group_id": {LINK: "group.id"}, "direction": "ingress", "protocol": "tcp",
        "port_range_min": 22, "port_range_max": 22, "ethertype": "IPv4",
    }  # fmt: skip
    return [
        of_network("net", "network", **hint, description="ours"),
        of_network("sub", "subnet", network_id={LINK: "net.id"}, cidr="10.77.0.0/24", ip_version=4),
        of_network("router", "router", **hint),
        {
            "name": "leg",
            "create": "router_interface",
            "body": {"router_id": {LINK: "router.id"}, "subnet_id": {LINK: "sub.id"}},
        },
        of_network("group", "security_group"),
        {"name": "rule", "create": "security_group_rule", "body": rule},
        of_network("port", "port", network_id={LINK: "net.id"}) | {"after": ["sub"]},
        {"name": "key", "create": "keypair", "body": {"name": name, "public_key": KEY}},
        volume("data", first),
        server("vm", first, [{"port": {LINK: "port.id"}}]),
        {
            "name": "joined",
            "create": "volume_attachment",
            "body": {"server_id": {LINK: "vm.id"}, "volume_id": {LINK: "data.id"}},
        },
        volume("far", second),
        server("other", second, "none"),
    ]


def unmade(name: str) -> list[str]:
    """What is left of a transaction, by site."""
    return [item for site in sites() for item in site.named(name)]


def test_a_small_cloud_over_two_sites(cloud: Any, name: str, two: tuple[Site, Site]) -> None:
    runs = Transactions(cloud)
    run = runs.ended(runs.transact(create=small_cloud(cloud, name, *two), purpose=f"create {name}"))
    assert run["state"] == "done", [(one["name"], one["error"]) for one in run["steps"]]
    given = {one["name"]: one["result"] for one in run["steps"]}
    assert two[0].has("compute", f"/servers/{given['vm']['id']}")
    assert two[1].has("compute", f"/servers/{given['other']['id']}")
    assert two[1].has("block-storage", f"/volumes/{given['far']['id']}")
    vm = cloud.compute.get_server(given["vm"]["id"])
    assert (vm.status, vm.metadata) == ("ACTIVE", {"mine": "1"})
    assert [one["id"] for one in vm.attached_volumes] == [given["data"]["id"]]
    assert cloud.network.get_network(given["net"]["id"]).description == "ours"
    assert cloud.network.get_port(given["port"]["id"]).device_id == vm.id
    assert dict(cloud.block_storage.get_volume(given["far"]["id"]).metadata) == {}
    clear(cloud, name, {short: one["id"] for short, one in given.items() if one})


def test_several_that_a_user_asks_for_at_once(cloud: Any, name: str) -> None:
    """Each has a trust of its own, though Keystone makes no two that end in the same second."""
    runs = Transactions(cloud)
    groups = [
        {"name": "group", "create": "security_group", "body": {"name": f"{name}-{number}"}}
        for number in range(8)
    ]
    accepted = [runs.transact(create=[group]) for group in groups]
    done = [runs.ended(run) for run in accepted]
    assert {one["state"] for one in done} == {"done"}
    gone = [{"delete": "security_group", "id": run["steps"][0]["result"]["id"]} for run in done]
    assert runs.ended(runs.transact(delete=gone))["state"] == "done"


def test_where_the_last_step_is_refused_both_sites_are_as_they_were(
    cloud: Any, name: str, two: tuple[Site, Site]
) -> None:
    creates = small_cloud(cloud, name, *two)
    body = {"name": f"{name}-huge", "size": 1_000_000, "availability_zone": two[1].zone}
    last = {"name": "huge", "create": "volume", "body": body, "after": [one["name"] for one in creates]}
    runs = Transactions(cloud)
    run = runs.ended(runs.transact(create=[*creates, last], purpose=f"create {name}"))
    assert run["state"] == "undone", [(one["name"], one["error"]) for one in run["steps"]]
    assert "huge" in run["reason"]
    assert unmade(name) == []
    assert cloud.compute.find_keypair(name) is None


def test_a_transaction_goes_on_when_its_gateway_was_killed_in_the_middle(
    cloud: Any, name: str, two: tuple[Site, Site], tmp_path: Path
) -> None:
    with two_gateways(tmp_path) as (process, url, other):
        runs, others = Transactions(cloud, url), Transactions(cloud, other)
        run = runs.transact(create=small_cloud(cloud, name, *two), purpose=f"create {name}")
        runs.until(run, lambda shown: sum(one["state"] == "done" for one in shown["steps"]) >= 3)
        os.kill(process.pid, signal.SIGKILL)
        shown = others.ended(run)
        assert shown["state"] == "done", shown
        assert "lost" in others.log(run)
        ids = {one["name"]: one["result"]["id"] for one in shown["steps"] if one["result"]}
    for many in ("networks", "subnets", "ports", "security_groups"):
        short = {"networks": "net", "subnets": "sub", "ports": "port", "security_groups": "group"}[many]
        there = [one.id for one in getattr(cloud.network, many)(name=f"{name}-{short}")]
        assert there == [ids[short]], many
    assert [one.id for one in cloud.compute.servers(name=f"{name}-vm")] == [ids["vm"]]
    clear(cloud, name, ids)


def clear(cloud: Any, name: str, ids: dict[str, str]) -> None:
    """Delete what a run of another database made."""
    kinds = {one["name"]: one["create"] for one in small_cloud(cloud, name, *list(sites())[:2])}
    gone = [{"delete": kinds[one], "id": ids[one]} for one in reversed(list(kinds)) if one != "rule"]
    runs = Transactions(cloud)
    assert runs.ended(runs.transact(delete=gone, purpose=f"clear {name}"))["state"] == "done"
