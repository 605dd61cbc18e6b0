"""Faults on demand: what a client of a simulated site meets."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.running import until
from tests.wire.conftest import pass_time

from atoll.sandbox.simulated import Cloud, Fault, Site

TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # an empty one: loading the default takes longer than a test

SERVERS = "/compute/v2.1/servers"


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    async with Cloud(1) as cloud:
        yield cloud
        assert cloud.sites[0].listener.server.errors == []


@pytest.fixture
def site(cloud: Cloud) -> Site:
    return cloud.sites[0]


@pytest.fixture
async def client(cloud: Cloud, site: Site) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"X-Auth-Token": cloud.keystone.token()}
    async with httpx.AsyncClient(verify=TLS, base_url=site.url, headers=headers, timeout=30) as client:
        yield client


async def test_latency_and_its_end(site: Site, client: httpx.AsyncClient) -> None:
    site.faults.add(Fault("latency", seconds=0.1, count=1))
    started = time.monotonic()
    assert (await client.get(SERVERS)).status_code == 200
    assert time.monotonic() - started >= 0.1
    assert not site.faults


async def test_latency_distributions(site: Site, client: httpx.AsyncClient) -> None:
    site.faults.add(Fault("latency", distribution="uniform", low=0.0, high=0.01))
    site.faults.add(Fault("latency", distribution="normal", seconds=0.005, deviation=0.01))
    for _ in range(3):
        assert (await client.get(SERVERS)).status_code == 200
    assert len(site.faults.hits) == 6


async def test_stall_never_answers(site: Site, client: httpx.AsyncClient) -> None:
    site.faults.add(Fault("stall", count=1))
    asking = asyncio.ensure_future(client.get(SERVERS))
    await until(lambda: site.faults.hits)
    pass_time(15)
    await asyncio.sleep(0.02)
    assert not asking.done()
    pass_time(16)
    with pytest.raises(httpx.ReadTimeout):
        await asking
    assert (await client.get(SERVERS)).status_code == 200


async def test_refuse_until_cleared(site: Site, client: httpx.AsyncClient) -> None:
    site.faults.add(Fault("refuse"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(httpx.ConnectError):
        await client.get(SERVERS)
    site.faults.clear()
    await until(lambda: site.listener.server.listening)
    assert (await client.get(SERVERS)).status_code == 200


async def test_refuse_for_a_while(site: Site, client: httpx.AsyncClient) -> None:
    site.faults.add(Fault("refuse", seconds=20))
    await asyncio.sleep(0.01)
    with pytest.raises(httpx.ConnectError):
        await client.get(SERVERS)
    pass_time(21)
    await until(lambda: site.listener.server.listening)
    assert (await client.get(SERVERS)).status_code == 200


async def test_reset(site: Site, client: httpx.AsyncClient) -> None:
    site.faults.add(Fault("reset", count=1))
    with pytest.raises(httpx.ReadError):
        await client.get(SERVERS)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        (SERVERS, '{"serviceUnavailable": {"code": 503, "message": '),
        ("/volume/v3/volumes", '{"serviceUnavailable": {"code": 503, "message": '),
        ("/network/v2.0/networks", '{"NeutronError": {"type": "HTTPServiceUnavailable", "message": '),
        ("/image/v2/images", "503 Service Unavailable\n\n"),
    ],
)
async def test_status_in_each_dialect(site: Site, client: httpx.AsyncClient, path: str, shape: str) -> None:
    site.faults.add(Fault("status", status=503, retry_after=7))
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert answer.text.startswith(shape)


async def test_rate_limit_and_expired_token(site: Site, client: httpx.AsyncClient) -> None:
    site.faults.add(Fault("rate_limit", retry_after=3, count=1), Fault("expired_token", count=1))
    limited, expired, good = [await client.get(SERVERS) for _ in range(3)]
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "3")
    assert (expired.status_code, "www-authenticate" in expired.headers) == (401, True)
    assert good.status_code == 200


async def test_only_what_matches_is_hit(site: Site, client: httpx.AsyncClient) -> None:
    site.faults.add(Fault("status", service="compute", method="GET", path=r"flavors/\d+$"))
    assert (await client.get("/compute/v2.1/flavors/42")).status_code == 500
    assert (await client.get("/compute/v2.1/flavors")).status_code == 200
    assert (await client.get("/image/v2/images")).status_code == 200


async def test_body_cut_in_the_middle(site: Site, client: httpx.AsyncClient) -> None:
    site.faults.add(Fault("cut", count=1))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/compute/v2.1/flavors/detail")


async def test_wrong_contents(site: Site, client: httpx.AsyncClient) -> None:
    site.faults.add(Fault("not_json", count=1), Fault("wrong_json", count=1), Fault("other_id", count=1))
    html, shape, other = [await client.get(f"/image/v2/images/{site.image_id('cirros')}") for _ in range(3)]
    assert (html.status_code, html.headers["content-type"]) == (200, "text/html")
    assert isinstance(shape.json(), list)
    assert other.json()["id"] != site.image_id("cirros")


async def test_die_after_commit_does_the_work(site: Site, client: httpx.AsyncClient) -> None:
    site.faults.add(Fault("die_after_commit", method="POST", count=1))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post("/volume/v3/volumes", json={"volume": {"size": 1}})
    assert len(site.block_storage.volumes) == 1


async def test_stale_keep_alive(site: Site, client: httpx.AsyncClient) -> None:
    assert (await client.get(SERVERS)).status_code == 200
    site.faults.add(Fault("stale", count=1))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(SERVERS)
    assert (await client.get(SERVERS)).status_code == 200


async def test_idle_connections_are_closed(site: Site, client: httpx.AsyncClient) -> None:
    site.faults.add(Fault("idle", seconds=20))
    await client.get(SERVERS)
    assert len(site.listener.server.connections) == 1
    pass_time(21)
    await until(lambda: not site.listener.server.connections)


async def test_connection_close_by_service(site: Site, client: httpx.AsyncClient) -> None:
    site.listener.closing.add("image")
    assert (await client.get("/image/v2/images")).headers["connection"] == "close"
    assert "connection" not in (await client.get(SERVERS)).headers


async def test_faults_over_http(site: Site, client: httpx.AsyncClient) -> None:
    given = [{"kind": "status", "status": 502, "count": 1}, {"kind": "latency", "seconds": 0.001}]
    assert len((await client.post("/_faults", json=given)).json()["faults"]) == 2
    assert (await client.get(SERVERS)).status_code == 502
    assert (await client.delete("/_faults")).json() == {"faults": []}
    for wrong in ({"kind": "nope"}, {"kind": "status", "path": "("}, {"kind": "status", "nope": 1}):
        assert (await client.post("/_faults", json=wrong)).status_code == 400
    assert not site.faults


async def test_keystone_has_faults_too(cloud: Cloud) -> None:
    cloud.keystone.faults.add(Fault("status", status=503, count=1))
    async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
        answer = await client.get(cloud.keystone.auth_url)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, 503)
        assert (await client.get(cloud.keystone.auth_url)).status_code == 200


async def test_requests_are_seen_and_bodies_kept(site: Site, client: httpx.AsyncClient) -> None:
    body = b'{"server":  {"name":"x", "unknown_field": 1}}'
    await client.post(SERVERS, content=body, headers={"X-OpenStack-Request-ID": "req-1"})
    seen = site.listener.seen[-1]
    assert (seen.method, seen.target, seen.status) == ("POST", SERVERS, 400)
    assert ("x-openstack-request-id", "req-1") in seen.headers
    assert site.compute.received[-1] == body
