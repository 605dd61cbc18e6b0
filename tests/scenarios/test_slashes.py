"""A path means what it means to the services, however it is written: several slashes are one, for one."""

import json
from functools import partial

import pytest
from tests.conftest import StartAtoll
from tests.raw import Raw, connected
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


WAYS = (
    "v2.1//servers", "v2.1/%2fservers", "v2.1/./servers", "v2.1/x/../servers", "v2.1/%2E/servers",
    "/v2.1/servers", "v2.1%2fservers", "%2fv2.1/servers", "./v2.1/servers", "x/../v2.1/servers",
    "%76%32.1/servers", "v2.1/%73ervers", "v2.1/{project}/servers",
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_created_is_placed_and_found_again(
    start_atoll: StartAtoll, cloud: Cloud, way: str
) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    project = cloud.keystone.project_id("demo")
    way = way.format(project=f"%{ord(project[0]):x}{project[1:]}")
    async with connected(atoll.port) as raw:
        asked = partial(ask, raw, cloud.keystone.token())
        for zone, place in ZONES.items():
            body = json.dumps(server_body(cloud, availability_zone=zone)).encode()
            status, text = await asked("POST", f"/compute/{way}", body)
            assert (status, created_anywhere(cloud)) == (
                202, {site.name: site.name == place["site"] for site in cloud.sites},
            )  # fmt: skip
            ident = json.loads(text)["server"]["id"]
            assert (await asked("GET", f"/compute/{way}/{ident}"))[0] == 200
            assert (await asked("GET", f"/compute/v2.1/servers%2F{ident}"))[0] == 200
            assert (await asked("DELETE", f"/compute/{way}/{ident}"))[0] == 204
            assert not any(created_anywhere(cloud).values())


async def ask(
    raw: Raw, token: str, method: str, path: str, body: bytes = b"", accept: str = "*/*"
) -> tuple[int, bytes]:
    """(status, body) of what a path gets as it is written: clients of others straighten it."""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\nAccept: {accept}\r\n"
    kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n" if body else "\r\n"
    answer = await raw.ask((head + kind).encode() + body)
    return answer.status, answer.body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/compute/v9/servers", 404),
        ("GET", "/image/v2.5/images", 404),
        ("GET", "/image/images", 404),
        ("POST", "/image/images", 404),
        ("POST", "/compute/v2.1", 404),
        ("DELETE", "/network/networks", 404),
        ("GET", "/compute/v2.1/servers%0A", 400),
        ("POST", "/compute/v2.1/servers%0a", 400),
        ("GET", "/block-storage/v3/volumes%00", 400),
        ("GET", "/compute/v2.1/servers%", 400),
        ("GET", "/compute/v2.1/%%32Fservers", 400),
    ],
)
async def test_what_a_site_might_take_for_something_else_reaches_none(
    user: Client, cloud: Cloud, method: str, path: str, status: int
) -> None:
    async with connected(user.base_url.port or 0) as raw:
        before = [len(site.listener.seen) for site in cloud.sites]
        body = json.dumps(server_body(cloud)).encode() if method == "POST" else b""
        accept = "application/vnd.openstack.images-v2"
        assert (await ask(raw, user.token, method, path, body, accept))[0] == status
        assert [len(site.listener.seen) for site in cloud.sites] == before


async def test_steps_up_end_at_the_versions(user: Client, cloud: Cloud) -> None:
    async with connected(user.base_url.port or 0) as raw:
        plain = await ask(raw, user.token, "GET", "/compute/")
        assert await ask(raw, user.token, "GET", "/compute/v2.1/servers/../../..") == plain
    assert not any("servers" in seen.target for site in cloud.sites for seen in site.listener.seen)


async def test_a_collection_of_cinders_with_its_format(user: Client) -> None:
    for at in range(4):
        body = {"volume": {"name": f"v{at}", "size": 1}}
        answer = await user.post("/block-storage/v3/volumes.json", json=body)
        assert answer.status_code == 202, answer.text
    plain = (await user.get("/block-storage/v3/volumes")).json()
    assert len(plain["volumes"]) == 4
    assert (await user.get("/block-storage/v3/volumes.json")).json() == plain


async def test_a_flood_is_held_back_whatever_the_slashes(start_atoll: StartAtoll, cloud: Cloud) -> None:
    limits = {"fan_out_per_second": 1, "fan_out_burst": 3}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=limits)
    async with client_of(atoll, cloud.keystone.token()) as client:
        answers = [await client.get("/compute/v2.1" + "/" * at + "servers") for at in range(1, 6)]
        assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]


async def test_several_at_the_end_are_a_trailing_slash(user: Client) -> None:
    for end in ("/", "///"):
        assert (await user.get(SERVERS + end)).status_code == 404
