"""One site down or registered wrongly (R3, R12): reported missing, never as empty, never as absent."""

from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.origin import Exchange, Origin
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import SERVERS, UNKNOWN, Client, boot, client_of, server_body

from atoll.sandbox.simulated import Cloud, Fault

MISSING = "x-atoll-missing-sites"
LISTS = [
    SERVERS,
    f"{SERVERS}/detail",
    "/block-storage/v3/volumes/detail",
    "/network/v2.0/networks",
    "/image/v2/images",
    "/compute/v2.1/flavors",
]


@pytest.fixture
async def servers(user: Client, cloud: Cloud) -> dict[str, str]:
    """A server in each site, by the site's name."""
    return {name: await boot(user, cloud, name, name=name) for name in ("site1", "site2", "site3")}


async def test_a_list_lacks_only_the_site_that_is_away_and_says_so(
    user: Client, cloud: Cloud, servers: dict[str, str]
) -> None:
    cloud.site("site2").refuse()
    for path in (SERVERS, f"{SERVERS}/detail"):
        answer = await user.get(path)
        assert answer.status_code == 200
        assert {one["id"] for one in answer.json()["servers"]} == {servers["site1"], servers["site3"]}
        assert answer.headers[MISSING].startswith("site2 (")
        assert "site1" not in answer.headers[MISSING]


@pytest.mark.parametrize("path", LISTS)
async def test_every_list_names_the_missing_site(user: Client, cloud: Cloud, path: str) -> None:
    cloud.site("site3").refuse()
    answer = await user.get(path)
    assert answer.status_code == 200
    assert "site3" in answer.headers[MISSING]


@pytest.mark.parametrize("path", LISTS)
async def test_with_all_sites_nothing_is_said_to_be_missing(user: Client, path: str) -> None:
    answer = await user.get(path)
    assert answer.status_code == 200
    assert MISSING not in answer.headers


async def test_a_client_may_refuse_a_partial_list(user: Client, cloud: Cloud) -> None:
    cloud.site("site2").refuse()
    answer = await user.get(SERVERS, headers={"X-Atoll-Partial": "refuse"})
    assert answer.status_code == 503
    assert "site2" in answer.text
    assert (await user.get(SERVERS, headers={"X-Atoll-Partial": "perhaps"})).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        f"{SERVERS}?name=site1",
        f"{SERVERS}/detail?ip=10.0.0.1",
        "/network/v2.0/networks?name=private",
        "/network/v2.0/ports?id=" + UNKNOWN,
        "/image/v2/images?name=cirros",
        "/block-storage/v3/volumes?name=v",
    ],
)
async def test_a_list_that_looks_something_up_is_503(user: Client, cloud: Cloud, path: str) -> None:
    """`openstack server show NAME` asks so: an empty list would be a quiet lie."""
    cloud.site("site2").refuse()
    answer = await user.get(path)
    assert answer.status_code == 503
    assert "site2" in answer.text
    assert answer.headers.get("retry-after")
    partial = await user.get(path, headers={"X-Atoll-Partial": "allow"})
    assert partial.status_code == 200
    assert "site2" in partial.headers[MISSING]


async def test_a_deployment_may_be_strict(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), gateway={"partial": "strict"})
    cloud.site("site1").refuse()
    async with client_of(atoll, cloud.keystone.token()) as client:
        assert (await client.get(SERVERS)).status_code == 503
        assert (await client.get(SERVERS, headers={"X-Atoll-Partial": "allow"})).status_code == 200


async def test_no_site_at_all_is_503(user: Client, cloud: Cloud) -> None:
    for site in cloud.sites:
        site.refuse()
    for path in LISTS:
        assert (await user.get(path)).status_code == 503, path


async def test_by_id_503_while_it_may_be_where_nobody_answers(user: Client, cloud: Cloud) -> None:
    for service in ("compute/v2.1/servers", "block-storage/v3/volumes", "network/v2.0/ports"):
        assert (await user.get(f"/{service}/{UNKNOWN}")).status_code == 404
    cloud.site("site2").refuse()
    other = UNKNOWN.replace("9", "8")
    for service in (
        "compute/v2.1/servers",
        "block-storage/v3/volumes",
        "network/v2.0/ports",
        "image/v2/images",
    ):
        answer = await user.get(f"/{service}/{other}")
        assert answer.status_code == 503, service
        assert "site2" in answer.text
    await cloud.site("site2").start()


async def test_what_is_elsewhere_goes_on(user: Client, cloud: Cloud, servers: dict[str, str]) -> None:
    cloud.site("site2").refuse()
    assert (await user.get(f"{SERVERS}/{servers['site1']}")).status_code == 200
    away = await user.get(f"{SERVERS}/{servers['site2']}")
    assert away.status_code == 503
    assert "site2" in away.text
    assert (await user.delete(f"{SERVERS}/{servers['site3']}")).status_code == 204


async def test_a_create_goes_where_something_answers(user: Client, cloud: Cloud) -> None:
    cloud.site("site1").refuse()
    for _ in range(4):  # until the site is known to be away, it may be chosen and refuse
        await user.get(SERVERS)
    for _ in range(3):
        await boot(user, cloud)
    answer = await user.post(SERVERS, json=server_body(cloud, availability_zone="site1"))
    assert answer.status_code == 503
    assert "site1" in answer.text


async def test_a_sum_that_lacks_a_site_is_no_sum(user: Client, cloud: Cloud) -> None:
    assert (await user.get("/compute/v2.1/limits")).status_code == 200
    cloud.site("site2").refuse()
    answer = await user.get("/compute/v2.1/limits")
    assert answer.status_code == 503
    assert "site2" in answer.text


# -- R12 ------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[int, bytes, bytes]] = {
    "another service's JSON": (200, b"application/json", b'{"versions": []}'),
    "a JSON array": (200, b"application/json", b"[]"),
    "a JSON string": (200, b"application/json", b'"servers"'),
    "null for the list": (200, b"application/json", b'{"servers": null, "networks": null}'),
    "an object for the list": (200, b"application/json", b'{"servers": {}, "networks": {}}'),
    "items that are none": (200, b"application/json", b'{"servers": [1, "x"], "networks": [1]}'),
    "half of it": (200, b"application/json", b'{"servers": ['),
    "nothing": (200, b"application/json", b""),
    "a web page": (200, b"text/html", b"<html>It works!</html>"),
    "a login page": (302, b"text/html", b""),
    "no content": (204, b"application/json", b""),
    "another service's 404": (404, b"text/html", b"<html>Not Found</html>"),
    "a load balancer's 502": (502, b"text/html", b"<html>Bad Gateway</html>"),
    "bytes": (200, b"application/json", b'{"servers": [{"id": "\xff\xfe"}], "networks": [{"id": "\xff"}]}'),
}


@pytest.fixture
async def wrong(request: pytest.FixtureRequest, start_atoll: StartAtoll, cloud: Cloud) -> Any:
    """A gateway one of whose sites is registered with the endpoints of something else."""
    status, kind, body = WRONG[request.param]

    async def script(exchange: Exchange) -> None:
        await exchange.body()
        lines = [b"Content-Type: " + kind] + [b"Location: http://login.example/"] * (status == 302)
        await exchange.answer(status, body, *lines)

    async with Origin(script) as origin:
        endpoints = {"compute": f"{origin.url}/compute/v2.1", "network": f"{origin.url}/network"}
        sites = {**sites_of(cloud, "site1"), "odd": {"region": "odd", "endpoints": endpoints}}
        atoll = await start_atoll(cloud.keystone.auth_url, sites)
        async with client_of(atoll, cloud.keystone.token()) as client:
            yield client


@pytest.mark.parametrize("wrong", WRONG, indirect=True)
async def test_a_wrong_endpoint_is_named_in_lists_and_never_empty(wrong: Client, cloud: Cloud) -> None:
    await boot(wrong, cloud, "site1")
    for path in (f"{SERVERS}/detail", "/network/v2.0/networks"):
        answer = await wrong.get(path)
        assert answer.status_code == 200, answer.text
        assert "odd" in answer.headers[MISSING]
        assert len(answer.json()[path.split("/")[3]]) >= 1
        looked_up = await wrong.get(path + "?name=x")
        assert looked_up.status_code == 503
        assert "odd" in looked_up.text


@pytest.mark.parametrize(
    "wrong", [name for name, (status, _, _) in WRONG.items() if status != 404], indirect=True
)
async def test_a_wrong_endpoint_does_not_say_that_a_thing_is_nowhere(wrong: Client) -> None:
    answer = await wrong.get(f"{SERVERS}/{UNKNOWN}")
    assert answer.status_code in {502, 503}
    assert "odd" in answer.text


@pytest.mark.parametrize("wrong", WRONG, indirect=True)
async def test_a_wrong_endpoint_is_no_part_of_a_sum(wrong: Client) -> None:
    answer = await wrong.get("/compute/v2.1/limits")
    assert answer.status_code >= 400


async def test_a_site_that_answers_as_another_resource_is_not_believed(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    """A search that finds something under another id has found nothing."""
    cloud.site("site2").faults.add(Fault("wrong_json", service="compute", method="GET", path=UNKNOWN))
    answer = await user.get(f"{SERVERS}/{UNKNOWN}")
    assert answer.status_code in {502, 503}
    assert "site2" in answer.text
    del atoll
