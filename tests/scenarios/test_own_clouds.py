"""`atoll serve --clouds` before it serves: what entries of clouds.yaml are together, and what is written."""

import asyncio
import json
import re
import socket
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from bench.ports import free_port
from tests.certificates import Authority
from tests.origin import Origin
from tests.scenarios.between import between

from atoll.cli.own_clouds import Prepared, prepare
from atoll.identity.entries import read_entry
from atoll.sandbox.simulated import Cloud, Keystone, Site

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")


def free() -> str:
    """An address at which nobody listens just now."""
    return f"127.0.0.1:{free_port()}"


class Home:
    """A person's clouds.yaml, and what is made of it.

    There is one Keystone with the regions east and west, and one with the region alone.
    """

    def __init__(self, folder: Path, shared: Cloud, other: Cloud) -> None:
        self.folder = folder
        self.shared, self.other = shared, other
        self.listen = free()
        self.file = folder / "clouds.yaml"
        self._entries: dict[str, Any] = {}

    def entry(self, name: str, keystone: Keystone, user: str = "demo", **more: Any) -> None:
        """Note an entry down."""
        auth = {
            "auth_url": keystone.auth_url, "username": user, "password": self.shared.password,
            "project_name": user, "user_domain_id": "default", "project_domain_id": "default",
        }  # fmt: skip
        self._entries[name] = {"auth": auth, **more}
        self.file.write_text(json.dumps({"clouds": self._entries}))

    async def prepared(self, *names: str, listen: str = "") -> Prepared:
        """What `--clouds` with these prepares, to listen at a free port by default."""
        return await asyncio.to_thread(
            lambda: prepare(
                names, listen=listen or self.listen, entry="mine", state=self.folder / "state", environment={}
            )
        )

    def configured(self) -> dict[str, Any]:
        """The configuration that was written."""
        return tomllib.loads((self.folder / "state" / "atoll.toml").read_text())


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    async with Cloud(["east", "west"]) as shared, Cloud(["alone"]) as other:
        made = Home(tmp_path, shared, other)
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.file))
        yield made


def sites_of(config: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """(cloud, region) of each site."""
    return {name: (one["cloud"], one["region"]) for name, one in config["sites"].items()}


async def test_entries_of_one_project_of_one_keystone_are_one_cloud(home):
    home.entry("a", home.shared.keystone, region_name="east")
    home.entry("b", home.shared.keystone, region_name="west")
    home.entry("c", home.other.keystone)
    prepared = await home.prepared("a", "b", "c")
    config = home.configured()
    assert sites_of(config) == {"a": ("a", "east"), "b": ("a", "west"), "c": ("c", "alone")}
    assert [(one["cloud"], one["clouds_yaml"]) for one in config["credentials"]] == [("a", "a"), ("c", "c")]
    assert list(prepared.said) == []


@pytest.mark.parametrize("regions", [{"regions": ["east", "west"]}, {}])
async def test_an_entry_of_several_regions_is_a_site_for_each(home, regions):
    home.entry("a", home.shared.keystone, **regions)
    await home.prepared("a")
    assert sites_of(home.configured()) == {"a-east": ("a", "east"), "a-west": ("a", "west")}


async def test_another_project_in_another_region_is_a_cloud_of_its_own(home):
    home.entry("a", home.shared.keystone, region_name="east")
    home.entry("b", home.shared.keystone, "alt_demo", region_name="west")
    await home.prepared("a", "b")
    config = home.configured()
    assert sites_of(config) == {"a": ("a", "east"), "b": ("b", "west")}
    assert [(one["cloud"], one["clouds_yaml"]) for one in config["credentials"]] == [("a", "a"), ("b", "b")]
    assert len({one["project_id"] for one in config["credentials"]}) == 1, (
        "all of it is one cloud to the user"
    )


async def test_another_project_of_the_same_region_is_another_project_here(home):
    home.entry("a", home.shared.keystone)
    home.entry("dev", home.shared.keystone, "alt_demo")
    prepared = await home.prepared("a", "dev")
    config = home.configured()
    assert sites_of(config) == {"a-east": ("a", "east"), "a-west": ("a", "west")}
    credentials = config["credentials"]
    assert [(one["cloud"], one["clouds_yaml"]) for one in credentials] == [("a", "a"), ("a", "dev")]
    assert credentials[0]["project_id"] != credentials[1]["project_id"]
    assert dict(prepared.projects) == {"dev": "mine-dev"}
    mine, dev = (read_entry(home.file, name)["auth"] for name in ("mine", "mine-dev"))
    assert dev == {**mine, "project_name": "dev"}
    again = await home.prepared("a", "dev")
    assert home.configured() == config
    assert again.account.password == prepared.account.password


async def test_one_project_twice_is_left_out(home):
    home.entry("a", home.shared.keystone, region_name="east")
    home.entry("b", home.shared.keystone, region_name="east")
    prepared = await home.prepared("a", "b")
    assert list(sites_of(home.configured())) == ["a"]
    (said,) = prepared.said
    assert said.startswith("b is left out: it is of the same project and region as a")


async def test_a_name_that_two_sites_would_have_is_said_and_the_others_go_on(home):
    home.entry("a", home.shared.keystone)
    home.entry("a-east", home.other.keystone)
    prepared = await home.prepared("a", "a-east")
    assert list(sites_of(home.configured())) == ["a-east", "a-west"]
    (said,) = prepared.said
    assert said == (
        "a-east is left out: there is a site a-east already, in the region east: rename one of the entries"
    )


async def test_one_cloud_by_two_auth_urls_is_not_listed_twice(home):
    home.entry("a", home.shared.keystone, region_name="east")
    home.entry("b", home.shared.keystone, region_name="east")
    async with Origin(between(home.shared.keystone.listener.server.url)) as front:
        entries = json.loads(home.file.read_text())["clouds"]
        entries["b"]["auth"]["auth_url"] = f"{front.url}/identity/v3"
        home.file.write_text(json.dumps({"clouds": entries}))
        prepared = await home.prepared("a", "b")
    assert list(sites_of(home.configured())) == ["a"]
    assert "b is left out: its endpoints are those of the site a" in prepared.said[0]


async def test_a_region_that_is_not_there_is_said_with_those_that_are(home):
    home.entry("a", home.shared.keystone, region_name="north")
    with pytest.raises(click.ClickException, match="there is no region north; there are east, west"):
        await home.prepared("a")
    assert not (home.folder / "state").exists()


async def test_an_administrator_is_told(home):
    home.entry("a", home.shared.keystone, "admin", region_name="east")
    prepared = await home.prepared("a")
    assert [one["admin"] for one in home.configured()["credentials"]] == [False, True]
    assert "administrator" in prepared.said[0]


async def test_a_cloud_that_is_away_is_kept_as_it_was(home):
    home.entry("a", home.shared.keystone, region_name="east")
    home.entry("c", home.other.keystone)
    await home.prepared("a", "c")
    before = home.configured()
    home.other.keystone.listener.server.refuse()
    prepared = await home.prepared("a", "c")
    after = home.configured()
    assert (after["sites"], after["credentials"]) == (before["sites"], before["credentials"])
    assert [one for one in prepared.said if one.startswith("c is away")] == list(prepared.said)


async def test_a_site_that_was_gone_for_a_while_has_its_number_again(home):
    home.entry("a", home.shared.keystone, region_name="east")
    home.entry("c", home.other.keystone)
    home.entry("d", home.shared.keystone, region_name="west")
    await home.prepared("a", "c")
    numbers = {name: one["number"] for name, one in home.configured()["sites"].items()}
    await home.prepared("a")
    await home.prepared("a", "d", "c")
    after = {name: one["number"] for name, one in home.configured()["sites"].items()}
    assert {name: after[name] for name in numbers} == numbers
    assert after["d"] not in numbers.values()


async def test_what_an_entry_says_of_certificates_is_kept(home):
    authority = Authority(home.folder)
    own = authority.issue("own")
    home.entry("a", home.shared.keystone, region_name="east", cacert=str(authority.file))
    home.entry("b", home.other.keystone, verify=False, cert=str(own.cert), key=str(own.key))
    await home.prepared("a", "b")
    clouds = home.configured()["clouds"]
    assert (clouds["a"]["verify"], clouds["a"]["cacert"]) == (True, str(authority.file))
    assert (clouds["b"]["verify"], clouds["b"]["cert"], clouds["b"]["key"]) == (
        False,
        str(own.cert),
        str(own.key),
    )


async def test_a_catalogue_that_names_odd_regions_gives_names_that_sites_may_have(home):
    for region in ("Region One", "Région 2"):
        site = Site(region, home.other.keystone, region=region)
        await site.start()
        home.other.sites.append(site)
    home.entry("c", home.other.keystone)
    await home.prepared("c")
    assert set(sites_of(home.configured())) == {"c-alone", "c-Region-One", "c-R-gion-2"}


async def test_an_entry_of_an_earlier_port_is_ones_own_and_another_clouds_is_not(home):
    home.entry("a", home.shared.keystone, region_name="east")
    first = await home.prepared("a")
    second = await home.prepared("a", listen=free())
    assert read_entry(home.file, "mine")["auth"]["auth_url"] == (
        f"http://{second.config.gateway.listen[0]}/identity/v3"
    )
    assert second.account.password == first.account.password
    home.entry("mine", home.other.keystone)
    with pytest.raises(click.ClickException, match="has an entry mine already, for"):
        await home.prepared("a")


async def test_where_nothing_can_listen_nothing_is_written_down(home):
    home.entry("a", home.shared.keystone, region_name="east")
    before = home.file.read_text()
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(click.ClickException, match=r"already in use\. --listen names another place"),
    ):
        await home.prepared("a", listen=f"127.0.0.1:{taken.getsockname()[1]}")
    with pytest.raises(click.ClickException, match="8774 is not address:port"):
        await home.prepared("a", listen="8774")
    assert home.file.read_text() == before
    assert not (home.folder / "state").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [("clouds:\n  a: [b\n", "clouds.yaml is no YAML: look at line 3"), (None, "there is no clouds.yaml")],
)
async def test_a_clouds_yaml_that_is_none_is_said(home, text, said, monkeypatch):
    monkeypatch.setattr("openstack.config.loader.CONFIG_FILES", [])
    if text is not None:
        home.file.write_text(text)
    with pytest.raises(click.ClickException, match=said):
        await home.prepared("a")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("text", "not laid out as it should be"),
        (None, "not laid out as it should be"),
        ({"auth": ["x"]}, "not laid out as it should be"),
        ({"auth": {"auth_url": 5}}, "not laid out as it should be"),
        ({"auth": {}}, "has no auth_url"),
        ({"profile": "nowhere"}, "no auth_url, and openstacksdk does not know the profile it names"),
        ({"auth": {"auth_url": "http://127.0.0.1:1"}, "auth_type": "v9"}, "there is no type v9"),
        ({"auth": {"auth_url": "http://127.0.0.1:1"}}, "of what v3password needs it names nothing"),
    ],
)
async def test_an_entry_that_is_none_is_named_and_the_others_go_on(home, entry, said):
    home.entry("a", home.shared.keystone, region_name="east")
    content = json.loads(home.file.read_text())
    content["clouds"]["odd"] = entry
    home.file.write_text(json.dumps(content))
    prepared = await home.prepared("odd", "a")
    assert list(sites_of(home.configured())) == ["a"]
    (told,) = prepared.said
    assert told.startswith("odd is left out: ")
    assert re.search(said, told), told


async def test_the_interface_that_an_entry_names_is_used(home):
    home.entry("a", home.shared.keystone, region_name="east", interface="internal")
    home.entry("b", home.other.keystone, interface="nonsense")
    prepared = await home.prepared("a", "b")
    assert sites_of(home.configured()) == {"a": ("a", "east")}
    assert "no nonsense endpoint" in prepared.said[0]
