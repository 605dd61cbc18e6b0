"""A volume type is one by its name: an id that a client holds, whichever site gave it, works at all."""

from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import ZONES, Client, client_of

from atoll.sandbox.simulated import Cloud

NEWEST = {"OpenStack-API-Version": "volume 3.63"}


@pytest.fixture
async def people(start_atoll: StartAtoll, cloud: Cloud) -> Any:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    async with (
        client_of(atoll, cloud.keystone.token()) as user,
        client_of(atoll, cloud.keystone.token("admin")) as admin,
    ):
        yield user, admin


def path(cloud: Cloud, what: str, who: str = "demo") -> str:
    return f"/block-storage/v3/{cloud.keystone.project_id(who)}/{what}"


async def made(admin: Client, cloud: Cloud, name: str, **more: Any) -> str:
    answer = await admin.post(path(cloud, "types", "admin"), json={"volume_type": {"name": name, **more}})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["volume_type"]["id"])


async def volume(client: Client, cloud: Cloud, kind: str, zone: str, who: str = "demo") -> dict[str, Any]:
    body = {"volume": {"size": 1, "volume_type": kind, "availability_zone": zone}}
    answer = await client.post(path(cloud, "volumes", who), json=body)
    assert answer.status_code == 202, answer.text
    shown = await client.get(path(cloud, f"volumes/{answer.json()['volume']['id']}", who), headers=NEWEST)
    return dict(shown.json()["volume"])


def own(cloud: Cloud, name: str) -> list[str]:
    """The id of a type at each site."""
    return [
        next(one["id"] for one in site.block_storage.types.values() if one["name"] == name)
        for site in cloud.sites
    ]


@pytest.mark.parametrize("public", [True, False])
async def test_a_type_just_made_is_used_by_its_id_at_every_site(
    people: tuple[Client, Client], cloud: Cloud, public: bool
) -> None:
    _, admin = people
    kind = await made(admin, cloud, "gold", **{"os-volume-type-access:is_public": public})
    assert len({*own(cloud, "gold")}) == 3, "each site gave it an id of its own"
    for zone in ZONES:
        shown = await volume(admin, cloud, kind, zone, "admin")
        assert (shown["volume_type"], shown["availability_zone"]) == ("gold", zone)
        assert shown["volume_type_id"] == kind


async def test_any_site_s_own_id_of_a_type_works_everywhere(
    people: tuple[Client, Client], cloud: Cloud
) -> None:
    user, _ = people
    listed = await user.get(path(cloud, "types"))
    ids = {one["name"]: one["id"] for one in listed.json()["volume_types"]}
    for kind in own(cloud, "fake"):
        shown = await user.get(path(cloud, f"types/{kind}"))
        assert shown.json()["volume_type"]["id"] == ids["fake"]
        for zone in ZONES:
            assert (await volume(user, cloud, kind, zone))["volume_type"] == "fake"


async def test_a_type_that_some_sites_lack_leads_to_those_that_have_it(
    people: tuple[Client, Client], cloud: Cloud
) -> None:
    user, _ = people
    cloud.sites[1].block_storage.admin.seed("rare")
    kind = next(one["id"] for one in cloud.sites[1].block_storage.types.values() if one["name"] == "rare")
    for named in (kind, "rare"):
        body = {"volume": {"size": 1, "volume_type": named}}
        made_there = await user.post(path(cloud, "volumes"), json=body)
        assert made_there.status_code == 202
        assert made_there.json()["volume"]["availability_zone"] == "zone2"
        body["volume"]["availability_zone"] = "zone1"
        refused = await user.post(path(cloud, "volumes"), json=body)
        assert refused.status_code == 409
        assert f"volume type {named}" in refused.text


async def test_a_change_of_a_type_is_refused_while_a_site_does_not_say_what_it_has(
    people: tuple[Client, Client], cloud: Cloud
) -> None:
    _, admin = people
    kind = await made(admin, cloud, "gold")
    cloud.sites[2].refuse()
    refused = await admin.delete(path(cloud, f"types/{kind}", "admin"))
    assert refused.status_code == 503
    assert "nothing was changed" in refused.text
    assert len(own(cloud, "gold")) == 3
    await cloud.sites[2].start()
