"""Configuration files and client files: what is written, not whether OpenStack likes it."""

import re

import pytest

from atoll.sandbox.real.clouds import clouds
from atoll.sandbox.real.configuration import FILES, configure_keystone, configure_site, write
from atoll.sandbox.real.database import Database, dump_is_whole
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.messaging import Messaging
from atoll.sandbox.real.model import main_sites
from atoll.sandbox.real.older import older_site
from atoll.sandbox.real.processes import Processes

PLACEHOLDER = re.compile(r"@[A-Z_]+@")


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path)


@pytest.fixture(params=["newest", "older"])
def site(request, layout):
    return main_sites(layout, 2, 2)[1] if request.param == "newest" else older_site(layout)


@pytest.fixture
def configured(layout, site):
    processes = Processes(layout)
    database = Database(layout, processes)
    configure_site(site, database, Messaging(layout, processes))
    configure_keystone(site.keystone, database)
    return site


def test_nothing_in_a_template_is_left_open(configured):
    names = [configured.directory / service / name for service, (name, _) in FILES.items()]
    names += [configured.keystone.directory / "keystone.conf"]
    names += list(configured.directory.glob("nova/compute*/nova.conf"))
    for name in names:
        assert not PLACEHOLDER.findall(name.read_text()), name


def test_every_compute_has_its_own_host_and_state(configured):
    texts = [path.read_text() for path in sorted(configured.directory.glob("nova/compute*/nova.conf"))]
    assert len(texts) == configured.computes
    hosts = {line for text in texts for line in text.splitlines() if line.startswith("host = ")}
    states = {line for text in texts for line in text.splitlines() if line.startswith("state_path = ")}
    assert len(hosts) == len(states) == configured.computes


def test_services_listen_and_speak_on_the_loopback_only(configured):
    text = "".join(path.read_text() for path in configured.directory.rglob("*.conf"))
    assert "0.0.0.0" not in text
    assert f"127.0.0.1:{configured.keystone.port}/v3" in text


def test_the_older_domain_keeps_its_id(layout):
    assert older_site(layout).keystone.domain_id == older_site(layout).keystone.domain_id != "default"


def test_clouds_name_all_regions_and_each_alone(layout):
    entries = clouds([*main_sites(layout, 2, 1), older_site(layout)])
    assert entries["sandbox"]["regions"] == ["RegionOne", "RegionTwo"]
    assert entries["regiontwo-admin"]["region_name"] == "RegionTwo"
    assert entries["regionold"]["auth"]["user_domain_name"] == "silo"
    assert {"regionone", "regiontwo", "regionold2", "regionold-admin", "sandbox-admin"} <= set(entries)


def test_a_file_is_replaced_whole(tmp_path):
    target = tmp_path / "deep" / "file"
    write(target, "one")
    write(target, "two")
    assert target.read_text() == "two"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_dump_that_was_cut_short_is_not_used(tmp_path):
    dump = tmp_path / "nova.sql"
    assert not dump_is_whole(dump)
    dump.write_text("create table x;\n" * 100)
    assert not dump_is_whole(dump)
    dump.write_text("create table x;\n" * 100 + "-- Dump completed\n")
    assert dump_is_whole(dump)
