"""`atoll cloud`, `atoll credential` and `atoll secrets` as an operator uses them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from click.testing import CliRunner, Result
from tests.running import toml
from tests.scenarios.apart import Apart, apart

from atoll.cli.main import main
from atoll.trust.sealing import SecretsError

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        monkeypatch.setenv("OS_TOKEN", made.keystone.token("admin"))
        yield made


async def command(*arguments: str, given: str | None = None) -> Result:
    """What a command prints, and how it ends; the gateway goes on meanwhile."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(main, arguments, input=given))


async def key(path: Path) -> str:
    """A new key in a file."""
    made = await command("secrets", "new-key", "--file", str(path))
    assert made.exit_code == 0, made.output
    assert (await asyncio.to_thread(path.stat)).st_mode & 0o777 == 0o600
    return f"file:{path}"


async def test_a_credential_from_its_adding_to_its_removal(start_atoll, clouds, tmp_path):
    secrets = {"key": await key(tmp_path / "key")}
    assert (await command("secrets", "new-key", "--file", str(tmp_path / "key"))).exit_code == 1
    gateway = await start_atoll(clouds.auth_url, clouds.sites, secrets=secrets, **clouds.tables)
    at = ("--url", gateway.url)
    listed = await command("cloud", "list", *at, "-f", "json")
    assert [one["name"] for one in json.loads(listed.output)] == ["cloud1", "cloud2"]
    added = await command(
        "credential", "add", *at, "--cloud", "cloud1", "--from-cloud", "cloud1", "-f", "json"
    )
    assert added.exit_code == 0, added.output
    (one,) = json.loads(added.output)
    assert clouds.cloud.password not in added.output
    checked = await command("credential", "check", *at, one["id"])
    assert checked.exit_code == 0, checked.output
    again = await command("credential", "add", *at, "--cloud", "cloud1", "--from-cloud", "cloud1")
    assert again.exit_code == 1
    assert one["id"] in again.output
    log_ins = len(clouds.cloud.keystones[1].listener.seen)
    slip = await command("credential", "add", *at, "--cloud", "cloud2", "--from-cloud", "cloud1", given="n\n")
    assert slip.exit_code == 1
    assert "The entry cloud1 is for" in slip.output
    assert len(clouds.cloud.keystones[1].listener.seen) == log_ins, "no password went there"
    nowhere = await command("credential", "add", *at, "--cloud", "cloud1", "--from-cloud", "cluod1")
    assert nowhere.exit_code == 1
    assert "cloud1-alt" in nowhere.output
    assert (await command("credential", "remove", *at, one["id"])).exit_code == 0
    assert (await command("credential", "list", *at)).output == "There is no credential.\n"


async def test_a_key_is_changed_for_another(start_atoll, clouds, tmp_path, database):
    old, new = await key(tmp_path / "old"), await key(tmp_path / "new")
    tables = clouds.tables
    gateway = await start_atoll(clouds.auth_url, clouds.sites, secrets={"key": old}, **tables)
    add = ("credential", "add", "--cloud", "cloud1", "--from-cloud", "cloud1", "-f", "json")
    (one,) = json.loads((await command(*add, "--url", gateway.url)).output)
    await gateway.end()

    config = tmp_path / "atoll.toml"
    content = {
        "identity": {"auth_url": clouds.auth_url}, "store": {"url": f"sqlite:///{database}"},
        "secrets": {"key": [new, old]}, "sites": clouds.sites, **tables,
    }  # fmt: skip
    config.write_text(toml(content))
    for count in (1, 0):
        rotated = await command("secrets", "rotate", "-c", str(config))
        assert rotated.output.startswith(f"{count} credentials"), rotated.output

    with pytest.raises(SecretsError, match="fingerprint"):
        await start_atoll(clouds.auth_url, clouds.sites, secrets={"key": old}, **tables)
    gateway = await start_atoll(clouds.auth_url, clouds.sites, secrets={"key": new}, **tables)
    checked = await command("credential", "check", "--url", gateway.url, one["id"])
    assert checked.exit_code == 0, checked.output
