"""Clouds behind certificates of their own: what is said of one holds for its Keystone and its endpoints."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.certificates import Authority
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.apart import Apart, apart

from atoll.sandbox.simulated import Cloud
from atoll.trust.clouds_yaml import read_entry
from atoll.trust.login import LoginRefused, Options, login
from atoll.trust.records import CloudRecord

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")

SERVERS = "/compute/v2.1/servers"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def listed(start_atoll: StartAtoll, clouds: Apart, said: Mapping[str, Any]) -> tuple[int, int, str]:
    """(status, how many servers, what is said of sites that are missing), with one server at the site."""
    clouds.cloud.bulk(1)
    tables = clouds.tables
    tables["clouds"]["cloud1"] |= said
    gateway = await start_atoll(
        clouds.auth_url, clouds.sites, credentials=clouds.credentials("demo"), **tables
    )
    async with gateway.client(clouds.keystone.token()) as client:
        answer = await client.get(SERVERS)
    return answer.status_code, len(answer.json()["servers"]), answer.headers.get("x-atoll-missing-sites", "")


async def test_a_private_authority_is_believed_at_the_endpoints_too(
    start_atoll, authority, tmp_path, monkeypatch
):
    async with apart(tmp_path, 1, tls=authority.server()) as clouds:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds.clouds_yaml))
        found = await listed(start_atoll, clouds, {"cacert": str(authority.file)})
        assert found == (200, 1, "")


async def test_what_is_not_to_be_checked_is_not(start_atoll, authority, tmp_path, monkeypatch):
    async with apart(tmp_path, 1, tls=authority.server()) as clouds:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds.clouds_yaml))
        assert await listed(start_atoll, clouds, {"verify": False}) == (200, 1, "")


async def test_an_authority_nobody_named_is_not_believed_by_one_cloud_for_another(
    start_atoll, authority, tmp_path, monkeypatch
):
    """The endpoint is of the cloud that names no authority; that the other does is nothing to it."""
    async with apart(tmp_path, 2, tls=authority.server()) as clouds:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds.clouds_yaml))
        tables = clouds.tables
        tables["clouds"]["cloud1"]["cacert"] = str(authority.file)
        other = Authority(tmp_path, "other")
        tables["clouds"]["cloud2"]["cacert"] = str(other.file)
        gateway = await start_atoll(
            clouds.auth_url, clouds.sites, credentials=clouds.credentials("demo"), **tables
        )
        async with gateway.client(clouds.keystone.token()) as client:
            answer = await client.get(SERVERS)
            assert answer.status_code == 200, answer.text
            missing = answer.headers["x-atoll-missing-sites"]
            assert missing.startswith("site2")
            assert "certificate is not trusted" in missing
            assert not clouds.cloud.keystones[1].listener.seen


async def test_a_certificate_is_shown_where_one_is_wanted(start_atoll, authority, tmp_path, monkeypatch):
    async with apart(tmp_path, 1, tls=authority.server(clients=True)) as clouds:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds.clouds_yaml))
        own = authority.issue("atoll")
        said = {"cacert": str(authority.file), "cert": str(own.cert), "key": str(own.key)}
        assert await listed(start_atoll, clouds, said) == (200, 1, "")


async def test_the_clients_own_keystone_and_its_sites(start_atoll, authority):
    async with Cloud(1, tls=authority.server()) as shared:
        gateway = await start_atoll(
            shared.keystone.auth_url, sites_of(shared), identity={"cacert": str(authority.file)}
        )
        async with gateway.client(shared.keystone.token()) as client:
            assert (await client.get(SERVERS)).status_code == 200


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, (True, "", "", "")),
        ({"verify": False}, (False, "", "", "")),
        ({"insecure": True, "cacert": "/ca"}, (False, "", "", "")),
        ({"cacert": "~/ca"}, (True, "{home}/ca", "", "")),
        ({"cert": "/cert"}, (True, "", "/cert", "")),
        ({"cert": "~/cert", "key": "/key"}, (True, "", "{home}/cert", "/key")),
    ],
)
def test_what_clouds_yaml_says_of_certificates(tmp_path, monkeypatch, said, found):
    file = tmp_path / "clouds.yaml"
    auth = {"auth_url": "https://paris.example:5000", "username": "u", "password": "p", "project_name": "p"}
    file.write_text(json.dumps({"clouds": {"paris": {"auth": auth, **said}}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    read = read_entry("paris").cloud.certificates
    home = str(Path.home())
    assert (read.verify, read.cacert, read.cert, read.key) == tuple(
        one.format(home=home) if isinstance(one, str) else one for one in found
    )


async def test_certificates_that_cannot_be_read_are_said_before_anything_is_sent(tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    for path, said in ((empty, "holds no certificates"), (tmp_path / "absent", "cannot be read")):
        cloud = CloudRecord(name="paris", auth_url="https://127.0.0.1:1/v3", cacert=str(path))
        with pytest.raises(LoginRefused, match=said):
            await asyncio.to_thread(
                login, cloud, Options(auth_type="v3token", auth={"token": "x"}), private=True
            )
