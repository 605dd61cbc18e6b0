"""The commands in faults: whole, quoted, bounded, and for the site that is nearest to having all."""

import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.bring import LONGEST, MOST, Lack, Place, advice, by_zone, target, together
from atoll.core.choose import Thing, Want

HERE = Place(site="tokyo", zone="asia", region="RegionTwo")
APART = Place(site="tokyo", zone="asia", region="RegionTwo", cloud="tokyo")
ZONES = {"europe": "paris", "asia": "tokyo"}


def thing(resource: str, name: str, *sites: str) -> Thing:
    return Thing(resource=resource, id=name, sites=frozenset(sites or {"paris"}))


def told(resource: str, place: Place = HERE, **shown: Any) -> list[list[str]]:
    """The commands for one thing, each as a shell would read it."""
    text = advice([Lack(thing=thing(resource, "t1"), at="paris", shown=shown)], place)
    return [shlex.split(part) for part in text.split("`")[1::2]]


@pytest.mark.parametrize("name", ["plain", "two words", "; rm -rf ~", "$(id)", "it's", "ä", "a\\b"])
@pytest.mark.parametrize(
    "resource", ["network", "router", "image", "flavor", "volume_type", "security_group"]
)
def test_a_name_is_one_word_whatever_is_in_it(resource: str, name: str) -> None:
    command = told(resource, name=name)[-1]
    assert command[-1] == name


@given(st.text(st.characters(exclude_characters="`\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_no_name_ends_its_command(name: str) -> None:
    assert [command[-1] for command in told("network", name=name)] == [name]


def test_what_is_not_known_is_left_to_fill_in() -> None:
    assert told("network") == [["openstack", "network", "create", "--availability-zone-hint", "asia", "NAME"]]


def test_a_flavor_keeps_what_it_is() -> None:
    shown: dict[str, Any] = {
        "name": "m1.big", "ram": 4096, "vcpus": 2, "disk": 0, "swap": "", "OS-FLV-EXT-DATA:ephemeral": 0,
        "extra_specs": {"hw:cpu_policy": "dedicated"},
    }  # fmt: skip
    (command,) = told("flavor", **shown)
    assert shlex.join(command) == (
        "openstack --os-region-name RegionTwo flavor create --id t1 --ram 4096 --vcpus 2 --disk 0 "
        "--property hw:cpu_policy=dedicated m1.big"
    )


def test_a_site_with_a_keystone_of_its_own_is_asked_by_its_entry() -> None:
    (command,) = told("volume_type", APART, name="gold")
    assert command[:5] == ["openstack", "--os-cloud", "tokyo", "--os-region-name", "RegionTwo"]


@pytest.mark.parametrize("resource", ["image", "flavor"])
def test_a_run_brings_what_it_can_where_atoll_is_the_operator(resource: str) -> None:
    place = Place(site="tokyo", zone="asia", region="RegionTwo", operated=True)
    (command,) = told(resource, place, name="i")
    assert command[:4] == ["atoll", "run", "start", f"{resource}.copy"]
    assert command[4:] == ["-i", f"{resource}=t1", "-i", 'sites=["tokyo"]', "--follow"]


def test_a_run_brings_a_volume_where_atoll_acts_for_who_asks_and_none_that_is_encrypted() -> None:
    place = Place(site="tokyo", zone="asia", region="RegionTwo", delegated=True)
    (command,) = told("volume", place, name="v", size=1)
    assert command[4:] == ["-i", "volume=t1", "-i", "site=tokyo", "--follow"]
    assert command[:4] == ["atoll", "run", "start", "volume.copy"]
    assert all("atoll" not in one for one in told("volume", place, name="v", encrypted=True))
    assert all("atoll" not in one for one in told("volume", name="v"))


def test_properties_are_bounded() -> None:
    many: dict[str, Any] = {f"p{n:02}": "v" for n in range(40)}
    (_, command) = told("image", name="i", long="x" * LONGEST, **many)
    assert command.count("--property") == 10
    assert not [word for word in command if "xxx" in word]


def test_things_that_are_one_under_another_id_are_named_by_that() -> None:
    text = advice([Lack(thing=thing("network", "n1"), one="n0")], HERE)
    assert text == "To have it in tokyo: for network n1 name n0, which is one thing at both."


def test_of_many_some_are_told_and_the_rest_counted() -> None:
    text = advice([Lack(thing=thing("server", f"s{n}")) for n in range(MOST + 3)], HERE)
    assert text.endswith("; and 3 more.")


@pytest.mark.parametrize(
    ("named", "site"),
    [
        ([thing("network", "n", "paris"), thing("volume", "v", "tokyo")], "tokyo"),
        (
            [thing("network", "n", "paris"), thing("port", "p", "paris"), thing("image", "i", "tokyo")],
            "paris",
        ),
        (
            [thing("volume", "v", "tokyo"), thing("network", "n", "paris"), thing("port", "p", "paris")],
            "tokyo",
        ),
        ([thing("network", "n", "paris"), thing("network", "m", "tokyo")], "paris"),
    ],
)
def test_the_rest_is_brought_to_the_data_else_to_the_most(named: list[Thing], site: str) -> None:
    want = Want(resource="server", zones=ZONES, named=tuple(named))
    assert target(want, ["paris", "tokyo"]) == site


def test_where_a_zone_is_asked_for_it_is_brought_there_or_another_zone_is_named() -> None:
    named = (thing("volume", "v", "paris"), thing("network", "n", "paris", "tokyo"))
    want = Want(resource="server", zone="asia", zones=ZONES, named=named)
    assert target(want, ["paris", "tokyo"]) == "tokyo"
    assert together(want) == {"paris"}
    assert by_zone(want, "paris") == (
        "All that is named is in paris: name its availability zone, europe, or none."
    )
