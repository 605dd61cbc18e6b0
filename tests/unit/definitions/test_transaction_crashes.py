"""A transaction, its worker killed before and after each commit, forward and undoing."""

from collections.abc import Callable, Mapping

import msgspec
import pytest
from tests.unit.definitions.crashes import USER_DATA, told
from tests.unit.definitions.whole_cloud import AskedInside, WholeCloud
from tests.virtual import Mortal, run_virtually

from atoll.gateway.transaction import Transaction
from atoll.gateway.transaction_run import TransactionInput, planned
from atoll.worker.actions import Action, Actions
from atoll.workflow.plan import Plan


def _plan(old: str) -> Plan:
    given = {
        "create": [
            {"name": "data", "create": "volume", "body": {"name": "data", "metadata": {"mine": "1"}}},
            {"name": "net", "create": "network", "body": {"name": "net", "description": "ours"}},
            {
                "name": "vm",
                "create": "server",
                "body": {
                    "name": "vm",
                    "networks": [{"uuid": {"$from": "net.id"}}],
                    "user_data": USER_DATA,
                },
            },
            {
                "name": "joined",
                "create": "volume_attachment",
                "body": {"server_id": {"$from": "vm.id"}, "volume_id": {"$from": "data.id"}},
            },
            {"name": "key", "create": "keypair", "body": {"name": "key", "public_key": "ssh-rsa AAAA"}},
            {"name": "last", "create": "volume", "body": {"name": "last"}, "after": ["joined", "key"]},
        ],
        "delete": [{"delete": "volume", "id": old}],
    }
    return planned(msgspec.convert(given, TransactionInput))


def _actions(cloud: WholeCloud) -> Callable[[Mortal], Mapping[str, Action]]:
    def by(worker: Mortal) -> Mapping[str, Action]:
        actions = Actions()
        actions.add(Transaction(AskedInside(cloud, worker)).actions())
        return actions.by_name

    return by


async def _told(cloud: WholeCloud, *, dies_at: int = 0, after: bool = False) -> tuple[str, int]:
    plan = _plan(cloud.add("volumes", "old"))
    return await told(_actions(cloud), plan, dies_at=dies_at, after=after)


def _check(cloud: WholeCloud, state: str) -> None:
    there = cloud.names()
    if state == "undone":
        assert there == {
            "volumes": ["old"], "servers": [], "networks": [], "keypairs": [], "attached": [],
        }  # fmt: skip
        return
    assert state == "done"
    assert len(there.pop("attached")) == 1
    assert there == {
        "volumes": ["data", "last"], "servers": ["vm"], "networks": ["net"], "keypairs": ["key"],
    }  # fmt: skip
    assert cloud.marks() == []
    assert all(number == 1 for number in cloud.made.values()), cloud.made
    assert [one["user_data"] for one in cloud.things["servers"].values()] == [USER_DATA]
    (net,) = cloud.things["networks"].values()
    assert net["description"] == "ours"


@pytest.mark.parametrize("refuses", ["", "last"])
def test_every_crash_point_of_a_transaction(refuses: str) -> None:
    async def story(at: int, *, after: bool) -> int:
        cloud = WholeCloud()
        cloud.refuses = refuses
        state, commits = await _told(cloud, dies_at=at, after=after)
        assert state == ("undone" if refuses else "done")
        _check(cloud, state)
        return commits

    commits = run_virtually(story(0, after=False))
    assert commits >= 5
    for at in range(1, commits + 1):
        for after in (False, True):
            run_virtually(story(at, after=after))


@pytest.mark.parametrize("seed", range(12))
def test_faults_now_and_then_and_a_worker_that_dies(seed: int) -> None:
    async def story() -> None:
        cloud = WholeCloud(seed)
        cloud.faults = 0.1
        state, _ = await _told(cloud, dies_at=2 + seed % 9, after=seed % 2 == 0)
        _check(cloud, state)

    run_virtually(story())
