"""Servers that were accepted and that no site has yet, or that none will have."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import SERVERS, Client, boot, client_of, instances_of, server_body

from atoll.core.accepted_servers import AskedFlavor, AskedServer
from atoll.sandbox.simulated import Cloud
from atoll.store import Store, open_store

DETAIL = f"{SERVERS}/detail"
FLAVOR = AskedFlavor(id="42", name="m1.nano", vcpus=1, ram=128, disk=1)


@pytest.fixture
async def store(atoll: Atoll) -> AsyncIterator[Store]:
    """The gateway's database, as another process has it open."""
    opened = await open_store(f"sqlite:///{atoll.database}")
    yield opened
    await opened.close()


async def accepted(client: Client, store: Store, cloud: Cloud, project: str = "demo", **asked: Any) -> str:
    """The id of an accepted server, which the client's gateway knows."""
    alias = str(uuid.uuid4())
    image = cloud.sites[0].image_id("cirros")
    given: dict[str, Any] = {"name": "waits", "flavor": FLAVOR, "image": image} | asked
    server = AskedServer(**given)
    await store.aliases.accept(
        alias,
        project_id=cloud.keystone.project_id(project),
        user_id="user",
        asked=msgspec.json.encode(server).decode(),
    )
    await client.get(f"{SERVERS}/{alias}")
    return alias


@pytest.mark.parametrize("who", ["user", "admin"])
@pytest.mark.parametrize("version", ["2.1", "2.3", "2.47", "2.73", "2.96", "2.100", "latest"])
async def test_it_is_shown_as_nova_shows_one_that_has_no_host(
    user: Client, admin: Client, store: Store, cloud: Cloud, version: str, who: str
) -> None:
    """The same members as a server that a site could not place, and what was asked for in them."""
    client = user if who == "user" else admin
    client.headers["OpenStack-API-Version"] = f"compute {version}"
    project = "demo" if who == "user" else "admin"
    alias = await accepted(client, store, cloud, project, metadata={"a": "b"}, key_name=None)
    answer = await client.get(f"{SERVERS}/{alias}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["openstack-api-version"].startswith("compute 2.")
    server = answer.json()["server"]
    assert server["id"] == alias
    assert (server["name"], server["status"]) == ("waits", "BUILD")
    assert server["OS-EXT-STS:task_state"] == "scheduling"
    assert (server["metadata"], server["addresses"]) == ({"a": "b"}, {})
    assert server["tenant_id"] == cloud.keystone.project_id(project)
    assert {link["rel"]: link["href"].endswith(f"/servers/{alias}") for link in server["links"]} == {
        "self": True,
        "bookmark": True,
    }
    made = await boot(
        client,
        cloud,
        "site1",
        **({"networks": "none"} if version in {"2.47", "2.73", "2.96", "2.100", "latest"} else {}),
    )
    real = (await client.get(f"{SERVERS}/{made}")).json()["server"]
    assert set(server) == set(real) - {"security_groups"}
    assert set(server["flavor"]) == set(real["flavor"])
    assert set(server["image"]) == set(real["image"])
    links = [one["href"].replace(alias, made) for one in server["links"]]
    assert links == [one["href"] for one in real["links"]]


async def test_it_is_in_lists_at_its_place(user: Client, store: Store, cloud: Cloud) -> None:
    """Newest first with the servers of sites, once, on whatever page it falls."""
    older = [await boot(user, cloud, site) for site in ("site1", "site2", "site3")]
    for one in [one for site in cloud.sites for one in instances_of(site)]:
        one.created -= 3600
    waiting = [await accepted(user, store, cloud, name=f"w{n}") for n in range(3)]
    for target in (SERVERS, DETAIL):
        listed = (await user.get(target)).json()["servers"]
        assert {one["id"] for one in listed[:3]} == set(waiting)
        assert {one["id"] for one in listed[3:]} == set(older)
        found: list[str] = []
        following: str | None = f"{target}?limit=2"
        while following:
            content = (await user.get(following)).json()
            found += [one["id"] for one in content["servers"]]
            links = content.get("servers_links", [])
            following = links[0]["href"] if links else None
        assert found == [one["id"] for one in listed]
    brief = (await user.get(SERVERS)).json()["servers"]
    assert set(brief[0]) == {"id", "name", "links"}
    oldest_first = (await user.get(SERVERS, params={"sort_key": "created_at", "sort_dir": "asc"})).json()
    assert {one["id"] for one in oldest_first["servers"][3:]} == set(waiting)
    after = await user.get(SERVERS, params={"marker": listed[1]["id"], "limit": "2", "deleted": "false"})
    assert [one["id"] for one in after.json()["servers"]] == [one["id"] for one in listed[2:4]]


@pytest.mark.parametrize(
    ("filters", "is_shown"),
    [
        ({"status": "BUILD"}, True),
        ({"status": "build"}, True),
        ({"status": "ACTIVE"}, False),
        ({"name": "^wai"}, True),
        ({"name": "^wait$"}, False),
        ({"name": "a.*s$"}, True),
        ({"flavor": "42"}, True),
        ({"flavor": "43"}, False),
        ({"ip": "10"}, False),
        ({"changes-since": "2020-01-01T00:00:00Z"}, True),
        ({"changes-since": "2999-01-01T00:00:00Z"}, False),
        ({"deleted": "false"}, True),
        ({"uuid": "7a0c56b9-cc51-454b-89ed-b93d7c0eba72"}, True),  # which Nova hears from administrators only
    ],
    ids=str,
)
async def test_filters(
    user: Client, store: Store, cloud: Cloud, filters: dict[str, str], is_shown: bool
) -> None:
    alias = await accepted(user, store, cloud)
    listed = await user.get(DETAIL, params=filters)
    assert listed.status_code == 200, listed.text
    assert (alias in {one["id"] for one in listed.json()["servers"]}) is is_shown


async def test_other_projects_do_not_see_it(
    user: Client, admin: Client, atoll: Atoll, store: Store, cloud: Cloud
) -> None:
    alias = await accepted(user, store, cloud, "demo")
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        for method in ("GET", "DELETE", "PUT"):
            answer = await other.request(method, f"{SERVERS}/{alias}")
            assert answer.status_code == 404
        assert (await other.get(SERVERS)).json()["servers"] == []
    assert (await admin.get(SERVERS)).json()["servers"] == []
    every = (await admin.get(SERVERS, params={"all_tenants": "1"})).json()["servers"]
    assert [one["id"] for one in every] == [alias]
    assert (await admin.get(f"{SERVERS}/{alias}")).status_code == 200


@pytest.mark.parametrize(
    ("method", "below", "body", "word"),
    [
        ("POST", "/action", {"reboot": {"type": "SOFT"}}, "reboot"),
        ("POST", "/action", {"createImage": {"name": "x"}}, "createImage"),
        ("PUT", "", {"server": {"name": "x"}}, "update"),
        ("PUT", "/metadata/a", {"meta": {"a": "b"}}, "metadata"),
        ("POST", "/os-volume_attachments", {"volumeAttachment": {"volumeId": "x"}}, "volume attachments"),
        ("GET", "/diagnostics", None, "diagnostics"),
    ],
)
async def test_it_cannot_be_changed(
    admin: Client, store: Store, cloud: Cloud, method: str, below: str, body: Any, word: str
) -> None:
    alias = await accepted(admin, store, cloud, "admin")
    answer = await admin.request(method, f"{SERVERS}/{alias}{below}", json=body)
    assert answer.status_code == 409, answer.text
    fault = answer.json()["conflictingRequest"]
    assert fault["message"] == f"Cannot '{word}' instance {alias} while it is in task_state scheduling"


@pytest.mark.parametrize(
    ("below", "content"),
    [
        ("metadata", {"metadata": {"a": "b"}}),
        ("metadata/a", {"meta": {"a": "b"}}),
        ("ips", {"addresses": {}}),
        ("os-volume_attachments", {"volumeAttachments": []}),
        ("os-interface", {"interfaceAttachments": []}),
    ],
)
async def test_what_is_below_it(
    user: Client, store: Store, cloud: Cloud, below: str, content: dict[str, Any]
) -> None:
    alias = await accepted(user, store, cloud, metadata={"a": "b"})
    answer = await user.get(f"{SERVERS}/{alias}/{below}")
    assert (answer.status_code, answer.json()) == (200, content)
    assert (await user.get(f"{SERVERS}/{alias}/metadata/z")).status_code == 404


async def test_what_names_it_is_refused(user: Client, store: Store, cloud: Cloud) -> None:
    alias = await accepted(user, store, cloud)
    body = server_body(cloud) | {"os:scheduler_hints": {"same_host": alias}}
    answer = await user.post(SERVERS, json=body)
    assert answer.status_code == 409
    assert "is not at any site yet" in answer.text


async def test_deleting_it(user: Client, store: Store, cloud: Cloud) -> None:
    """It is gone at once, nothing can be bound to it any more, and no site was asked to delete anything."""
    alias = await accepted(user, store, cloud)
    answer = await user.delete(f"{SERVERS}/{alias}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await user.get(f"{SERVERS}/{alias}")).status_code == 404
    assert (await user.delete(f"{SERVERS}/{alias}")).status_code == 404
    assert (await user.get(SERVERS)).json()["servers"] == []
    assert not await store.aliases.bind(alias, "site1", str(uuid.uuid4()))
    assert await store.aliases.of(alias) is None


async def test_one_that_failed_says_why_until_it_is_deleted(user: Client, store: Store, cloud: Cloud) -> None:
    alias = await accepted(user, store, cloud)
    assert await store.aliases.fail(alias, "No site has room.", code=500)

    def shown() -> Any:
        return user.get(f"{SERVERS}/{alias}")

    server: dict[str, Any] = {}
    for _ in range(600):
        server = (await shown()).json()["server"]
        if server["status"] == "ERROR":
            break
        await user.get(f"{SERVERS}/{uuid.uuid4()}")  # is looked up in the database
    assert server["status"] == "ERROR"
    assert server["fault"]["message"] == "No site has room."
    assert server["fault"]["code"] == 500
    assert datetime.fromisoformat(server["fault"]["created"]).tzinfo == UTC
    assert (server["OS-EXT-STS:vm_state"], server["OS-EXT-STS:task_state"]) == ("error", None)
    listed = (await user.get(DETAIL, params={"status": "ERROR"})).json()["servers"]
    assert [one["id"] for one in listed] == [alias]
    answer = await user.post(f"{SERVERS}/{alias}/action", json={"os-start": None})
    assert "while it is in vm_state error" in answer.text
    assert (await user.delete(f"{SERVERS}/{alias}")).status_code == 204
    assert (await user.get(f"{SERVERS}/{alias}")).status_code == 404


async def test_it_becomes_the_sites_server_under_the_same_id(
    user: Client, store: Store, cloud: Cloud
) -> None:
    alias = await accepted(user, store, cloud)
    own = await boot(user, cloud, "site3")
    assert await store.aliases.bind(alias, "site3", own)
    await user.get(f"{SERVERS}/{uuid.uuid4()}")  # is looked up in the database
    server = (await user.get(f"{SERVERS}/{alias}")).json()["server"]
    assert (server["id"], server["name"]) == (alias, "vm")
    assert [one["id"] for one in (await user.get(SERVERS)).json()["servers"]] == [alias]


async def test_it_is_shown_once_while_its_site_has_it_and_nobody_has_said_so(
    user: Client, admin: Client, atoll: Atoll, store: Store, cloud: Cloud
) -> None:
    """A site's server that says it is this one is not beside it; what another project's says is nothing."""
    alias = await accepted(user, store, cloud)
    own = await boot(user, cloud, "site1", metadata={"atoll_id": alias})
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        liar = await boot(other, cloud, "site2", metadata={"atoll_id": alias})
    assert [one["id"] for one in (await user.get(DETAIL)).json()["servers"]] == [alias]
    every = (await admin.get(DETAIL, params={"all_tenants": "1"})).json()["servers"]
    assert {one["id"] for one in every} == {alias, liar}
    await store.aliases.drop(alias)
    for _ in range(600):
        listed = [one["id"] for one in (await user.get(DETAIL)).json()["servers"]]
        if listed == [own]:
            break
        await asyncio.sleep(0.05)
    assert listed == [own]


async def test_at_a_site_that_is_alone(start_atoll: StartAtoll, cloud: Cloud) -> None:
    """It is known within a second or two, without a search that would find it."""
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"))
    store = await open_store(f"sqlite:///{atoll.database}")
    async with client_of(atoll, cloud.keystone.token()) as user:
        own = await boot(user, cloud)
        alias = await accepted(user, store, cloud)
        seen: list[str] = []
        for _ in range(600):
            seen = [one["id"] for one in (await user.get(SERVERS)).json()["servers"]]
            if alias in seen:
                break
            await asyncio.sleep(0.05)
        assert sorted(seen) == sorted([own, alias])
        assert (await user.get(f"{SERVERS}/{alias}")).json()["server"]["status"] == "BUILD"
    await store.close()
