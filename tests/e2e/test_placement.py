"""Placement of both sites as one: the `openstack` command with osc-placement, all that an operator does."""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.sites import CLOUD, STATE, Site, sites

from atoll.sandbox.real.functional import require_suites
from atoll.sandbox.real.layout import locate

LIMIT = 400
VERSION = "1.29"
CLASS, TOTAL = "VCPU", 8


class Command:
    """The command of the environment that the functional tests have: it has the plugin."""

    def __init__(self, binary: Path) -> None:
        assert STATE is not None
        kept = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        self._environment = kept | {
            "OS_CLIENT_CONFIG_FILE": str(STATE / "clouds.yaml"),
            "OS_CLOUD": f"{CLOUD}-admin",
            "OS_PLACEMENT_API_VERSION": VERSION,
            "PYTHONWARNINGS": "ignore",
        }
        self._binary = binary

    def run(self, *words: str, succeeds: bool = True) -> str:
        """What it says. Fails the test where it fails and is not to."""
        done = subprocess.run(  # noqa: S603 - our own words
            [str(self._binary), *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        if (done.returncode == 0) != succeeds:
            pytest.fail(f"openstack {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout if succeeds else done.stderr

    def __call__(self, *words: str) -> Any:
        """The JSON it prints."""
        return json.loads(self.run(*words, "-f", "json"))


@pytest.fixture(scope="module")
def placement() -> Command:
    """The command."""
    return Command(require_suites(locate(), print).bin / "openstack")


def theirs(site: Site) -> dict[str, str]:
    """A site's own resource providers by id."""
    found = site.admin.get("placement", "/resource_providers")["resource_providers"]
    return {one["uuid"]: one["name"] for one in found}


def classes(site: Site) -> set[str]:
    """A site's own resource classes."""
    found = site.admin.get("placement", "/resource_classes", VERSION)["resource_classes"]
    return {one["name"] for one in found}


@pytest.fixture(params=[site.name for site in sites()])
def provider(request: pytest.FixtureRequest, name: str) -> Iterator[tuple[Site, str]]:
    """A resource provider that one site has, made behind Atoll's back; (the site, its id)."""
    (site,) = (one for one in sites() if one.name == request.param)
    ident = str(uuid.uuid4())
    site.admin.call("POST", "placement", "/resource_providers", {"name": name, "uuid": ident})
    yield site, ident
    if ident in theirs(site):
        site.admin.call("DELETE", "placement", f"/resource_providers/{ident}")


def test_the_providers_of_all_sites_are_one_list(placement: Command) -> None:
    listed = {one["uuid"]: one["name"] for one in placement("resource", "provider", "list")}
    for site in sites():
        assert theirs(site).items() <= listed.items()


def test_a_provider_is_served_wherever_it_is(placement: Command, provider: tuple[Site, str]) -> None:
    site, ident = provider
    assert placement("resource", "provider", "show", ident)["uuid"] == ident
    setting = ("resource", "provider", "inventory", "set", ident, "--resource", f"{CLASS}={TOTAL}")
    placement.run(*setting)
    (held,) = placement("resource", "provider", "inventory", "list", ident)
    assert (held["resource_class"], held["total"]) == (CLASS, TOTAL)
    own = site.admin.get("placement", f"/resource_providers/{ident}/inventories")["inventories"]
    assert own[CLASS]["total"] == TOTAL
    candidates = placement("allocation", "candidate", "list", "--resource", f"{CLASS}={TOTAL}")
    assert ident in {one["resource provider"] for one in candidates}
    usage = {
        one["resource_class"]: one["usage"]
        for one in placement("resource", "provider", "usage", "show", ident)
    }
    assert usage == {CLASS: 0}


def test_a_consumer_is_allocated_at_the_site_of_its_provider(
    placement: Command, provider: tuple[Site, str]
) -> None:
    site, ident = provider
    placement.run("resource", "provider", "inventory", "set", ident, "--resource", f"{CLASS}={TOTAL}")
    consumer, project, user = (str(uuid.uuid4()) for _ in range(3))
    allocation = f"rp={ident},{CLASS}=3"
    who = ("--project-id", project, "--user-id", user)
    placement.run("resource", "provider", "allocation", "set", consumer, "--allocation", allocation, *who)
    try:
        (shown,) = placement("resource", "provider", "allocation", "show", consumer)
        assert (shown["resource_provider"], shown["resources"]) == (ident, {CLASS: 3})
        for one in sites():
            there = one.admin.get("placement", f"/allocations/{consumer}")["allocations"]
            assert bool(there) == (one.name == site.name)
        (used,) = placement("resource", "usage", "show", project)
        assert used == {"resource_class": CLASS, "usage": 3}
    finally:
        placement.run("resource", "provider", "allocation", "delete", consumer)
    assert placement("resource", "provider", "allocation", "show", consumer) == []


def test_traits_and_classes_are_made_at_every_site(placement: Command, provider: tuple[Site, str]) -> None:
    _, ident = provider
    mark = uuid.uuid4().hex[:10].upper()
    trait, kind = f"CUSTOM_E2E_{mark}", f"CUSTOM_E2E_CLASS_{mark}"
    placement.run("trait", "create", trait)
    placement.run("resource", "class", "create", kind)
    try:
        for one in sites():
            assert kind in classes(one)
        assert [one["name"] for one in placement("trait", "list", "--name", f"in:{trait}")] == [trait]
        placement.run("resource", "provider", "trait", "set", "--trait", trait, ident)
        assert placement("resource", "provider", "trait", "list", ident) == [{"name": trait}]
        said = placement.run("trait", "delete", trait, succeeds=False)
        assert "in use" in said, "a site where it is used refuses, so it stays everywhere"
        assert [one["name"] for one in placement("trait", "list", "--name", f"in:{trait}")] == [trait]
        placement.run("resource", "provider", "trait", "delete", ident)
    finally:
        placement.run("trait", "delete", trait)
        placement.run("resource", "class", "delete", kind)
    assert not any(kind in classes(one) for one in sites())


def test_a_provider_made_through_atoll_is_at_one_site_and_goes_again(placement: Command, name: str) -> None:
    ident = placement("resource", "provider", "create", name)["uuid"]
    try:
        assert sum(ident in theirs(site) for site in sites()) == 1
        assert placement("resource", "provider", "set", ident, "--name", f"{name}-2")["name"] == f"{name}-2"
    finally:
        placement.run("resource", "provider", "delete", ident)
    assert not any(ident in theirs(site) for site in sites())
    assert "No resource provider" in placement.run("resource", "provider", "show", ident, succeeds=False)
