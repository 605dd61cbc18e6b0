"""Every definition of a run, its worker killed before and after each of its commits, forward and undoing."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.definitions.cinder import SOURCE
from tests.unit.definitions.crashes import told
from tests.unit.definitions.sites import Sites, content
from tests.virtual import Mortal, run_virtually

from atoll.core.settings import Runs as Bounds
from atoll.gateway import flavor_copy_run, image_copy_run, probe_run, volume_copy_run
from atoll.gateway.definition_table import DEFINITIONS
from atoll.gateway.flavor_copy import FlavorCopy
from atoll.gateway.image_copy import ImageCopy
from atoll.gateway.volume_backup import VolumeBackup
from atoll.gateway.volume_copy import VolumeCopy
from atoll.gateway.volume_look import Found
from atoll.worker.actions import Action, Actions
from atoll.workflow.plan import Plan

BYTES = b"0123456789" * 1000
FLAVOR = {
    "id": "big", "name": "m1.big", "ram": 1, "vcpus": 2, "disk": 3, "swap": "",
    "description": "for big things", "extra_specs": {"a": "b"}, "os-flavor-access:is_public": False,
    "access": ["p1", "p2"],
}  # fmt: skip
VOLUME = Found(
    volume="v", size=1, source="paris", target="tokyo", in_use=False, purpose="volume v", bootable=True,
    image_metadata={"os": "x"},
    body={"name": "data", "size": 1, "metadata": {"a": "b"}, "volume_type": "ssd"},
)  # fmt: skip
BACKED_UP = replace(VOLUME, store="s")
PLANS: dict[str, Callable[[], Plan]] = {
    "image.copy": lambda: image_copy_run.planned("i", "paris", ["oslo", "tokyo"], Bounds()),
    "flavor.copy": lambda: flavor_copy_run.planned("big", "paris", ["oslo", "tokyo"]),
    "volume.copy": lambda: volume_copy_run.planned(replace(VOLUME, in_use=True), Bounds()),
    "volume.move": lambda: volume_copy_run.planned(VOLUME, Bounds(), moves=True),
    "volume.move by a backup": lambda: volume_copy_run.planned(BACKED_UP, Bounds(), moves=True),
}
MOVES = [name for name in PLANS if name.startswith("volume.move")]
UNTOUCHED = {"probe"}  # it acts at no site: the engine's own tests have such steps
ELSEWHERE = {
    "transaction", "server.create", "server.move", "server.protect", "server.unprotect", "server.evacuate",
}  # fmt: skip
"""In files of their own."""


def test_no_definition_is_left_out() -> None:
    plans = {name.partition(" ")[0] for name in PLANS}
    assert {one.name for one in DEFINITIONS.latest(admin=True)} == plans | UNTOUCHED | ELSEWHERE
    assert probe_run.PROBE.name in UNTOUCHED


def _sites(seed: int = 0) -> Sites:
    sites = Sites(["paris", "oslo", "tokyo"], seed)
    sites.images["paris"]["i"] = {"id": "i", "name": "golden", "owner": "p", **content(BYTES)}
    sites.flavors["paris"]["big"] = dict(FLAVOR)
    sites.cinder["paris"].volumes["v"] = deepcopy(SOURCE)
    return sites


def _actions(sites: Sites) -> Callable[[Mortal], Mapping[str, Action]]:
    def by(worker: Mortal) -> Mapping[str, Action]:
        actions = Actions()
        asked = sites.asked_by(worker)
        actions.add([*ImageCopy(asked).actions(), *FlavorCopy(asked).actions()])
        actions.add(VolumeCopy(lambda _: asked).actions())
        actions.add(VolumeBackup(lambda _: asked, asked).actions())
        return actions.by_name

    return by


async def _told(name: str, sites: Sites, *, dies_at: int = 0, after: bool = False) -> tuple[str, int]:
    return await told(_actions(sites), PLANS[name](), dies_at=dies_at, after=after)


def _check_volumes(sites: Sites, name: str, state: str) -> None:
    """The copy is there or nothing of it, and nothing of what was there for a while."""
    sources, copies = sites.cinder["paris"].volumes, list(sites.cinder["tokyo"].volumes.values())
    assert [one.snapshots for one in sites.cinder.values()] == [{}, {}, {}]
    assert [one.backups for one in sites.cinder.values()] == [{}, {}, {}]
    assert sites.store == {}
    assert [list(one) for one in sites.images.values()] == [["i"], [], []]
    assert list(sources) == ([] if name in MOVES and state == "done" else ["v"])
    assert [(one["status"], one["data"]) for one in sources.values()] in ([], [("available", SOURCE["data"])])
    if state == "undone":
        assert copies == []
        return
    (copy,) = copies
    for key in ("name", "size", "metadata", "bootable", "volume_image_metadata", "volume_type", "data"):
        assert copy[key] == SOURCE[key], key


def _check(sites: Sites, name: str, state: str) -> None:
    if name.startswith("volume."):
        _check_volumes(sites, name, state)
        return
    kept: dict[str, dict[str, dict[str, Any]]] = sites.images if name == "image.copy" else sites.flavors
    for site in ("oslo", "tokyo"):
        if state == "undone":
            assert kept[site] == {}
        elif name == "flavor.copy":
            assert kept[site] == {"big": {**FLAVOR, "swap": 0}}
        else:
            (copy,) = kept[site].values()
            assert copy["data"] == BYTES
            assert "atoll_run" not in copy
    assert len(kept["paris"]) == 1


@pytest.mark.parametrize("refuses", ["", "tokyo"])
@pytest.mark.parametrize("name", PLANS)
def test_every_crash_point_of_every_definition(name: str, refuses: str) -> None:
    async def story(at: int, *, after: bool) -> int:
        sites = _sites()
        sites.refuses = refuses
        sites.cinder["tokyo"].imports = not refuses
        state, commits = await _told(name, sites, dies_at=at, after=after)
        assert state == ("undone" if refuses else "done")
        _check(sites, name, state)
        return commits

    commits = run_virtually(story(0, after=False))
    assert commits >= 3
    for at in range(1, commits + 1):
        for after in (False, True):
            run_virtually(story(at, after=after))


@pytest.mark.parametrize(
    ("name", "why", "afters"),
    [
        ("volume.move", "full", (False, True)),
        ("volume.move", "touched", (False, True)),
        ("volume.move by a backup", "touched", (False,)),  # many steps: what was done and not written
    ],
)
def test_a_move_that_ends_late_leaves_nothing_at_every_crash_point(
    name: str, why: str, afters: tuple[bool, ...]
) -> None:
    """The target makes no volume, or the source is used while there is a copy of it already."""

    async def story(at: int, *, after: bool) -> int:
        sites = _sites()
        paris, tokyo = sites.cinder["paris"], sites.cinder["tokyo"]
        if why == "full":
            tokyo.full = True
        elif name == "volume.move":
            tokyo.on_make = lambda: paris.touch("v")
        else:
            tokyo.on_restore = lambda _: paris.touch("v")
        state, commits = await _told(name, sites, dies_at=at, after=after)
        assert state == "undone"
        _check(sites, name, state)
        return commits

    commits = run_virtually(story(0, after=False))
    for at in range(1, commits + 1):
        for after in afters:
            run_virtually(story(at, after=after))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", PLANS)
def test_sites_that_fail_now_and_then_and_a_worker_that_dies(name: str, seed: int) -> None:
    async def story() -> None:
        sites = _sites(seed)
        sites.faults = 0.1
        state, _ = await _told(name, sites, dies_at=2 + seed % 5, after=seed % 2 == 0)
        assert state in {"done", "undone"}
        _check(sites, name, state)

    run_virtually(story())


def test_a_backup_on_which_another_one_builds_is_kept_wherever_a_worker_dies() -> None:
    """Somebody makes an increment to the backup of the run, whose data either site could delete."""

    async def story(at: int, *, after: bool) -> int:
        sites = _sites()
        paris, tokyo = sites.cinder["paris"], sites.cinder["tokyo"]
        tokyo.on_restore = lambda ident: paris.backups.setdefault(
            "theirs", {"id": "theirs", "name": "nightly", "status": "available", "parent": ident}
        )
        state, commits = await _told("volume.move by a backup", sites, dies_at=at, after=after)
        assert state == "dirty"
        parent = paris.backups["theirs"]["parent"]
        assert sites.store == {parent: SOURCE["data"]}
        assert paris.backups[parent]["status"] == "available"
        return commits

    commits = run_virtually(story(0, after=False))
    for at in range(1, commits + 1, 3):
        run_virtually(story(at, after=False))


def test_sites_that_have_not_one_store_leave_nothing() -> None:
    """What the operator said of them is not so: the target finds no data."""

    async def story() -> None:
        sites = _sites()
        sites.cinder["tokyo"].store = {}
        state, _ = await _told("volume.move by a backup", sites)
        assert state == "undone"
        _check(sites, "volume.move by a backup", state)

    run_virtually(story())
