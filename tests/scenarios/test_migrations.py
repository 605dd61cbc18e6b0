"""Migrations of servers: one id in every list, whichever way it is asked for."""

from typing import Any

import httpx
import pytest
from tests.scenarios.conftest import SERVERS, UNKNOWN, Client, boot

from atoll.core.ids import qualify
from atoll.sandbox.simulated import Cloud

LIST = "/compute/v2.1/os-migrations"
FORCE = {"force_complete": None}
NUMBERS = {"site1": 0, "site2": 1, "site3": 2}


@pytest.fixture
def admin_of_2_80(admin: Client) -> Client:
    """The administrator, asking in a version that has all there is to migrations."""
    admin.headers["OpenStack-API-Version"] = "compute 2.80"
    return admin


async def moving(user: Client, admin: Client, cloud: Cloud, site: str) -> str:
    """A server that is being moved."""
    cloud.site(site).compute.action_seconds = 3600.0
    server = await boot(user, cloud, site)
    body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
    answer = await admin.post(f"{SERVERS}/{server}/action", json=body)
    assert answer.status_code == 202, answer.text
    return server


def only(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    (one,) = answer.json()["migrations"]
    return dict(one)


def message(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(next(iter(answer.json().values()))["message"])


@pytest.mark.parametrize("site", NUMBERS)
async def test_a_migration_has_one_id_everywhere(
    user: Client, admin_of_2_80: Client, cloud: Cloud, site: str
) -> None:
    admin = admin_of_2_80
    server = await moving(user, admin, cloud, site)
    ident = qualify(NUMBERS[site], 1)
    listed = only(await admin.get(LIST))
    assert listed["id"] == ident
    assert {link["rel"]: link["href"].rpartition("/compute")[2] for link in listed["links"]} == {
        "self": f"/v2.1/servers/{server}/migrations/{ident}",
        "bookmark": f"/servers/{server}/migrations/{ident}",
    }
    of_server = only(await admin.get(f"{SERVERS}/{server}/migrations"))
    assert (of_server["id"], of_server["uuid"]) == (ident, listed["uuid"])
    shown = await admin.get(f"{SERVERS}/{server}/migrations/{ident}")
    assert shown.json() == {"migration": of_server}
    project = cloud.keystone.project_id("admin")
    again = await admin.get(f"/compute/v2.1/{project}/servers/{server}/migrations/{ident}")
    assert again.json() == shown.json()


@pytest.mark.parametrize("way", ["abort", "force"])
@pytest.mark.parametrize("site", NUMBERS)
async def test_it_is_ended_by_that_id(
    user: Client, admin_of_2_80: Client, cloud: Cloud, site: str, way: str
) -> None:
    admin = admin_of_2_80
    server = await moving(user, admin, cloud, site)
    path = f"{SERVERS}/{server}/migrations/{qualify(NUMBERS[site], 1)}"
    answer = await (admin.delete(path) if way == "abort" else admin.post(f"{path}/action", json=FORCE))
    assert (answer.status_code, answer.content) == (202, b"")
    assert only(await admin.get(LIST))["status"] == ("cancelled" if way == "abort" else "completed")
    assert (await admin.get(f"{SERVERS}/{server}/migrations")).json() == {"migrations": []}


@pytest.mark.parametrize(
    ("site", "other"),
    [
        ("site1", qualify(1, 1)), ("site1", qualify(9, 1)), ("site1", 2),
        ("site2", 1), ("site2", qualify(2, 1)), ("site2", qualify(1, 2)), ("site3", qualify(1, 1)),
    ],
)  # fmt: skip
async def test_an_id_of_another_site_is_none_of_this_server(
    user: Client, admin_of_2_80: Client, cloud: Cloud, site: str, other: int
) -> None:
    admin = admin_of_2_80
    server = await moving(user, admin, cloud, site)
    path = f"{SERVERS}/{server}/migrations/{other}"
    said = f"In-progress live migration {other} is not found for server {server}."
    assert message(await admin.get(path), 404) == said
    said = f"Migration {other} not found for instance {server}"
    assert message(await admin.delete(path), 404) == said
    # Nova's own status for this one.
    assert message(await admin.post(f"{path}/action", json=FORCE), 400) == said
    assert only(await admin.get(LIST))["status"] == "running"


async def test_migrations_of_a_server_that_is_nowhere_or_away(
    user: Client, admin_of_2_80: Client, cloud: Cloud
) -> None:
    admin = admin_of_2_80
    for tail in ("", "/1", f"/{qualify(2, 1)}"):
        answer = await admin.get(f"{SERVERS}/{UNKNOWN}/migrations{tail}")
        assert message(answer, 404) == f"Instance {UNKNOWN} could not be found."
    server = await moving(user, admin, cloud, "site2")
    cloud.site("site2").refuse()
    for tail in ("", f"/{qualify(1, 1)}"):
        assert "site2" in message(await admin.get(f"{SERVERS}/{server}/migrations{tail}"), 503)


async def test_of_all_sites_the_list_lacks_one_and_a_look_up_does_not(
    user: Client, admin_of_2_80: Client, cloud: Cloud
) -> None:
    admin = admin_of_2_80
    server = await moving(user, admin, cloud, "site2")
    assert only(await admin.get(f"{LIST}?instance_uuid={server}"))["id"] == qualify(1, 1)
    cloud.site("site3").refuse()
    answer = await admin.get(LIST)
    assert only(answer)["id"] == qualify(1, 1)
    assert "site3" in answer.headers["x-atoll-missing-sites"]
    assert "site3" in message(await admin.get(f"{LIST}?instance_uuid={server}"), 503)
