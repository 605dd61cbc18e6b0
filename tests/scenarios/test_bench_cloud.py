"""The measurement's sites answer lists as the simulated ones do: same form, same pages, same links."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from bench.cloud import LAYOUTS, listen
from bench.cloud import Cloud as Lean
from bench.processes import free_ports
from tests.running import TLS

from atoll.sandbox.simulated import Cloud

PER_SITE = 7


@pytest.fixture
async def lean() -> AsyncIterator[Lean]:
    """Two lean sites without delay."""
    ports = free_ports(2)
    cloud = Lean(ports, PER_SITE, 0.0)
    servers = await listen(cloud, ports)
    yield cloud
    for server in servers:
        server.close()


def form(value: Any) -> Any:
    """What a value is made of: the keys of objects, the form of the first element of arrays, types."""
    if isinstance(value, dict):
        return {key: form(one) for key, one in value.items() if key != "metadata"}
    if isinstance(value, list):
        return [form(one) for one in value[:1]]
    return type(value).__name__


async def page(client: httpx.AsyncClient, base: str, path: str) -> dict[str, Any]:
    """A page of a site, straight."""
    answer = await client.get(base + path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("path", ["/servers", "/servers/detail"])
async def test_pages_are_alike(lean: Lean, cloud: Cloud, path: str) -> None:
    cloud.bulk(PER_SITE * 3, "uniform")
    theirs, ours = f"{cloud.sites[0].url}/compute/v2.1", f"{lean.sites[0].base}/v2.1"
    async with httpx.AsyncClient(verify=TLS, headers={"X-Auth-Token": cloud.keystone.token()}) as client:
        for query in ("", "?limit=3", f"?limit={PER_SITE}"):
            one = await page(client, theirs, path + query)
            other = await page(client, ours, path + query)
            assert len(one["servers"]) == len(other["servers"])
            assert form(one.get("servers_links")) == form(other.get("servers_links")), query
            expected, found = form(one["servers"][0]), form(other["servers"][0])
            # Whether a server has a key, a volume, an address is no matter of form.
            for key in ("addresses", "key_name", "os-extended-volumes:volumes_attached"):
                expected.pop(key, None)
                found.pop(key, None)
            assert found == expected
            if "servers_links" in one:
                links = [urlsplit(each["servers_links"][0]["href"]) for each in (one, other)]
                asked = [parse_qs(link.query) for link in links]
                assert asked[0].keys() == asked[1].keys()
                assert asked[1]["marker"] == [other["servers"][-1]["id"]]
                assert links[1].path.endswith(path)


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_all_pages_are_the_list_newest_first(lean: Lean, layout: str) -> None:
    lean.lay_out(layout)
    async with httpx.AsyncClient(verify=TLS) as client:
        base = f"{lean.sites[1].base}/v2.1"
        whole = (await page(client, base, "/servers/detail"))["servers"]
        assert [one["created"] for one in whole] == sorted((one["created"] for one in whole), reverse=True)
        found: list[str] = []
        path = "/servers/detail?limit=2"
        while path:
            body = await page(client, base, path)
            found += [one["id"] for one in body["servers"]]
            links = body.get("servers_links", [])
            path = links[0]["href"].removeprefix(base) if links else ""
        assert found == [one["id"] for one in whole]
        assert len(set(found)) == PER_SITE


async def test_an_unknown_marker_is_refused_alike(lean: Lean, cloud: Cloud) -> None:
    marker = "01234567-89ab-4cde-8f01-23456789abcd"
    async with httpx.AsyncClient(verify=TLS, headers={"X-Auth-Token": cloud.keystone.token()}) as client:
        for base in (f"{cloud.sites[0].url}/compute/v2.1", f"{lean.sites[0].base}/v2.1"):
            answer = await client.get(f"{base}/servers?marker={marker}")
            assert answer.status_code == 400
            assert answer.json() == {"badRequest": {"code": 400, "message": f"marker [{marker}] not found"}}
