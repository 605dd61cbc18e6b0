"""R10: version headers in every form. R11: external events go to the sites of their servers."""

from typing import Any

import httpx
import pytest
from tests.running import TLS
from tests.scenarios.conftest import SERVERS, UNKNOWN, Client, boot

from atoll.sandbox.simulated import Cloud, Fault

EVENTS = "/compute/v2.1/os-server-external-events"


@pytest.mark.parametrize(
    "said", ["compute 2.60", "compute 2.60, volume 3.0", "volume 3.0, compute 2.60", "COMPUTE 2.60"]
)
async def test_a_version_among_those_of_other_services_is_taken(
    user: Client, cloud: Cloud, said: str
) -> None:
    server = await boot(user, cloud)
    for path in (SERVERS, f"{SERVERS}/detail", f"{SERVERS}/{server}"):
        answer = await user.get(path, headers={"OpenStack-API-Version": said})
        assert answer.status_code == 200
        assert answer.headers["openstack-api-version"] == "compute 2.60"
        assert answer.headers["x-openstack-nova-api-version"] == "2.60"
        assert "OpenStack-API-Version" in answer.headers["vary"]


async def test_latest_is_a_number_that_all_sites_have(user: Client, cloud: Cloud) -> None:
    server = await boot(user, cloud)
    answer = await user.get(f"{SERVERS}/{server}", headers={"OpenStack-API-Version": "compute latest"})
    assert answer.status_code == 200
    lowest = min(site.compute.max_minor for site in cloud.sites)
    assert answer.headers["openstack-api-version"] == f"compute 2.{lowest}"
    sent = [
        value
        for site in cloud.sites
        for seen in site.listener.seen
        for name, value in seen.headers
        if name == "openstack-api-version"
    ]
    assert "compute latest" not in sent


@pytest.mark.parametrize("said", ["compute", "compute 2", "compute x.y", "compute 2.60.1", "2.60"])
async def test_a_malformed_version_is_refused_as_the_service_does(
    user: Client, cloud: Cloud, said: str
) -> None:
    own = await _at_site(cloud, said)
    answer = await user.get(f"{SERVERS}/detail", headers={"OpenStack-API-Version": said})
    assert (answer.status_code, answer.json()) == own


async def test_a_version_nobody_has_is_406(user: Client) -> None:
    answer = await user.get(f"{SERVERS}/detail", headers={"OpenStack-API-Version": "compute 2.9999"})
    assert answer.status_code == 406


async def _at_site(cloud: Cloud, said: str) -> tuple[int, Any]:
    """What a site alone answers."""
    headers = {"X-Auth-Token": cloud.keystone.token(), "OpenStack-API-Version": said}
    async with httpx.AsyncClient(verify=TLS, headers=headers, timeout=30) as client:
        answer = await client.get(cloud.sites[0].url + "/compute/v2.1/servers/detail")
        return answer.status_code, answer.json()


def event(server: str, tag: str = "") -> dict[str, Any]:
    return {"name": "network-changed", "server_uuid": server, "tag": tag}


async def test_events_are_split_and_rejoined_in_their_order(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    first, second, third = [await boot(user, cloud, f"site{number}") for number in (1, 2, 3)]
    order = [third, first, second, first, third]
    events = [event(server, str(place)) for place, server in enumerate(order)]
    answer = await admin.post(EVENTS, json={"events": events})
    assert answer.status_code == 200
    assert [(one["server_uuid"], one["tag"]) for one in answer.json()["events"]] == [
        (one["server_uuid"], one["tag"]) for one in events
    ]
    assert {one["code"] for one in answer.json()["events"]} == {200}
    asked = {
        site.name: sum(seen.target.endswith("external-events") for seen in site.listener.seen)
        for site in cloud.sites
    }
    assert asked == {"site1": 2, "site2": 2, "site3": 2}  # rehearsed, then done
    assert done_at(cloud) == {"site1": [first, first], "site2": [second], "site3": [third, third]}


async def test_events_that_fare_differently_are_207(user: Client, admin: Client, cloud: Cloud) -> None:
    first, second = await boot(user, cloud, "site1"), await boot(user, cloud, "site2")
    answer = await admin.post(EVENTS, json={"events": [event(second), event(UNKNOWN), event(first)]})
    assert answer.status_code == 207
    assert [one["code"] for one in answer.json()["events"]] == [200, 404, 200]
    assert [one["status"] for one in answer.json()["events"]] == ["completed", "failed", "completed"]


async def test_events_for_a_site_that_fails_are_named_in_the_answer(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    first, second = await boot(user, cloud, "site1"), await boot(user, cloud, "site2")
    cloud.site("site2").faults.add(Fault("reset", service="compute", method="POST"))
    answer = await admin.post(EVENTS, json={"events": [event(second), event(first)]})
    assert answer.status_code == 207
    codes = [one["code"] for one in answer.json()["events"]]
    assert codes[0] >= 500
    assert codes[1] == 200


async def test_an_event_whose_server_may_be_at_a_site_that_is_away_fails_alone(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    first = await boot(user, cloud, "site1")
    cloud.site("site3").faults.add(Fault("reset", service="compute"))
    answer = await admin.post(EVENTS, json={"events": [event(UNKNOWN), event(first)]})
    assert answer.status_code == 207
    assert [one["code"] for one in answer.json()["events"]] == [503, 200]


async def test_events_for_servers_of_nobody_are_refused_as_nova_does(admin: Client) -> None:
    others = [UNKNOWN, UNKNOWN.replace("9", "8")]
    answer = await admin.post(EVENTS, json={"events": [event(one) for one in others]})
    assert answer.status_code == 207
    assert [one["code"] for one in answer.json()["events"]] == [404, 404]
    assert [one["server_uuid"] for one in answer.json()["events"]] == others


async def test_events_for_servers_that_are_gone_are_each_404(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    """Known to Atoll, and deleted behind its back at two sites."""
    gone = [await boot(user, cloud, f"site{number}") for number in (1, 2)]
    for site, server in zip(cloud.sites, gone, strict=False):
        instance = site.compute.instances.get(server)
        assert instance is not None
        instance.gone = 1
    answer = await admin.post(EVENTS, json={"events": [event(one) for one in [*gone, UNKNOWN]]})
    assert answer.status_code == 207
    assert [one["code"] for one in answer.json()["events"]] == [404, 404, 404]


async def test_events_that_every_site_refuses_are_refused_in_its_words(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    servers = [await boot(user, cloud, f"site{number}") for number in (1, 2)]
    for site in cloud.sites:
        site.faults.add(Fault("status", status=400, service="compute", method="POST"))
    answer = await admin.post(EVENTS, json={"events": [event(one) for one in servers]})
    assert answer.status_code == 400
    assert answer.json()["badRequest"]["code"] == 400


async def test_events_are_the_administrators(user: Client, cloud: Cloud) -> None:
    server = await boot(user, cloud, "site2")
    answer = await user.post(EVENTS, json={"events": [event(server)]})
    assert answer.status_code == 403


def done_at(cloud: Cloud) -> dict[str, list[str]]:
    """The servers that each site carried an event out for."""
    return {site.name: site.compute.events for site in cloud.sites}


GOOD = {"name": "network-changed"}
MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"name": "nope"}, "'nope' is not one of"),
    ({"name": "volume-extended"}, "'volume-extended' is not one of"),  # since 2.51
    ({}, "'name' is a required property"),
    ({**GOOD, "status": "nope"}, "'nope' is not one of"),
    ({**GOOD, "tag": 1}, "1 is not of type 'string'"),
    ({**GOOD, "more": 1}, "Additional properties are not allowed ('more' was unexpected)"),
    ({**GOOD, "server_uuid": "x"}, "'x' is not a 'uuid'"),
    ({**GOOD, "server_uuid": 1}, "1 is not a 'uuid'"),
]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(("bad", "message"), MALFORMED)
@pytest.mark.parametrize("away", ["", "site3"])
async def test_a_batch_with_one_malformed_event_is_refused_whole(
    user: Client, admin: Client, cloud: Cloud, bad: dict[str, Any], message: str, place: int, away: str
) -> None:
    servers = [await boot(user, cloud, f"site{number}") for number in (1, 2)]
    if away:
        cloud.site(away).refuse()
    events = [event(server) for server in servers]
    events.insert(place, {"server_uuid": servers[0], **bad})
    answer = await admin.post(EVENTS, json={"events": events})
    assert answer.status_code == 400
    said = answer.json()["badRequest"]["message"]
    assert message in said
    if bad == {}:
        assert str(events[place]) in said  # the server that was named, no stand-in
    assert all(done == [] for done in done_at(cloud).values())


async def test_a_malformed_event_for_nobody_is_not_hidden_by_good_ones(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    server = await boot(user, cloud, "site2")
    events = [event(server), {"server_uuid": UNKNOWN, "name": "nope"}]
    assert (await admin.post(EVENTS, json={"events": events})).status_code == 400
    assert all(done == [] for done in done_at(cloud).values())


async def test_a_site_that_refuses_the_version_refuses_the_batch(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    servers = [await boot(user, cloud, f"site{number}") for number in (1, 2)]
    cloud.site("site2").compute.max_minor = 60
    answer = await admin.post(
        EVENTS,
        json={"events": [event(server) for server in servers]},
        headers={"OpenStack-API-Version": "compute 2.76"},
    )
    assert answer.status_code == 406
    assert all(done == [] for done in done_at(cloud).values())
