"""The key of what is kept secret: changed while a gateway serves, wrong, missing, readable by others."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from click.testing import CliRunner, Result
from tests.conftest import StartAtoll
from tests.running import Atoll, toml
from tests.scenarios.apart import Apart, apart
from tests.scenarios.conftest import SERVERS, client_of

from atoll.cli.main import main
from atoll.trust.grants import CloudGrant
from atoll.trust.sealing import SecretsError, fingerprint, new_key
from atoll.trust.trust import Trust

Meanwhile = Callable[[Callable[[], Awaitable[Any]]], None]
pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        monkeypatch.setenv("OS_TOKEN", made.keystone.token())
        yield made


def key_file(path: Path, mode: int = 0o600) -> str:
    """A new key in a file; the reference to it."""
    path.touch(mode=0o600)
    path.write_text(new_key())
    path.chmod(mode)
    return f"file:{path}"


def configured(path: Path, clouds: Apart, database: Path, key: list[str]) -> Path:
    """A file of settings for the commands that change the store themselves."""
    content = {
        "identity": {"auth_url": clouds.auth_url}, "store": {"url": f"sqlite:///{database}"},
        "secrets": {"key": key}, "sites": clouds.sites, **clouds.tables,
    }  # fmt: skip
    path.write_text(toml(content))
    return path


async def command(*arguments: str) -> Result:
    return await asyncio.to_thread(lambda: CliRunner().invoke(main, arguments))


async def with_credential(start: StartAtoll, clouds: Apart, key: list[str]) -> Atoll:
    """A gateway with these keys that was given a credential for cloud1."""
    atoll = await start(clouds.auth_url, clouds.sites, secrets={"key": key}, **clouds.tables)
    added = await command(
        "credential", "add", "--url", atoll.url, "--cloud", "cloud1", "--from-cloud", "cloud1"
    )
    assert added.exit_code == 0, added.output
    return atoll


def revoke(clouds: Apart) -> None:
    for token in clouds.cloud.site("site1").keystone.store.tokens.values():
        token.revoked = True


async def listed(atoll: Atoll, clouds: Apart) -> tuple[int, str]:
    async with client_of(atoll, clouds.keystone.token()) as client:
        answer = await client.get(f"{SERVERS}/detail")
        return answer.status_code, answer.text


def sealed_under(database: Path) -> list[str]:
    """Under which keys the credentials in the store are."""
    with sqlite3.connect(database) as connection:
        names = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        text = " ".join(str(row) for name in names for row in connection.execute(f"select * from {name}"))  # noqa: S608
    return [part.partition('"')[0] for part in text.split('"sealed_under":"')[1:]]


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set whenever a gateway has taken in what credentials there are."""
    done, derive = asyncio.Event(), Trust._derive  # noqa: SLF001 - nobody is told

    def deriving(self: Trust) -> None:
        derive(self)
        done.set()

    monkeypatch.setattr(Trust, "_derive", deriving)
    return done


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch, derived: asyncio.Event) -> Meanwhile:
    """Have something done between a site's 401 and the login after it, and known to the gateway by then."""
    refused, plain, refuse = asyncio.Event(), CloudGrant.fetch, CloudGrant.refused

    def set_up(happens: Callable[[], Awaitable[Any]]) -> None:
        async def fetch(self: CloudGrant) -> bytes:
            if refused.is_set():
                refused.clear()
                derived.clear()
                await happens()
                await asyncio.wait_for(derived.wait(), 30)
            return await plain(self)

        monkeypatch.setattr(CloudGrant, "fetch", fetch)

    def refusing(self: CloudGrant, token: bytes) -> None:
        refuse(self, token)
        refused.set()

    monkeypatch.setattr(CloudGrant, "refused", refusing)
    return set_up


async def test_a_key_is_changed_while_a_gateway_serves(start_atoll, clouds, tmp_path, database, derived):
    old, new = key_file(tmp_path / "old"), key_file(tmp_path / "new")
    before = await with_credential(start_atoll, clouds, [old])
    await before.end()
    serving = await start_atoll(clouds.auth_url, clouds.sites, secrets={"key": [new, old]}, **clouds.tables)
    assert (await listed(serving, clouds))[0] == 200
    config = configured(tmp_path / "atoll.toml", clouds, database, [new, old])
    going_on = asyncio.create_task(_again_and_again(serving, clouds))
    derived.clear()
    rotated = await command("secrets", "rotate", "-c", str(config))
    assert rotated.output.startswith("1 credentials"), rotated.output
    assert new_fingerprint(tmp_path) in rotated.output
    await asyncio.wait_for(derived.wait(), 30)
    revoke(clouds)
    assert (await listed(serving, clouds))[0] == 200, "logged in anew with what is under the new key"
    assert not going_on.done(), going_on
    going_on.cancel()
    assert sealed_under(database) == [new_fingerprint(tmp_path)]
    text = rotated.output + config.read_text()
    assert (tmp_path / "new").read_text() not in text


async def test_a_key_is_changed_while_a_request_logs_in_anew(
    start_atoll, clouds, tmp_path, database, meanwhile
):
    old, new = key_file(tmp_path / "old"), key_file(tmp_path / "new")
    atoll = await with_credential(start_atoll, clouds, [old])
    await atoll.end()
    atoll = await start_atoll(clouds.auth_url, clouds.sites, secrets={"key": [new, old]}, **clouds.tables)
    config = configured(tmp_path / "atoll.toml", clouds, database, [new, old])
    assert (await listed(atoll, clouds))[0] == 200
    meanwhile(lambda: command("secrets", "rotate", "-c", str(config)))
    revoke(clouds)
    assert (await listed(atoll, clouds))[0] == 200
    assert sealed_under(database) == [new_fingerprint(tmp_path)]


async def test_a_credential_is_replaced_while_a_request_logs_in_anew(
    start_atoll, clouds, tmp_path, meanwhile
):
    """Who had asked with the old one is to ask again; nobody is told that the credential is no good."""
    atoll = await with_credential(start_atoll, clouds, [key_file(tmp_path / "new")])
    assert (await listed(atoll, clouds))[0] == 200
    where = ("--url", atoll.url, "--cloud", "cloud1", "--from-cloud", "cloud1")
    meanwhile(lambda: command("credential", "add", "--replace", *where))
    revoke(clouds)
    status, text = await listed(atoll, clouds)
    assert (status, "replaced just now" in text) == (503, True), text
    assert (await listed(atoll, clouds))[0] == 200


def new_fingerprint(folder: Path) -> str:
    return fingerprint((folder / "new").read_text())


async def _again_and_again(atoll: Atoll, clouds: Apart) -> None:
    while True:
        assert (await listed(atoll, clouds))[0] == 200
        await asyncio.sleep(0.02)


async def test_a_gateway_that_has_not_got_the_new_key_says_which(
    start_atoll, clouds, tmp_path, database, derived
):
    """Started before the change and never again: it goes on as long as its token lives."""
    old, new = key_file(tmp_path / "old"), key_file(tmp_path / "new")
    late = await with_credential(start_atoll, clouds, [old])
    config = configured(tmp_path / "atoll.toml", clouds, database, [new, old])
    derived.clear()
    assert (await command("secrets", "rotate", "-c", str(config))).exit_code == 0
    await asyncio.wait_for(derived.wait(), 30)
    revoke(clouds)
    status, text = await listed(late, clouds)
    assert (status, new_fingerprint(tmp_path) in text) == (403, True), text
    assert not any((tmp_path / name).read_text() in text for name in ("old", "new"))


async def test_a_key_of_the_right_name_and_another_content_opens_nothing(start_atoll, clouds, tmp_path):
    key = key_file(tmp_path / "new")
    atoll = await with_credential(start_atoll, clouds, [key])
    await atoll.end()
    under = new_fingerprint(tmp_path)
    (tmp_path / "new").write_text(new_key())
    with pytest.raises(SecretsError, match=under):
        await start_atoll(clouds.auth_url, clouds.sites, secrets={"key": [key]}, **clouds.tables)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
async def test_a_gateway_does_not_start_with_a_key_that_others_can_use(start_atoll, clouds, tmp_path, mode):
    key = key_file(tmp_path / "new", mode)
    with pytest.raises(SecretsError, match="chmod 600"):
        await start_atoll(clouds.auth_url, clouds.sites, secrets={"key": [key]}, **clouds.tables)


async def test_what_is_kept_cannot_be_read_in_the_store(start_atoll, clouds, tmp_path, database):
    await with_credential(start_atoll, clouds, [key_file(tmp_path / "new")])
    everything = b"".join(one.read_bytes() for one in database.parent.glob("atoll.db*"))
    assert new_fingerprint(tmp_path).encode() in everything
    for secret in (clouds.cloud.password, (tmp_path / "new").read_text()):
        assert secret.encode() not in everything
