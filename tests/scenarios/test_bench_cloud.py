"""The measurement's sites answer lists as the simulated ones do: same form, same pages, same links."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from bench import peers
from bench.backend import TOKEN
from bench.cloud import Cloud as Lean
from bench.cloud import listen
from bench.cloud_lists import LAYOUTS, START, THING_ID, image
from bench.ports import free_ports
from tests.conftest import StartAtoll
from tests.running import TLS

from atoll.sandbox.simulated import Cloud

PER_SITE = 7
VOLUMES, PORTS, IMAGES = "/volume/v3/volumes/detail", "/network/v2.0/ports", "/image/v2/images"
OTHERS = (VOLUMES, PORTS, IMAGES)
# What some things have and others have not, or have as null: no matter of form.
OF_SOME = {
    "attachments", "volume_image_metadata", "name", "description", "fixed_ips", "updated_at", "created_at",
}  # fmt: skip


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
    async with httpx.AsyncClient(
        verify=TLS, headers={"X-Auth-Token": cloud.keystone.token()}, timeout=30
    ) as client:
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
    async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
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
    async with httpx.AsyncClient(
        verify=TLS, headers={"X-Auth-Token": cloud.keystone.token()}, timeout=30
    ) as client:
        for base in (f"{cloud.sites[0].url}/compute/v2.1", f"{lean.sites[0].base}/v2.1"):
            answer = await client.get(f"{base}/servers?marker={marker}")
            assert answer.status_code == 400
            assert answer.json() == {"badRequest": {"code": 400, "message": f"marker [{marker}] not found"}}


async def fill(client: httpx.AsyncClient, cloud: Cloud, path: str) -> None:
    """Give a simulated site as many things as a lean one has, in the place of those that it has."""
    site = cloud.sites[0]
    site.image.images.clear()
    site.network.records.of("ports").clear()
    network_id = ""
    if path == PORTS:
        made = await client.post(f"{site.url}/network/v2.0/networks", json={"network": {"name": "n"}})
        network_id = made.json()["network"]["id"]
    for number in range(PER_SITE):
        if path == VOLUMES:
            body = {"volume": {"size": 1, "name": f"v{number}", "metadata": {"role": "web"}}}
            await client.post(f"{site.url}/volume/v3/volumes", json=body)
        elif path == PORTS:
            await client.post(f"{site.url}{PORTS}", json={"port": {"network_id": network_id}})
        else:
            fixed = {"name", "id", "created_at", "updated_at", "tags", "self", "file", "schema", "owner"}
            told = {key: value for key, value in image().items() if key not in fixed}
            owner = cloud.keystone.project_id("demo")
            site.image.add(f"i{number}", b"data", owner=owner, **told)


@pytest.mark.parametrize("path", OTHERS)
async def test_pages_of_other_services_are_alike(lean: Lean, cloud: Cloud, path: str) -> None:
    async with httpx.AsyncClient(
        verify=TLS, headers={"X-Auth-Token": cloud.keystone.token()}, timeout=30
    ) as client:
        await fill(client, cloud, path)
        for query in ("", "?limit=3", f"?limit={PER_SITE}", f"?limit={PER_SITE + 9}"):
            one = await page(client, cloud.sites[0].url, path + query)
            other = await page(client, lean.sites[0].base, path + query)
            plural = path.split("/")[3]
            assert len(one[plural]) == len(other[plural]), query
            assert list(one) == list(other), query
            expected, found = one[plural][0], other[plural][0]
            assert [key for key in found if key != "volume_image_metadata"] == list(expected)
            for key in OF_SOME:
                expected.pop(key, None)
                found.pop(key, None)
            assert form(found) == form(expected)
            assert links(other, plural) == links(one, plural), query


def links(body: dict[str, Any], plural: str) -> list[tuple[Any, ...]]:
    """What a page's links say, with the places of the things that they go on from."""
    places = {thing["id"]: place for place, thing in enumerate(body[plural])}
    shown = [(one["rel"], one["href"]) for one in body.get(f"{plural}_links", [])]
    shown += [(rel, body[rel]) for rel in ("first", "next") if rel in body]
    said = []
    for rel, href in shown:
        parts = urlsplit(href)
        asked = [(key, places.get(value[0], value[0])) for key, value in parse_qs(parts.query).items()]
        said.append((rel, parts.path, asked))
    return said


async def walked(client: httpx.AsyncClient, lean: Lean, path: str, query: str) -> list[str]:
    """The ids of all pages of a list of the lean cloud's second site, by its next links."""
    base, plural = lean.sites[1].base, path.split("/")[3]
    found: list[str] = []
    following = f"{path}?limit=2{query}"
    while following:
        body = await page(client, base, following)
        found += [one["id"] for one in body[plural]]
        said = [one["href"] for one in body.get(f"{plural}_links", []) if one["rel"] == "next"]
        said += [f"{base}/image{body['next']}"] if "next" in body else []
        following = said[0].removeprefix(base) if said else ""
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
async def test_other_services_lists_are_in_their_order(lean: Lean, layout: str) -> None:
    lean.lay_out(layout)
    async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
        for path in OTHERS:
            body = await page(client, lean.sites[1].base, path)
            whole = body[path.split("/")[3]]
            assert len(whole) == PER_SITE
            made = [one["created_at"] for one in whole]
            assert made == sorted(made, reverse=True)
            ids = [one["id"] for one in whole]
            assert await walked(client, lean, path, "") == ids
            if path == PORTS:
                assert ids == sorted(ids)
                assert await walked(client, lean, path, "&sort_key=id&sort_dir=asc") == ids
            if path == IMAGES:
                keys = [(one["created_at"], one["id"]) for one in whole]
                assert keys == sorted(keys, reverse=True)


@pytest.mark.parametrize("path", OTHERS)
async def test_an_unknown_marker_is_refused_alike_by_other_services(
    lean: Lean, cloud: Cloud, path: str
) -> None:
    async with httpx.AsyncClient(
        verify=TLS, headers={"X-Auth-Token": cloud.keystone.token()}, timeout=30
    ) as client:
        target = f"{path}?limit=2&marker={THING_ID}"
        theirs = await client.get(cloud.sites[0].url + target)
        ours = await client.get(lean.sites[0].base + target)
        assert ours.status_code == theirs.status_code
        assert ours.text == theirs.text
        assert ours.headers["content-type"] == theirs.headers["content-type"]


@pytest.mark.parametrize(
    "target",
    [
        f"{PORTS}?sort_key=id&sort_dir=desc",
        f"{PORTS}?fields=id",
        f"{VOLUMES}?sort=name:asc",
        f"{IMAGES}?tag=x",
    ],
)
async def test_another_list_than_there_is_is_refused(lean: Lean, target: str) -> None:
    async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
        answer = await client.get(lean.sites[0].base + target)
        assert answer.status_code == 400


async def test_lists_are_counted_apart_from_what_is_asked_beside(lean: Lean, start_atoll: StartAtoll) -> None:
    sites = {
        f"site{number}": {
            "region": f"site{number}",
            "endpoints": {name: site.base + path for name, path in peers.PATHS.items()},
        }
        for number, site in enumerate(lean.sites)
    }
    newest = [time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(START - age)) for age in range(6)]
    atoll = await start_atoll(f"{lean.sites[0].base}/v3", sites)
    async with atoll.client(TOKEN) as client:
        for path, query, beside in (
            ("/block-storage/v3/volumes/detail", "", 0),
            (PORTS, "&sort_key=id&sort_dir=asc", 2),  # each site's group `default`
            (IMAGES, "", 4),  # each site's public images, hidden ones too
        ):
            plural = path.split("/")[3]
            for asked_beside in (beside, 0):
                lean.counted()
                body = await page(client, atoll.url, f"{path}?limit=6{query}")
                counted = json.loads(lean.counted())
                made = [one["created_at"][:19] for one in body[plural]]
                assert made == newest, f"{path}: uniform, a second after the other"
                assert (counted["requests"] >= 2, counted["beside"]) == (True, asked_beside), path
                assert counted["bytes"] > 6 * 500
