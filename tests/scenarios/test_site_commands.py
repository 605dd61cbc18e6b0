"""`atoll site` and `atoll zone` against a running gateway."""

import asyncio
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of

from atoll.cli.main import main
from atoll.sandbox.simulated import Cloud


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway in front of two of the three sites."""
    running = await start_atoll(
        cloud.keystone.auth_url, sites_of(cloud, "site1", "site2"), limits={"private_addresses": True}
    )
    await running.settled()
    return running


class Commands:
    """Runs commands as an administrator."""

    def __init__(self, url: str, token: str) -> None:
        self._env = {"ATOLL_URL": url, "OS_TOKEN": token, "OS_CLOUD": None}

    async def run(self, *words: str, stdin: str = "") -> Result:
        """What a command does."""
        return await asyncio.to_thread(CliRunner().invoke, main, list(words), input=stdin, env=self._env)

    async def told(self, *words: str) -> Any:
        """What a command prints as JSON."""
        done = await self.run(*words, "--format", "json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.fixture
def atoll_command(atoll: Atoll, cloud: Cloud) -> Commands:
    """Commands for the gateway."""
    return Commands(atoll.url, cloud.keystone.token("admin"))


async def test_a_site_from_the_catalogue_to_its_end(atoll_command: Commands) -> None:
    run, told = atoll_command.run, atoll_command.told
    refused = await run("site", "add", "tokyo", "--region", "site3", stdin="n\n")
    assert (refused.exit_code, "/compute/v2.1" in refused.output) == (1, True)
    assert [one["name"] for one in await told("site", "list")] == ["site1", "site2"]
    (made,) = await told("site", "add", "tokyo", "--region", "site3", "--yes")
    assert set(made["endpoints"]) == {"compute", "block-storage", "image", "network"}
    (zone,) = await told("zone", "add", "tokyo-1", "--site", "tokyo", "--zone", "nova")
    assert (zone["site"], zone["zone_of_site"]) == ("tokyo", "nova")
    checked = await run("site", "check", "tokyo")
    assert (checked.exit_code, "as it is set up" in checked.output) == (0, True), checked.output
    drained = await run("site", "drain", "tokyo", "--reason", "racks")
    assert "is draining since" in drained.output
    shown = await run("site", "show", "tokyo")
    assert "racks" in shown.output
    assert "vCPUs" in shown.output
    assert (await run("site", "maintain", "tokyo", "--reason", "racks")).exit_code == 0
    assert (await run("site", "resume", "tokyo")).exit_code == 0
    (changed,) = await told("zone", "set", "tokyo-1", "--any-zone")
    assert changed["zone_of_site"] is None
    refused = await run("site", "remove", "tokyo")
    assert (refused.exit_code, "atoll zone remove" in refused.output) == (1, True)
    assert (await run("zone", "remove", "tokyo-1")).exit_code == 0
    assert (await run("site", "remove", "tokyo")).exit_code == 0
    assert [one["name"] for one in await told("zone", "list")] == ["site1", "site2"]


async def test_endpoints_given_by_hand_and_changed(atoll_command: Commands, cloud: Cloud) -> None:
    url = cloud.site("site3").endpoints["compute"]
    (made,) = await atoll_command.told(
        "site", "add", "lab", "--region", "unlisted", "--endpoint", f"compute={url}",
        "--backup-store", "vault", "--yes",
    )  # fmt: skip
    assert (list(made["endpoints"]), made["backup_store"]) == (["compute"], "vault")
    image = cloud.site("site3").endpoints["image"]
    (changed,) = await atoll_command.told("site", "set", "lab", "--endpoint", f"image={image}")
    assert set(changed["endpoints"]) == {"compute", "image"}
    (changed,) = await atoll_command.told("site", "set", "lab", "--no-endpoint", "image", "--region", "site3")
    assert (list(changed["endpoints"]), changed["region"]) == (["compute"], "site3")
    assert changed["backup_store"] == "vault"
    (changed,) = await atoll_command.told("site", "set", "lab", "--backup-store", "")
    assert (changed["backup_store"], changed["region"]) == ("", "site3")


async def test_a_site_of_a_cloud_that_is_not_known_yet(atoll_command: Commands) -> None:
    run, told = atoll_command.run, atoll_command.told
    async with Cloud(["lab"]) as other:
        (site,) = other.sites
        pinned = ("--endpoint", f"compute={site.endpoints['compute']}")
        new = ("site", "add", "lab", "--region", "lab", "--auth-url", other.keystone.auth_url)
        unread = await run(*new, "--yes")
        assert (unread.exit_code, "atoll cloud add lab" in unread.output) == (2, True), unread.output
        refused = await run(*new, *pinned, stdin="n\n")
        assert refused.exit_code == 1
        taken = await run(*new, *pinned, "--number", "0", "--yes")
        assert (taken.exit_code, "number" in taken.output) == (1, True), taken.output
        assert (await run("cloud", "list")).output == "There is no cloud.\n", "neither or both"
        (made,) = await told(*new, *pinned, "--insecure", "--yes")
        assert (made["cloud"], list(made["endpoints"])) == ("lab", ["compute"])
        (cloud,) = await told("cloud", "list")
        assert (cloud["auth_url"], cloud["sites"]) == (other.keystone.auth_url, ["lab"])
        again = await run("site", "add", "two", *new[3:], *pinned, "--yes")
        assert (again.exit_code, "There is a cloud lab already" in again.output) == (1, True), again.output
        both = await run(*new, "--cloud", "lab")
        assert both.exit_code == 2


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["site", "show", "nowhere"], 1, "no site nowhere"),
        (["site", "add", "x", "--region", "nowhere"], 1, "there are site1, site2, site3"),
        (["site", "add", "x", "--region", "site3", "--endpoint", "compute"], 2, "SERVICE=URL"),
        (["site", "set", "site1"], 2, "nothing to change"),
        (["site", "maintain", "site1"], 2, "--reason"),
        (["zone", "add", "z", "--site", "site1", "--zone", "a", "--zone", "compute=b"], 2, "for each"),
        (["site", "remove", "site1"], 1, "configuration file"),
    ],
)
async def test_what_is_refused_is_a_sentence(
    atoll_command: Commands, words: list[str], status: int, said: str
) -> None:
    done = await atoll_command.run(*words)
    assert (done.exit_code, said in done.output) == (status, True), done.output


async def test_a_token_that_is_none_and_a_gateway_that_is_not_there(atoll: Atoll) -> None:
    done = await Commands(atoll.url, "nonsense").run("site", "list")
    assert (done.exit_code, "requires authentication" in done.output) == (1, True), done.output
    done = await Commands("http://127.0.0.1:1", "nonsense").run("site", "list")
    assert (done.exit_code, "127.0.0.1" in done.output) == (1, True), done.output
