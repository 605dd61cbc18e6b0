"""Which lists are measured, and of what sites."""

import tomllib
from collections import Counter

import pytest
from bench import lists, peers
from bench.lists import ENTRIES, LAYOUTS, OTHERS, ROUNDS, SERVERS, Pages


def test_each_list_has_its_figures_once():
    names = Counter(entry.name for entry in ENTRIES)
    assert set(names.values()) == {1}
    for one in (*SERVERS, *OTHERS):
        own = [name for name in names if name.startswith(f"first 1,000 of {one.name}, 100 sites: ")]
        assert len(own) == (5 if one.name == "servers/detail" else 4), "of one the SDK's too"
    wanted = {"volumes/detail", "ports by id", "ports", "images"}
    assert {one.name for one in OTHERS} == wanted


def test_a_page_is_asked_for_as_its_service_would_be():
    asked = {one.name: (one.target, one.share) for one in OTHERS}
    sort = "&sort_key=id&sort_dir=asc"
    assert asked["ports by id"] == (
        f"/network/v2.0/ports?limit=1000{sort}",
        f"/network/v2.0/ports?limit=20{sort}",
    )
    assert asked["volumes/detail"][0] == "/block-storage/v3/volumes/detail?limit=1000"
    assert SERVERS[0].target == "/compute/v2.1/servers/detail", "servers come a thousand at a time anyway"


def test_sites_have_the_services_that_are_measured(tmp_path):
    file = peers.atoll_configuration(tmp_path, 1, [2, 3], ["network", "image"])
    sites = tomllib.loads(file.read_text())["sites"]
    assert sites["Region2"]["endpoints"] == {
        "network": "http://127.0.0.1:3/network",
        "image": "http://127.0.0.1:3/image",
    }
    alone = tomllib.loads(peers.atoll_configuration(tmp_path, 1, [2]).read_text())["sites"]
    assert alone["Region1"]["endpoints"] == {"compute": "http://127.0.0.1:2/v2.1"}


def pages(rounds: int, read: int = 2000, cpu: float = 30.0) -> Pages:
    """Pages of one layout that are all alike."""
    return Pages(
        seconds=[0.1] * ROUNDS, waited=[0.0] * ROUNDS, cpu=[cpu] * ROUNDS, sites_cpu=[9.0] * ROUNDS,
        rounds=[rounds] * ROUNDS, beside=[0] * ROUNDS, read=[read] * ROUNDS, answered=[1000] * ROUNDS,
        unknown=1.0, unknown_rounds=2,
    )  # fmt: skip


@pytest.mark.parametrize("listed", OTHERS, ids=lambda one: one.name)
def test_other_lists_have_the_bounds_of_servers(listed):
    def met(uniform: Pages, other: Pages, slowest: float = 80.0) -> dict[str, bool | None]:
        found = dict.fromkeys((*LAYOUTS, "random"), other) | {"uniform": uniform}
        entries = lists.page_entries(listed.entries(), found, (slowest, 60.0), "")
        return dict(zip(("time", "rounds", "bytes", "cpu"), (one.met for one in entries), strict=True))

    assert met(pages(1), pages(2)) == dict.fromkeys(("time", "rounds", "bytes", "cpu"), True)
    assert not met(pages(2), pages(2))["rounds"]
    assert not met(pages(1), pages(3))["rounds"]
    assert not met(pages(1), pages(2, read=3001))["bytes"]
    assert not met(pages(1), pages(2, cpu=40.1))["cpu"]
    assert not met(pages(1), pages(2), slowest=66.0)["time"]
