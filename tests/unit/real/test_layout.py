"""Where the sandbox keeps its files and which ports it takes."""

from pathlib import Path

import pytest

from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.layout import MAX_SITES, OLDER_INDEX, PORTS, Layout, locate, region_name


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"ATOLL_CACHE": "/a"}, "/a/real"),
        ({"ATOLL_CACHE": "/a", "XDG_CACHE_HOME": "/x"}, "/a/real"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/atoll/real"),
    ],
)
def test_the_cache_is_found_by_its_variables(environ, expected):
    assert locate(environ=environ).state == Path(expected)


def test_without_variables_the_cache_is_below_home():
    assert locate(environ={}).state == Path.home() / ".cache/atoll/real"


def test_what_is_given_wins_over_the_environment(tmp_path):
    layout = locate(tmp_path, 30000, {"ATOLL_CACHE": "/a", "ATOLL_SANDBOX_PORT_BASE": "1"})
    assert (layout.state, layout.port_base) == (tmp_path, 30000)


def test_the_port_base_comes_from_the_environment():
    assert locate(environ={"ATOLL_SANDBOX_PORT_BASE": "23000"}).port(1, "nova") == 23174


@pytest.mark.parametrize("text", ["many", "80", "70000"])
def test_a_port_base_that_cannot_be_is_refused(text):
    with pytest.raises(SandboxError, match=r"(?i)port"):
        locate(environ={"ATOLL_SANDBOX_PORT_BASE": text})


def test_a_path_too_long_for_a_socket_is_refused_before_anything_starts():
    with pytest.raises(SandboxError, match="shorter"):
        Layout(Path("/" + "x" * 100))


def test_no_two_services_share_a_port(tmp_path):
    layout = Layout(tmp_path)
    sites = [*range(1, MAX_SITES + 1), OLDER_INDEX]
    ports = [layout.port(site, service) for site in sites for service in PORTS]
    ports += [layout.port(0), layout.port(OLDER_INDEX)]
    ports += [layout.messaging_port + offset for offset in range(3)]
    assert len(ports) == len(set(ports))


def test_regions_are_named_as_in_the_documentation():
    assert [region_name(1), region_name(2), region_name(OLDER_INDEX)] == [
        "RegionOne",
        "RegionTwo",
        "RegionOld",
    ]
