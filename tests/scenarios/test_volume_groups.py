"""Groups of volumes, their snapshots and types over sites: each at its site, types one by name."""

from functools import partial
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import ZONES, Client, client_of

from atoll.sandbox.simulated import Cloud, Fault

VOLUME = "/block-storage/v3"
V = {"OpenStack-API-Version": "volume 3.60"}
KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "groups": ("group", {"group_type": "cg", "volume_types": ["fake"]}, "group_links"),
    "consistencygroups": ("consistencygroup", {"volume_types": "fake"}, "consistencygroup_links"),
}


@pytest.fixture
async def zoned(start_atoll: StartAtoll, cloud: Cloud) -> Any:
    """A user of a gateway with a zone for each site, where every site has the group type `cg`."""
    for site in cloud.sites:
        site.block_storage.groups.seed_type("cg", consistent_group_snapshot_enabled="<is> True")
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await atoll.settled()
    async with client_of(atoll, cloud.keystone.token()) as client:
        client.headers.update(V)
        yield client


async def group(user: Client, zone: str, kind: str = "groups", **fields: Any) -> str:
    """A group in a zone; its id."""
    envelope, body, _ = KINDS[kind]
    given = {**body, "name": "g", "availability_zone": zone, **fields}
    answer = await user.post(f"{VOLUME}/{kind}", json={envelope: given})
    assert answer.status_code == 202, answer.text
    return str(answer.json()[envelope]["id"])


async def volume(user: Client, zone: str, **fields: Any) -> str:
    """A volume in a zone; its id."""
    answer = await user.post(
        f"{VOLUME}/volumes", json={"volume": {"size": 1, "availability_zone": zone, **fields}}
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["volume"]["id"])


async def test_a_group_is_in_its_zone_with_types_in_the_words_of_the_site(
    zoned: Client, cloud: Cloud
) -> None:
    first, second = await group(zoned, "zone1"), await group(zoned, "zone2")
    assert [list(site.block_storage.groups.groups) for site in cloud.sites] == [[first], [second], []]
    types = (await zoned.get(f"{VOLUME}/group_types")).json()["group_types"]
    assert [one["name"] for one in types] == ["cg"]
    fakes = (await zoned.get(f"{VOLUME}/types")).json()["volume_types"]
    (fake,) = [one["id"] for one in fakes if one["name"] == "fake"]
    for ident, zone in ((first, "zone1"), (second, "zone2")):
        shown = (await zoned.get(f"{VOLUME}/groups/{ident}?list_volume=true")).json()["group"]
        assert (shown["availability_zone"], shown["volumes"]) == (zone, [])
        assert (shown["group_type"], shown["volume_types"]) == (types[0]["id"], [fake])
    again = await group(zoned, "zone3", group_type=types[0]["id"], volume_types=[fake])
    assert again in cloud.site("site3").block_storage.groups.groups


async def test_volumes_come_into_a_group_of_their_site_only(zoned: Client) -> None:
    ours = await group(zoned, "zone1")
    near, far = await volume(zoned, "zone1"), await volume(zoned, "zone2")
    path = f"{VOLUME}/groups/{ours}"
    refused = await zoned.put(path, json={"group": {"add_volumes": f"{near},{far}"}})
    assert refused.status_code == 409, refused.text
    message = refused.json()["conflictingRequest"]["message"]
    assert far in message and "site2" in message and near not in message  # noqa: PT018 - one sentence
    assert (await zoned.get(f"{path}?list_volume=true")).json()["group"]["volumes"] == []
    assert (await zoned.put(path, json={"group": {"add_volumes": near}})).status_code == 202
    assert (await zoned.get(f"{path}?list_volume=true")).json()["group"]["volumes"] == [near]
    inside = await volume(zoned, "zone1", group_id=ours)
    elsewhere = {"volume": {"size": 1, "group_id": ours, "availability_zone": "zone2"}}
    assert (await zoned.post(f"{VOLUME}/volumes", json=elsewhere)).status_code == 409
    kept = await zoned.post(f"{path}/action", json={"delete": {}})
    assert (kept.status_code, "not empty" in kept.text) == (400, True)
    gone = await zoned.post(f"{path}/action", json={"delete": {"delete-volumes": True}})
    assert gone.status_code == 202
    for one in (f"groups/{ours}", f"volumes/{inside}", f"volumes/{near}"):
        assert (await zoned.get(f"{VOLUME}/{one}")).status_code == 404
    assert (await zoned.get(f"{VOLUME}/volumes/{far}")).status_code == 200


async def test_snapshots_and_copies_of_a_group_are_where_it_is(zoned: Client, cloud: Cloud) -> None:
    ours = await group(zoned, "zone2")
    body = {"group_snapshot": {"group_id": ours, "name": "s"}}
    made = await zoned.post(f"{VOLUME}/group_snapshots", json=body)
    assert made.status_code == 202, made.text
    snapshot = made.json()["group_snapshot"]["id"]
    assert list(cloud.site("site2").block_storage.groups.snapshots) == [snapshot]
    shown = (await zoned.get(f"{VOLUME}/group_snapshots/{snapshot}")).json()["group_snapshot"]
    assert shown["group_id"] == ours
    for source in ({"group_snapshot_id": snapshot}, {"source_group_id": ours}):
        answer = await zoned.post(
            f"{VOLUME}/groups/action", json={"create-from-src": {"name": "c", **source}}
        )
        assert answer.status_code == 202, answer.text
        assert answer.json()["group"]["id"] in cloud.site("site2").block_storage.groups.groups
    assert (await zoned.delete(f"{VOLUME}/group_snapshots/{snapshot}")).status_code == 202
    assert (await zoned.get(f"{VOLUME}/group_snapshots/{snapshot}")).status_code == 404
    gone = await zoned.post(f"{VOLUME}/group_snapshots", json={"group_snapshot": {"group_id": snapshot}})
    assert gone.status_code == 404


@pytest.mark.parametrize("kind", KINDS)
async def test_groups_are_listed_as_of_one_cloud(zoned: Client, cloud: Cloud, kind: str) -> None:
    made = []
    for number in range(6):
        for site in cloud.sites:
            site.clock = partial(float, 1_700_000_000.0 + number * 60)
        made.append(await group(zoned, f"zone{number % 3 + 1}", kind, name=f"g{number}"))
    newest_first = made[::-1]

    async def pages(query: str) -> list[str]:
        found: list[str] = []
        path = f"{VOLUME}/{kind}{query}"
        while path:
            answer = (await zoned.get(path)).json()
            assert set(answer) <= {kind, KINDS[kind][2]}, "as Cinder names its links"
            found += [one["id"] for one in answer[kind]]
            path = answer.get(KINDS[kind][2], [{"href": ""}])[0]["href"]
        return found

    assert await pages("") == newest_first
    assert await pages("?limit=2") == newest_first
    assert await pages("/detail?limit=4") == newest_first
    assert await pages("?sort_dir=asc&limit=3") == made
    assert await pages("?sort=name:asc") == made
    brief = (await zoned.get(f"{VOLUME}/{kind}")).json()[kind]
    assert all(set(one) == {"id", "name"} for one in brief)


async def test_types_of_groups_are_made_and_changed_at_every_site(admin: Client, cloud: Cloud) -> None:
    admin.headers.update(V)

    def at() -> list[dict[str, Any]]:
        groups = [site.block_storage.groups.types.values() for site in cloud.sites]
        return [{one["name"]: dict(one["group_specs"]) for one in types} for types in groups]

    made = await admin.post(f"{VOLUME}/group_types", json={"group_type": {"name": "gold"}})
    assert made.status_code == 202, made.text
    path = f"{VOLUME}/group_types/{made.json()['group_type']['id']}"
    cloud.site("site3").faults.add(Fault("status", service="volume", method="POST", status=403, count=1))
    specs = {"group_specs": {"a": "1"}}
    assert (await admin.post(f"{path}/group_specs", json=specs)).status_code == 403
    assert at() == [{"gold": {}}] * 3
    assert (await admin.post(f"{path}/group_specs", json=specs)).status_code == 202
    assert at() == [{"gold": {"a": "1"}}] * 3
    assert (await admin.delete(f"{path}/group_specs/a")).status_code == 202
    assert (await admin.delete(path)).status_code == 202
    assert at() == [{}] * 3
