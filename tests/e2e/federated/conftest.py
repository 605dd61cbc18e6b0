"""Atoll before a site of the newest release and one of 2024.1 whose Keystone believes the first one's."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.ports import free_port
from tests.e2e.conftest import Command
from tests.e2e.serving import serving
from tests.e2e.sites import CLOUD, STATE, Site, apart

from atoll.sandbox.real.layout import locate


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These need the older site and Apache before its Keystone, which is not so by default."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    if CLOUD != "atoll" or len(apart()) < 2 or not locate().federation.exists():
        why = "no Keystone believes another: `atoll sandbox e2e --older --federated`"
        for item in here:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def two() -> list[Site]:
    """The newest site and the older one; each is a zone of its name."""
    return apart()


def _configuration(listen: str, home: Path, described: list[dict[str, Any]]) -> str:
    trusted = json.loads(locate().federation.read_text())
    lines = ["[gateway]", f'listen = "{listen}"', 'access_log = "none"']
    lines += ["[identity]", f"auth_url = {json.dumps(described[0]['auth_url'])}"]
    lines += ["[store]", f"url = {json.dumps(f'sqlite:///{home}/atoll.db')}"]
    lines += ["[clouds.older]", 'trust = "federated"']
    projects = ", ".join(f"{ours} = {json.dumps(theirs)}" for ours, theirs in trusted.pop("projects").items())
    lines += [f"projects = {{{projects}}}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in trusted.items()]
    for number, site in enumerate(described):
        lines += [f"[sites.{site['name']}]", f"region = {json.dumps(site['region'])}"]
        lines += ['cloud = "older"'] if number else []
        kinds = ("compute", "block-storage", "image", "network")
        urls = ", ".join(f"{kind} = {json.dumps(site['endpoints'][kind])}" for kind in kinds)
        lines += [f"endpoints = {{{urls}}}", f"[zones.{site['name']}]", f"site = {json.dumps(site['name'])}"]
        lines += ['zone = {compute = "nova", block-storage = "nova"}']
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def clouds_file(tmp_path_factory: pytest.TempPathFactory, two: list[Site]) -> Iterator[Path]:
    """A clouds.yaml with the entries `federated` and `federated-admin`, and an Atoll that they lead to."""
    assert STATE is not None
    home = tmp_path_factory.mktemp("federated")
    names = [site.name for site in two]
    described = {one["name"]: one for one in json.loads((STATE / "sites.json").read_text())}
    listen = f"127.0.0.1:{free_port()}"
    (home / "atoll.toml").write_text(_configuration(listen, home, [described[name] for name in names]))
    bare = json.loads((STATE / "clouds.yaml").read_text())["clouds"]
    entries = {
        f"federated{suffix}": {
            **{key: value for key, value in bare[f"sandbox{suffix}"].items() if key != "regions"},
            "auth": {**bare[f"sandbox{suffix}"]["auth"], "auth_url": f"http://{listen}/identity/v3"},
            "region_name": "Atoll",
        }
        for suffix in ("", "-admin")
    }
    file = home / "clouds.yaml"
    file.write_text(json.dumps({"clouds": entries}))
    with serving(["serve", "--config", str(home / "atoll.toml")], listen, home / "output"):
        yield file


@pytest.fixture(scope="session")
def cli(clouds_file: Path) -> Command:
    """The command, as the ordinary user of the first Keystone."""
    return Command("federated", clouds_file)


@pytest.fixture(scope="session")
def admin_cli(clouds_file: Path) -> Command:
    """The command, as that Keystone's administrator."""
    return Command("federated-admin", clouds_file)


@pytest.fixture
def name(two: list[Site]) -> Iterator[str]:
    """A name no other test uses; after the test it is swept from both sites, and none may keep any of it."""
    prefix = f"e2e-{uuid.uuid4().hex[:10]}"
    yield prefix
    assert [left for site in two for left in site.sweep(prefix)] == []
