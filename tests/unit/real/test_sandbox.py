"""Refusals and memory of `up`, `down` and `status`; nothing of OpenStack is started here."""

import fcntl
import json

import pytest

from atoll.sandbox.real import SandboxError, Wanted, down, status, up
from atoll.sandbox.real.commands import failure, run
from atoll.sandbox.real.installation import install_drivers, require_release
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import newest
from atoll.sandbox.real.seed import IMAGES, image_content, image_id


def quiet(_message: str) -> None:
    """Say nothing."""


def test_down_and_status_without_a_sandbox_find_nothing(tmp_path):
    assert down(state=tmp_path, say=quiet) == 0
    assert status(state=tmp_path) == []


@pytest.mark.parametrize("wanted", [Wanted(sites=0), Wanted(sites=10), Wanted(computes=0)])
def test_sizes_that_cannot_be_are_refused(tmp_path, wanted):
    with pytest.raises(SandboxError, match="sites are 1 to 9"):
        up(wanted, state=tmp_path, say=quiet)


def test_a_keystone_that_believes_another_is_the_older_sites(tmp_path):
    with pytest.raises(SandboxError, match="--older"):
        up(Wanted(federated=True, install=False), state=tmp_path, say=quiet)


def test_two_at_once_are_refused(tmp_path):
    (tmp_path / "run").mkdir()
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SandboxError, match="another"):
            down(state=tmp_path, say=quiet)


def test_data_for_other_ports_is_not_mixed_with_these(tmp_path):
    (tmp_path / "run").mkdir()
    size = {"sites": 2, "computes": 1, "older": False, "port_base": 25000}
    (tmp_path / "run/size.json").write_text(json.dumps(size))
    with pytest.raises(SandboxError, match=r"25000.*21000.*wipe"):
        up(Wanted(install=False), state=tmp_path, port_base=21000, say=quiet)


def test_wipe_removes_the_data_and_keeps_what_was_installed(tmp_path):
    for name in ("run/mysql", "venv/bin", "schemas"):
        (tmp_path / name).mkdir(parents=True)
    down(wipe=True, state=tmp_path, say=quiet)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "schemas", "venv"]


def test_an_environment_without_its_stamp_is_not_trusted(tmp_path):
    release = newest(Layout(tmp_path))
    release.bin.mkdir(parents=True)
    with pytest.raises(SandboxError, match=r"2026\.2 is not installed"):
        require_release(release, install=False, say=quiet)


def test_the_drivers_go_where_the_services_look_for_them(tmp_path):
    release = newest(Layout(tmp_path))
    packages = release.venv / "lib/python3.11/site-packages"
    (packages / "nova/virt").mkdir(parents=True)
    install_drivers(release)
    install_drivers(release)
    assert (packages / "nova/virt/sandbox.py").exists()
    assert (packages / "atoll_sandbox_drivers/ml2.py").exists()
    assert (
        "mechanism_drivers" in (packages / "atoll_sandbox_drivers-1.0.dist-info/entry_points.txt").read_text()
    )


def test_a_missing_program_and_a_failed_one_are_named(tmp_path):
    with pytest.raises(SandboxError, match="not installed"):
        run([tmp_path / "nothing"])
    with pytest.raises(SandboxError, match=r"ended with 3\nwhy"):
        run(["/bin/sh", "-c", "echo why; exit 3"])


def test_a_command_that_takes_too_long_is_ended_with_its_children():
    with pytest.raises(SandboxError, match="not done in 0 s"):
        run(["/bin/sh", "-c", "sleep 60 & sleep 60"], timeout=0.2)


def test_a_full_disk_is_named_as_such():
    assert "disk is full" in str(failure(["apt-get"], 1, "write: No space left on device"))


def test_images_have_the_same_id_everywhere_and_different_content():
    assert len({image_id(name) for name in IMAGES}) == len({image_content(name) for name in IMAGES}) == 2
    assert image_id("cirros") == image_id("cirros")
