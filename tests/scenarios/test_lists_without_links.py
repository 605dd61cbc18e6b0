"""Lists whose pages do not say that others follow: attachments, server groups, and servers being placed."""

import uuid
from typing import Any

import pytest
from tests.scenarios.conftest import SERVERS, Client, boot, instances_of

from atoll.sandbox.simulated import Cloud
from atoll.services.table import Ends

EACH = 50
ATTACHMENTS = "/block-storage/v3/attachments"
GROUPS = "/compute/v2.1/os-server-groups"


async def pages(user: Client, path: str, key: str, limit: int) -> list[str]:
    """The ids of all pages of a list, each asked for after the last of the one before."""
    found: list[str] = []
    marker = ""
    while True:
        answer = await user.get(f"{path}?limit={limit}{marker}")
        assert answer.status_code == 200, answer.text
        assert "x-atoll-missing-sites" not in answer.headers
        if not (page := answer.json()[key]):
            return found
        found += [one["id"] for one in page]
        assert len(found) < 1000, "it does not end"
        marker = f"&marker={found[-1]}"


def attached(cloud: Cloud) -> set[str]:
    """Volumes that are attached, at each site."""
    project, made = cloud.keystone.project_id("demo"), set()
    for site in cloud.sites:
        for _ in range(EACH):
            one = {"attachment_id": str(uuid.uuid4()), "server_id": str(uuid.uuid4())}
            made.add(one["attachment_id"])
            ident = str(uuid.uuid4())
            site.block_storage.volumes[ident] = {"id": ident, "project_id": project, "attachments": [one]}
    return made


@pytest.mark.parametrize("limit", [1, 5, 20, 1000])
async def test_attachments(user: Client, cloud: Cloud, limit: int) -> None:
    """Cinder's list of them never has links."""
    made = attached(cloud)
    user.headers["OpenStack-API-Version"] = "volume 3.27"
    found = await pages(user, ATTACHMENTS, "attachments", limit)
    assert len(found) == len(set(found))
    assert set(found) == made


@pytest.mark.parametrize("limit", [5, 20, 1000])
async def test_server_groups(user: Client, cloud: Cloud, limit: int) -> None:
    """They are paged by offset, and say nothing of others."""
    project, made = cloud.keystone.project_id("demo"), set()
    for site in cloud.sites:
        for _ in range(EACH):
            group: dict[str, Any] = {"id": str(uuid.uuid4()), "name": "g", "policy": "affinity", "rules": {}}
            group |= {"members": [], "project_id": project, "user_id": "user"}
            site.compute.groups[group["id"]] = group
            made.add(group["id"])
    found: list[str] = []
    while page := (await user.get(f"{GROUPS}?limit={limit}&offset={len(found)}")).json()["server_groups"]:
        found += [one["id"] for one in page]
        assert len(found) <= len(made)
    assert len(found) == len(set(found))
    assert set(found) == made


@pytest.mark.parametrize("path", [SERVERS, f"{SERVERS}/detail"])
@pytest.mark.parametrize("limit", [3, 8, 20])
async def test_servers_while_one_is_being_placed(user: Client, cloud: Cloud, path: str, limit: int) -> None:
    """Nova has it twice and drops one: the page is one short, and has no link though others follow."""
    older = [await boot(user, cloud, site) for site in ("site2", "site3") for _ in range(4)]
    for one in [one for site in cloud.sites for one in instances_of(site)]:
        one.created -= 3600
    newer = [await boot(user, cloud, "site1") for _ in range(24)]
    cloud.site("site1").compute.servers.placing = {newer[-1]}
    found = await pages(user, path, "servers", limit)
    assert len(found) == len(set(found))
    assert set(found) == {*older, *newer}


@pytest.mark.parametrize(
    ("ends", "asked", "came", "goes_on"),
    [
        (Ends.LINKED, 10, 9, False),
        (Ends.NEARLY, 10, 10, False),  # Nova would have given a link
        (Ends.NEARLY, 10, 9, True),
        (Ends.NEARLY, 10, 8, False),
        (Ends.NEARLY, 399, 363, True),
        (Ends.NEARLY, 399, 361, False),
        (Ends.NEARLY, 1, 0, False),
        (Ends.EMPTY, 100, 1, True),
        (Ends.EMPTY, 100, 100, True),
        (Ends.EMPTY, 100, 0, False),
    ],
)
def test_what_shows_that_nothing_follows(ends: Ends, asked: int, came: int, goes_on: bool) -> None:
    assert ends.goes_on(asked, came) is goes_on


def test_a_list_that_has_not_grown_takes_no_further_round() -> None:
    """What is asked for is what there was, a tenth and three: a site that has that many is at its end."""
    for count in range(1, 900):
        assert not Ends.NEARLY.goes_on(count + count // 10 + 3, count), count
