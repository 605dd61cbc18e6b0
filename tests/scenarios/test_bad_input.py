"""What bad input gets: the fault of the service that was called, nothing forwarded, nothing left behind."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.origin import Origin
from tests.raw import connected
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import (
    SERVERS,
    UNKNOWN,
    Client,
    boot,
    client_of,
    created_anywhere,
    server_body,
    writes,
)
from tests.scenarios.keystones import keystone_of

from atoll.sandbox.simulated import Cloud

# service -> a path of it, and the one member its fault bodies have
SERVICES = {
    "compute": ("/compute/v2.1/servers", None),
    "block-storage": ("/block-storage/v3/volumes", None),
    "network": ("/network/v2.0/networks", "NeutronError"),
    "image": ("/image/v2/images", None),
}


@pytest.fixture
def made_before() -> None:
    """Say that a test makes servers to begin with, and counts them itself."""


@pytest.fixture(autouse=True)
def nothing_left_behind(cloud: Cloud, request: pytest.FixtureRequest) -> Iterator[None]:
    """No site has anything that it had not before, and none was told to make it."""
    yield
    if "made_before" not in request.fixturenames:
        assert set(created_anywhere(cloud).values()) == {0}


def fault_of(answer: Any) -> tuple[int, str]:
    """The code and message in a fault of Nova's or Cinder's."""
    ((_, fault),) = answer.json().items()
    return fault["code"], fault["message"]


async def test_an_unknown_zone(user: Client, cloud: Cloud) -> None:
    answer = await user.post(SERVERS, json=server_body(cloud, availability_zone="atlantis"))
    assert fault_of(answer) == (400, "The requested availability zone is not available")
    volume = await user.post(
        "/block-storage/v3/volumes", json={"volume": {"size": 1, "availability_zone": "atlantis"}}
    )
    assert volume.status_code == 400
    assert "atlantis" in volume.text
    assert writes(cloud) == []


async def test_things_of_different_sites_are_refused_with_their_sites_named(
    user: Client, cloud: Cloud
) -> None:
    volume = await user.post(
        "/block-storage/v3/volumes", json={"volume": {"size": 1, "availability_zone": "site3"}}
    )
    volume_id = volume.json()["volume"]["id"]
    network = next(
        one["id"]
        for one in cloud.site("site2").network.records.of("networks").values()
        if one["name"] == "private"
    )
    for site in cloud.sites:
        site.listener.seen.clear()
    device = [{"uuid": volume_id, "source_type": "volume", "destination_type": "volume", "boot_index": 0}]
    body = server_body(cloud, networks=[{"uuid": network}], block_device_mapping_v2=device)
    answer = await user.post(SERVERS, json=body)
    assert answer.status_code == 409
    for part in (volume_id, network, "site2", "site3"):
        assert part in answer.text
    zoned = await user.post(
        SERVERS, json=server_body(cloud, networks=[{"uuid": network}], availability_zone="site1")
    )
    assert zoned.status_code == 409
    for part in (network, "site1", "site2"):
        assert part in zoned.text
    assert writes(cloud) == []


@pytest.mark.usefixtures("made_before")
async def test_contradictory_hints(user: Client, cloud: Cloud) -> None:
    first, second = await boot(user, cloud, "site1"), await boot(user, cloud, "site2")
    body = {**server_body(cloud), "os:scheduler_hints": {"same_host": [first, second]}}
    answer = await user.post(SERVERS, json=body)
    assert answer.status_code == 409
    assert first in answer.text
    assert second in answer.text
    assert sum(created_anywhere(cloud).values()) == 2


@pytest.mark.usefixtures("made_before")
async def test_a_volume_of_another_site_is_not_attached(user: Client, cloud: Cloud) -> None:
    server = await boot(user, cloud, "site1")
    volume = await user.post(
        "/block-storage/v3/volumes", json={"volume": {"size": 1, "availability_zone": "site3"}}
    )
    volume_id = volume.json()["volume"]["id"]
    before = writes(cloud)
    attachment = {"volumeAttachment": {"volumeId": volume_id}}
    answer = await user.post(f"{SERVERS}/{server}/os-volume_attachments", json=attachment)
    assert answer.status_code == 409
    for part in (volume_id, server, "site1", "site3"):
        assert part in answer.text
    assert writes(cloud) == before


@pytest.mark.usefixtures("made_before")
async def test_what_is_nowhere_is_not_found_whatever_the_body_names(user: Client) -> None:
    """Not a conflict with a site that it is not at."""
    volume = await user.post(
        "/block-storage/v3/volumes", json={"volume": {"size": 1, "availability_zone": "site3"}}
    )
    attachment = {"volumeAttachment": {"volumeId": volume.json()["volume"]["id"]}}
    answer = await user.post(f"{SERVERS}/{UNKNOWN}/os-volume_attachments", json=attachment)
    assert fault_of(answer) == (404, f"Instance {UNKNOWN} could not be found.")
    assert "site" not in answer.text


async def test_names_of_nothing_are_refused_as_the_service_does(user: Client, cloud: Cloud) -> None:
    for fields in ({"imageRef": UNKNOWN}, {"flavorRef": "9999"}, {"networks": [{"uuid": UNKNOWN}]}):
        answer = await user.post(SERVERS, json=server_body(cloud, **fields))
        assert answer.status_code in {400, 404}, fields
        assert answer.headers["content-type"].startswith("application/json")


async def test_a_body_that_is_too_large(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits={"body_bytes": 2048})
    async with client_of(atoll, cloud.keystone.token()) as client:
        answer = await client.post(SERVERS, json=server_body(cloud, user_data="x" * 4096))
        assert answer.status_code == 413
        assert "2048" in answer.text
    request = b"POST %b HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % (
        SERVERS.encode(),
        cloud.keystone.token().encode(),
    )
    async with connected(atoll.port) as raw:
        await raw.send(request + b"1000\r\n" + b"x" * 4096 + b"\r\n0\r\n\r\n")
        assert (await raw.answer(b"POST")).status == 413
    async with connected(atoll.port) as raw:
        length = request.replace(
            b"Transfer-Encoding: chunked", b"Content-Length: 99999\r\nExpect: 100-continue"
        )
        answered = await raw.ask(length)
        assert (answered.status, answered.informational) == (413, []), "not asked for, only to be thrown away"
    assert writes(cloud) == []


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded"])
async def test_a_body_of_another_type(user: Client, kind: str) -> None:
    answer = await user.post(SERVERS, content=b"<server/>", headers={"Content-Type": kind})
    assert answer.status_code in {400, 415}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("token", ["", "no-such-token", "x" * 9000, "a b"])
async def test_without_a_good_token_nothing_is_asked(
    atoll: Atoll, cloud: Cloud, service: str, token: str
) -> None:
    for site in cloud.sites:
        site.listener.seen.clear()
    path, _ = SERVICES[service]
    async with atoll.client(token) as client:
        for target in (path, f"{path}/{UNKNOWN}"):
            answer = await client.get(target)
            assert answer.status_code == 401 or (token == "a b" and answer.status_code == 400)
            if answer.status_code == 401:
                assert answer.headers["www-authenticate"].startswith("Keystone uri=")
            made = await client.post(target, json={})
            assert made.status_code == answer.status_code
    assert [seen for site in cloud.sites for seen in site.listener.seen] == []


async def test_an_expired_and_a_revoked_token(atoll: Atoll, cloud: Cloud) -> None:
    for spoil in ({"expires_at": 1.0}, {"revoked": True}):
        token = cloud.keystone.token()
        for name, value in spoil.items():
            setattr(cloud.keystone.store.tokens[token], name, value)
        async with atoll.client(token) as client:
            assert (await client.get(SERVERS)).status_code == 401
    assert all(
        seen.status != 200 for site in cloud.sites for seen in site.listener.seen if "servers" in seen.target
    )


async def test_a_token_revoked_through_us_is_dead_at_once(user: Client, cloud: Cloud) -> None:
    assert (await user.get(SERVERS)).status_code == 200
    answer = await user.delete("/identity/v3/auth/tokens", headers={"X-Subject-Token": user.token})
    assert answer.status_code == 204
    for site in cloud.sites:
        site.listener.seen.clear()
    assert (await user.get(SERVERS)).status_code == 401


async def test_a_token_of_another_keystone(atoll: Atoll) -> None:
    async with Cloud(1) as other, atoll.client(other.keystone.token()) as client:
        assert (await client.get(SERVERS)).status_code == 401


async def test_two_tokens_are_nobodys(atoll: Atoll, cloud: Cloud) -> None:
    """Joined or not, whichever counted here might not count at the site."""
    mine, admins = cloud.keystone.token().encode(), cloud.keystone.token("admin").encode()
    for site in cloud.sites:
        site.listener.seen.clear()
    for first, second in ((mine, admins), (admins, mine), (mine, mine)):
        async with connected(atoll.port) as raw:
            answer = await raw.ask(
                b"GET %b HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %b\r\nX-Auth-Token: %b\r\n\r\n"
                % (SERVERS.encode(), first, second)
            )
            assert answer.status == 400
    assert [seen for site in cloud.sites for seen in site.listener.seen] == []


async def test_a_token_under_a_spelling_of_its_own_is_none(atoll: Atoll, cloud: Cloud) -> None:
    """A WSGI service would take X_Auth_Token for X-Auth-Token: one for us and another for the site."""
    mine, admins = cloud.keystone.token().encode(), cloud.keystone.token("admin").encode()
    for site in cloud.sites:
        site.listener.seen.clear()
    async with connected(atoll.port) as raw:
        await raw.ask(
            b"GET %b HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %b\r\nX_Auth_Token: %b\r\n\r\n"
            % (SERVERS.encode(), mine, admins)
        )
    sent = [pair for site in cloud.sites for seen in site.listener.seen for pair in seen.headers]
    assert all(value.encode() != admins for _, value in sent)


@pytest.mark.parametrize("path", ["/compute/v2.1/{}/servers", "/block-storage/v3/{}/volumes"])
async def test_another_project_in_the_path(user: Client, cloud: Cloud, path: str) -> None:
    mine, other = cloud.keystone.project_id("demo"), cloud.keystone.project_id("alt_demo")
    assert (await user.get(path.format(mine))).status_code == 200
    for site in cloud.sites:
        site.listener.seen.clear()
    answer = await user.get(path.format(other))
    assert fault_of(answer)[0] == 400
    assert "Malformed request url" in fault_of(answer)[1].replace("URL", "url")
    assert (await user.post(path.format(other), json={})).status_code == 400
    assert [seen for site in cloud.sites for seen in site.listener.seen] == []


@pytest.mark.parametrize("service", SERVICES)
async def test_a_system_scoped_token(start_atoll: StartAtoll, cloud: Cloud, service: str) -> None:
    """Refused here, for the sites would take it for more than it is."""
    path, envelope = SERVICES[service]
    async with Origin(keystone_of({"system": {"all": True}})) as origin:
        atoll = await start_atoll(f"{origin.url}/identity/v3", sites_of(cloud))
        for site in cloud.sites:
            site.listener.seen.clear()
        async with atoll.client("special") as client:
            answer = await client.get(path)
            assert answer.status_code == 403
            assert envelope is None or envelope in answer.json()
            assert (await client.post(path, json={})).status_code == 403
            assert (await client.get(f"{path}/{UNKNOWN}")).status_code == 403
        await atoll.end()
    asked = [seen.target for site in cloud.sites for seen in site.listener.seen]
    assert all("servers" not in one and "volumes" not in one for one in asked)


@pytest.mark.parametrize("path", [
    "/compute/v2.1/servers/../../../etc/passwd", "/compute/v2.1/servers/%2e%2e", "//compute/v2.1/servers",
    "/compute/v2.1/servers/%00", "/compute/v2.1/servers/" + "a" * 300, "/compute/v9/servers", "/nothing",
    "/compute/v2.1/nothing", "/network/v2.0/networks/%ff", "/image/v2/images/..%2f..%2f",
])  # fmt: skip
async def test_odd_paths_are_never_an_accident(user: Client, atoll: Atoll, path: str) -> None:
    request = b"GET %b HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %b\r\n\r\n" % (path.encode(), user.token.encode())
    async with connected(atoll.port) as raw:
        answer = await raw.ask(request)
        assert (200 <= answer.status < 500, b'"servers"' in answer.body) == (True, False)


async def test_a_project_that_floods_is_held_back(start_atoll: StartAtoll, cloud: Cloud) -> None:
    limits = {"fan_out_per_second": 1, "fan_out_burst": 3}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=limits)
    async with client_of(atoll, cloud.keystone.token()) as client:
        answers = [await client.get(SERVERS) for _ in range(5)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        assert (await other.get(SERVERS)).status_code == 200
