"""Servers under an id that is no site's: one that is bound to a site's own server, everywhere it is named."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import SERVERS, Client, boot, client_of, server_body

from atoll.sandbox.simulated import Cloud, Fault
from atoll.store import Store, open_store

VOLUMES = "/block-storage/v3"
PORTS = "/network/v2.0/ports"


@pytest.fixture
async def store(atoll: Atoll) -> AsyncIterator[Store]:
    """The gateway's database, as another process has it open."""
    opened = await open_store(f"sqlite:///{atoll.database}")
    yield opened
    await opened.close()


def project_of(cloud: Cloud) -> str:
    return cloud.keystone.project_id("demo")


async def bound(client: Client, store: Store, cloud: Cloud, site: str, **fields: Any) -> tuple[str, str]:
    """A server at a site: (the id that clients hold, the site's own). The gateway knows it."""
    own = await boot(client, cloud, site, **fields)
    alias = str(uuid.uuid4())
    assert await store.aliases.bind(alias, site, own, project_id=project_of(cloud), user_id="u")
    assert (await client.get(f"{SERVERS}/{alias}")).status_code == 200
    return alias, own


@pytest.fixture
async def pair(user: Client, store: Store, cloud: Cloud) -> tuple[str, str]:
    """(alias, own id) of a server at site2, which has neighbours at every site."""
    for site in ("site1", "site2", "site3"):
        await boot(user, cloud, site)
    pair = await bound(user, store, cloud, "site2")
    for site in ("site1", "site2", "site3"):
        await boot(user, cloud, site)
    return pair


def told(cloud: Cloud) -> list[tuple[str, str, str]]:
    """What sites were asked so far of servers by id: (site, method, target)."""
    return [
        (site.name, seen.method, seen.target)
        for site in cloud.sites
        for seen in site.listener.seen
        if "/servers/" in seen.target and "/detail" not in seen.target
    ]


async def test_one_is_shown_under_its_alias_and_no_site_is_searched(
    user: Client, store: Store, cloud: Cloud
) -> None:
    own = await boot(user, cloud, "site2")
    alias = str(uuid.uuid4())
    await store.aliases.bind(alias, "site2", own, project_id=project_of(cloud))
    for site in cloud.sites:
        site.listener.seen.clear()
    for _ in range(2):
        answer = await user.get(f"{SERVERS}/{alias}")
        assert answer.status_code == 200, answer.text
        server = answer.json()["server"]
        assert server["id"] == alias
        assert all(link["href"].endswith(f"/servers/{alias}") for link in server["links"])
        assert own not in answer.text
    assert {site for site, _, _ in told(cloud)} == {"site2"}


async def test_the_sites_own_id_means_the_same_server(user: Client, pair: tuple[str, str]) -> None:
    alias, own = pair
    answer = await user.get(f"{SERVERS}/{own}")
    assert answer.status_code == 200
    assert answer.json()["server"]["id"] == alias
    assert own not in answer.text


@pytest.mark.parametrize("version", ["2.1", "2.60", "2.96"])
async def test_what_is_below_a_server_goes_by_its_alias(
    user: Client, pair: tuple[str, str], version: str, cloud: Cloud, store: Store
) -> None:
    alias, own = pair
    user.headers["OpenStack-API-Version"] = f"compute {version}"
    below = f"{SERVERS}/{alias}"
    put = await user.put(f"{below}/metadata/a", json={"meta": {"a": "b"}})
    assert put.status_code == 200, put.text
    assert (await user.get(f"{below}/metadata")).json()["metadata"]["a"] == "b"
    answer = await user.post(f"{below}/action", json={"os-stop": None})
    assert answer.status_code == 202, answer.text
    assert (await user.get(f"{below}/ips")).status_code == 200
    actions = await user.get(f"{below}/os-instance-actions")
    assert {one["instance_uuid"] for one in actions.json()["instanceActions"]} == {alias}
    renamed = await user.put(below, json={"server": {"name": "other"}})
    assert renamed.json()["server"]["id"] == alias
    assert own not in renamed.text
    refused = await user.post(f"{below}/action", json={"os-stop": None})
    assert refused.status_code == 409
    assert own not in refused.text
    assert alias in refused.text
    assert (await user.delete(below)).status_code == 204
    assert cloud.site("site2").compute.instances.get(own) is None
    for _ in range(2):
        gone = await user.get(below)
        assert gone.status_code == 404
        assert own not in gone.text
        assert alias in gone.text
    async with asyncio.timeout(30):
        while await store.aliases.of(alias) is not None:  # noqa: ASYNC110 - its site has said that it is gone
            await asyncio.sleep(0.01)


async def test_however_the_path_is_written(user: Client, cloud: Cloud, pair: tuple[str, str]) -> None:
    alias, _ = pair
    project = project_of(cloud)
    for path in ("v2.1/%73ervers/{}", "v2.1/servers/{}/", "v2/servers/{}", f"v2.1/{project}/servers/{{}}"):
        written = path.format(alias.replace("-", "%2d"))
        answer = await user.get(f"/compute/{written}")
        if answer.status_code == 200:
            assert answer.json()["server"]["id"] == alias
        else:  # as a site's own id is answered that is written so
            plain = await user.get(f"/compute/{path.format(pair[1])}")
            assert answer.status_code == plain.status_code == 404, written
    answer = await user.get(f"/compute/v2.1/{project}/servers/{alias}")
    assert all(f"{project}/servers/{alias}" in one["href"] for one in answer.json()["server"]["links"])


async def test_metadata_stay_what_the_user_wrote(user: Client, pair: tuple[str, str]) -> None:
    alias, own = pair
    metadata = {"id": own, "server_id": own, "href": f"http://x/servers/{own}", "alias": alias}
    answer = await user.post(f"{SERVERS}/{alias}/metadata", json={"metadata": metadata})
    assert answer.json()["metadata"].items() >= metadata.items()
    for target in (f"{SERVERS}/{alias}", f"{SERVERS}/detail"):
        shown = (await user.get(target)).json()
        server = shown.get("server") or next(one for one in shown["servers"] if one["id"] == alias)
        assert server["id"] == alias
        assert server["metadata"].items() >= metadata.items()
        assert all(link["href"].endswith(alias) for link in server["links"])


async def test_lists_show_it_once_under_the_alias(user: Client, pair: tuple[str, str]) -> None:
    alias, own = pair
    for target in (SERVERS, f"{SERVERS}/detail"):
        answer = await user.get(target)
        ids = [one["id"] for one in answer.json()["servers"]]
        assert len(ids) == len(set(ids)) == 7
        assert alias in ids
        assert own not in answer.text


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_lead_past_it(user: Client, pair: tuple[str, str], limit: int) -> None:
    """By the links, by markers that a client builds itself, and where nothing is known of the page before."""
    alias, own = pair
    whole = [one["id"] for one in (await user.get(SERVERS)).json()["servers"]]
    found: list[str] = []
    target: str | None = f"{SERVERS}?limit={limit}"
    while target:
        answer = await user.get(target)
        assert own not in answer.text
        found += [one["id"] for one in answer.json()["servers"]]
        links = answer.json().get("servers_links", [])
        target = links[0]["href"] if links else None
    assert found == whole
    at = whole.index(alias)
    after = await user.get(SERVERS, params={"limit": limit, "marker": alias, "name": "vm"})
    assert [one["id"] for one in after.json()["servers"]] == whole[at + 1 :][:limit]
    before = await user.get(SERVERS, params={"limit": limit, "marker": whole[at - 1], "name": "vm"})
    assert before.json()["servers"][0]["id"] == alias


async def test_the_filter_by_id_takes_the_alias(admin: Client, pair: tuple[str, str]) -> None:
    alias, _ = pair
    listed = await admin.get(SERVERS, params={"uuid": alias, "all_tenants": "1"})
    assert [one["id"] for one in listed.json()["servers"]] == [alias]


async def test_a_volume_is_attached_and_says_to_what(user: Client, pair: tuple[str, str]) -> None:
    alias, own = pair
    body = {"volume": {"size": 1, "availability_zone": "site2", "metadata": {"server_id": own}}}
    volume = (await user.post(f"{VOLUMES}/volumes", json=body)).json()["volume"]["id"]
    assert (await user.get(f"{VOLUMES}/volumes/{volume}")).json()["volume"]["status"] == "available"
    answer = await user.post(
        f"{SERVERS}/{alias}/os-volume_attachments", json={"volumeAttachment": {"volumeId": volume}}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["volumeAttachment"]["serverId"] == alias
    listed = await user.get(f"{SERVERS}/{alias}/os-volume_attachments")
    assert [one["serverId"] for one in listed.json()["volumeAttachments"]] == [alias]
    for target in (f"{VOLUMES}/volumes/{volume}", f"{VOLUMES}/volumes/detail"):
        for _ in range(2):  # the second is in the lane
            content = (await user.get(target)).json()
            shown = content.get("volume") or content["volumes"][0]
            assert [one["server_id"] for one in shown["attachments"]] == [alias]
            assert shown["metadata"]["server_id"] == own
    user.headers["OpenStack-API-Version"] = "volume 3.54"
    attachments = (await user.get(f"{VOLUMES}/attachments/detail")).json()["attachments"]
    assert [one["instance"] for one in attachments] == [alias]


async def test_ports_say_whose_they_are(user: Client, cloud: Cloud, store: Store) -> None:
    network = (await user.post("/network/v2.0/networks", json={"network": {"name": "n"}})).json()["network"][
        "id"
    ]
    subnet = {"subnet": {"network_id": network, "cidr": "10.9.0.0/24", "ip_version": 4}}
    assert (await user.post("/network/v2.0/subnets", json=subnet)).status_code == 201
    site = next(site.name for site in cloud.sites if network in site.network.records.of("networks"))
    alias, own = await bound(user, store, cloud, site, networks=[{"uuid": network}])
    listed = await user.get(PORTS, params={"device_id": alias})
    (port,) = listed.json()["ports"]
    assert port["device_id"] == alias
    assert own not in listed.text
    assert (await user.get(f"{PORTS}/{port['id']}")).json()["port"]["device_id"] == alias
    interfaces = await user.get(f"{SERVERS}/{alias}/os-interface")
    assert [one["port_id"] for one in interfaces.json()["interfaceAttachments"]] == [port["id"]]


@pytest.mark.parametrize("hint", ["same_host", "different_host"])
async def test_hints_name_it(user: Client, cloud: Cloud, pair: tuple[str, str], hint: str) -> None:
    """The site is told its own id, and what it says of it is the alias again."""
    alias, own = pair
    user.headers["OpenStack-API-Version"] = "compute 2.100"
    # What is with it goes where it is.
    zone = {} if hint == "same_host" else {"availability_zone": "site2"}
    body = server_body(cloud, networks="none", **zone) | {"os:scheduler_hints": {hint: [alias]}}
    answer = await user.post(SERVERS, json=body)
    assert answer.status_code == 202, answer.text
    made = answer.json()["server"]["id"]
    instance = cloud.site("site2").compute.instances.get(made)
    assert instance is not None
    assert instance.hints == {hint: [own]}
    shown = await user.get(f"{SERVERS}/{made}")
    assert shown.json()["server"]["scheduler_hints"] == {hint: [alias]}


async def test_one_that_the_gateway_has_not_heard_of_is_known_when_a_body_names_it(
    user: Client, store: Store, cloud: Cloud
) -> None:
    """The database is asked before the sites are."""
    own = await boot(user, cloud, "site3")
    alias = str(uuid.uuid4())
    await store.aliases.bind(alias, "site3", own, project_id=project_of(cloud))
    body = server_body(cloud) | {"os:scheduler_hints": {"same_host": alias}}
    answer = await user.post(SERVERS, json=body)
    assert answer.status_code == 202, answer.text
    instance = cloud.site("site3").compute.instances.get(answer.json()["server"]["id"])
    assert instance is not None
    assert instance.hints == {"same_host": own}


async def test_groups_name_it(user: Client, cloud: Cloud, store: Store) -> None:
    group = {"server_group": {"name": "g", "policies": ["affinity"]}}
    made = (await user.post("/compute/v2.1/os-server-groups", json=group)).json()["server_group"]["id"]
    own_group = next(site.name for site in cloud.sites if made in site.compute.groups)
    member = await user.post(
        SERVERS,
        json=server_body(cloud, availability_zone=own_group) | {"os:scheduler_hints": {"group": made}},
    )
    own = member.json()["server"]["id"]
    other = str(uuid.uuid4())
    await store.aliases.bind(other, own_group, own, project_id=project_of(cloud))
    await user.get(f"{SERVERS}/{other}")
    for target in ("/compute/v2.1/os-server-groups", f"/compute/v2.1/os-server-groups/{made}"):
        content = (await user.get(target)).json()
        shown = content.get("server_group") or content["server_groups"][0]
        assert shown["members"] == [other]


async def test_usage_counts_it_under_the_alias(admin: Client, pair: tuple[str, str], cloud: Cloud) -> None:
    alias, own = pair
    admin.headers["OpenStack-API-Version"] = "compute 2.40"
    path = f"/compute/v2.1/os-simple-tenant-usage/{project_of(cloud)}"
    whole = [one["instance_id"] for one in (await admin.get(path)).json()["tenant_usage"]["server_usages"]]
    assert alias in whole
    assert own not in whole
    found: list[str] = []
    target: str | None = f"{path}?limit=1"
    while target:
        content = (await admin.get(target)).json()
        found += [one["instance_id"] for one in content["tenant_usage"].get("server_usages", ())]
        links = content.get("tenant_usage_links", [])
        target = links[0]["href"] if links else None
    assert sorted(found) == sorted(whole)


async def test_a_moved_server_keeps_its_id_while_its_old_site_still_has_it(
    user: Client, cloud: Cloud, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was left behind is nowhere to be seen; what is done is done to the new one."""
    monkeypatch.setattr("atoll.gateway.locate.NEGATIVE_SECONDS", 0.1)
    old = await boot(user, cloud, "site1", name="old")
    assert (await user.get(f"{SERVERS}/{old}")).json()["server"]["name"] == "old"
    new = await boot(user, cloud, "site2", name="new")
    await store.aliases.bind(old, "site2", new, project_id=project_of(cloud), was=("site1", old))
    async with asyncio.timeout(30):
        while (await user.get(f"{SERVERS}/{old}")).json()["server"]["name"] != "new":  # noqa: ASYNC110 - HTTP
            await asyncio.sleep(0.05)
    for _ in range(2):
        listed = (await user.get(f"{SERVERS}/detail")).json()["servers"]
        assert [(one["id"], one["name"]) for one in listed] == [(old, "new")]
        assert (await user.get(f"{SERVERS}/{old}")).json()["server"]["name"] == "new"
    cloud.site("site1").listener.seen.clear()
    assert (await user.delete(f"{SERVERS}/{old}")).status_code == 204
    assert cloud.site("site1").compute.instances.get(old) is not None
    assert cloud.site("site2").compute.instances.get(new) is None
    # Deleted is deleted, however long the old one is still there.
    for _ in range(3):
        assert (await user.get(f"{SERVERS}/{old}")).status_code == 404
        assert (await user.get(f"{SERVERS}/detail")).json()["servers"] == []
        await asyncio.sleep(0.2)
    await store.aliases.unhide("site1", old)
    async with asyncio.timeout(30):
        while (await user.get(f"{SERVERS}/{old}")).status_code != 200:  # noqa: ASYNC110 - HTTP
            await asyncio.sleep(0.05)


async def test_a_site_that_is_alone(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"))
    store = await open_store(f"sqlite:///{atoll.database}")
    async with client_of(atoll, cloud.keystone.token()) as user:
        own = [await boot(user, cloud) for _ in range(3)]
        alias = str(uuid.uuid4())
        await store.aliases.bind(alias, "site1", own[1], project_id=project_of(cloud))
        async with asyncio.timeout(30):
            while (await user.get(f"{SERVERS}/{alias}")).status_code != 200:  # noqa: ASYNC110 - HTTP
                await asyncio.sleep(0.05)
        page = (await user.get(SERVERS, params={"limit": 2})).json()
        assert [one["id"] for one in page["servers"]] == [own[2], alias]
        assert f"marker={alias}" in page["servers_links"][0]["href"]
        rest = (await user.get(page["servers_links"][0]["href"])).json()
        assert [one["id"] for one in rest["servers"]] == [own[0]]
    await store.close()


async def test_known_servers_of_a_missing_site_have_their_aliases(
    user: Client, cloud: Cloud, pair: tuple[str, str]
) -> None:
    alias, own = pair
    await user.get(SERVERS)
    cloud.site("site2").faults.add(Fault("status", service="compute", status=500))
    answer = await user.get(SERVERS, headers={"OpenStack-API-Version": "compute 2.69"})
    unknown = [one["id"] for one in answer.json()["servers"] if one.get("status") == "UNKNOWN"]
    assert len(unknown) == 3
    assert alias in unknown
    assert own not in answer.text


async def test_migrations_name_it(admin: Client, cloud: Cloud, pair: tuple[str, str]) -> None:
    alias, own = pair
    admin.headers["OpenStack-API-Version"] = "compute 2.80"
    cloud.site("site2").compute.action_seconds = 3600.0
    body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
    answer = await admin.post(f"{SERVERS}/{alias}/action", json=body)
    assert answer.status_code == 202, answer.text
    (of_server,) = (await admin.get(f"{SERVERS}/{alias}/migrations")).json()["migrations"]
    assert of_server["server_uuid"] == alias
    shown = await admin.get(f"{SERVERS}/{alias}/migrations/{of_server['id']}")
    assert shown.json()["migration"]["server_uuid"] == alias
    for query in ({}, {"instance_uuid": alias}):
        listed = await admin.get("/compute/v2.1/os-migrations", params=query)
        (one,) = listed.json()["migrations"]
        assert one["instance_uuid"] == alias
        assert all(f"/servers/{alias}/" in link["href"] for link in one["links"])
        assert own not in listed.text


async def test_external_events_reach_it(admin: Client, cloud: Cloud, pair: tuple[str, str]) -> None:
    alias, own = pair
    body = {"events": [{"name": "network-changed", "server_uuid": alias}]}
    answer = await admin.post("/compute/v2.1/os-server-external-events", json=body)
    assert answer.status_code == 200, answer.text
    (event,) = answer.json()["events"]
    assert (event["server_uuid"], event["code"]) == (alias, 200)
    assert own not in answer.text
    assert [s.name for s in cloud.sites if any("events" in seen.target for seen in s.listener.seen)] == [
        "site2"
    ]
