"""A path means what it means to the services, however it is written: several slashes are one, for one."""

import json

import pytest
from tests.conftest import StartAtoll
from tests.raw import connected
from tests.running import sites_of
from tests.scenarios.conftest import SERVERS, ZONES, Client, boot, client_of, created_anywhere, server_body

from atoll.sandbox.simulated import Cloud


@pytest.mark.parametrize("path", [
    "/compute/v2.1//servers", "/compute/v2.1//servers//detail", "/block-storage/v3//volumes",
    "/image/v2//images", "/network/v2.0//networks",
])  # fmt: skip
async def test_a_list_is_that_of_all_sites(user: Client, cloud: Cloud, path: str) -> None:
    for _ in cloud.sites:
        await boot(user, cloud)
    plain, odd = await user.get(path.replace("//", "/")), await user.get(path)
    assert (odd.status_code, odd.json()) == (200, plain.json())


async def test_next_links_go_on_over_all_sites(user: Client, cloud: Cloud) -> None:
    for _ in range(4):
        await boot(user, cloud)
    plain = [one["id"] for one in (await user.get(SERVERS)).json()["servers"]]
    assert len(plain) > 2
    found, path = [], "/compute/v2.1//servers?limit=1"
    while path:
        answer = (await user.get(path)).json()
        found += [one["id"] for one in answer["servers"]]
        path = next((one["href"] for one in answer.get("servers_links", ())), "")
    assert found == plain


WAYS = ("v2.1//servers", "v2.1/%2fservers", "v2.1/./servers", "v2.1/x/../servers", "v2.1/%2E/servers")


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_created_is_placed_and_found_again(
    start_atoll: StartAtoll, cloud: Cloud, way: str
) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    token = cloud.keystone.token()
    async with connected(atoll.port) as raw:

        async def asked(method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
            head = f"{method} /compute/{path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\n"
            kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            answer = await raw.ask((head + kind).encode() + body)
            return answer.status, answer.body

        for zone, place in ZONES.items():
            body = json.dumps(server_body(cloud, availability_zone=zone)).encode()
            status, text = await asked("POST", way, body)
            assert (status, created_anywhere(cloud)) == (
                202, {site.name: site.name == place["site"] for site in cloud.sites},
            )  # fmt: skip
            ident = json.loads(text)["server"]["id"]
            assert (await asked("GET", f"{way}/{ident}"))[0] == 200
            assert (await asked("GET", f"v2.1/servers%2F{ident}"))[0] == 200
            assert (await asked("DELETE", f"{way}/{ident}"))[0] == 204
            assert not any(created_anywhere(cloud).values())


@pytest.mark.parametrize(
    "path", ["v2.1%2fservers", "%2fv2.1/servers", "./v2.1/servers", "x/../v2.1/servers", "v2.1/servers/../.."]
)
async def test_what_names_no_version_reaches_no_list(user: Client, cloud: Cloud, path: str) -> None:
    await boot(user, cloud)
    async with connected(user.base_url.port or 0) as raw:
        head = f"GET /compute/{path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {user.token}\r\n\r\n"
        answer = await raw.ask(head.encode())
        assert (answer.status in {200, 300, 404}, b'"servers"' in answer.body) == (True, False)


async def test_a_flood_is_held_back_whatever_the_slashes(start_atoll: StartAtoll, cloud: Cloud) -> None:
    limits = {"fan_out_per_second": 1, "fan_out_burst": 3}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=limits)
    async with client_of(atoll, cloud.keystone.token()) as client:
        answers = [await client.get("/compute/v2.1" + "/" * at + "servers") for at in range(1, 6)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]


async def test_several_at_the_end_are_a_trailing_slash(user: Client) -> None:
    for end in ("/", "///"):
        assert (await user.get(SERVERS + end)).status_code == 404
