"""Clouds of simulated sites: many at once, preloaded, timed, with one Keystone or several, as a process."""

import asyncio
import json
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from atoll.sandbox.simulated import Cloud, Site
from atoll.sandbox.simulated.cloud import Layout

TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # an empty one: loading the default takes longer than a test

DETAIL = "/compute/v2.1/servers/detail"


async def get(site: Site, path: str, user: str = "demo") -> Any:
    async with httpx.AsyncClient(
        verify=TLS, headers={"X-Auth-Token": site.keystone.token(user)}, timeout=30
    ) as client:
        answer = await client.get(site.url + path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.mark.parametrize(
    ("layout", "counts"), [("uniform", [10, 10, 10]), ("hot", [27, 2, 1]), ("sorted", [10, 10, 10])]
)
async def test_bulk_layouts(layout: Layout, counts: list[int]) -> None:
    async with Cloud(3) as cloud:
        cloud.bulk(30, layout)
        lists = [(await get(site, DETAIL))["servers"] for site in cloud.sites]
        assert [len(servers) for servers in lists] == counts
        created = [[server["created"] for server in servers] for servers in lists]
        assert all(times == sorted(times, reverse=True) for times in created)
        assert len({time for times in created for time in times}) == 30
        if layout == "sorted":
            assert max(created[0]) < min(created[1])
        ids = {server["id"] for servers in lists for server in servers}
        assert len(ids) == 30


async def test_same_images_everywhere_unless_own() -> None:
    async with Cloud(2) as same, Cloud(2, own_images=True) as own:
        assert same.sites[0].image_id("cirros") == same.sites[1].image_id("cirros")
        assert own.sites[0].image_id("cirros") != own.sites[1].image_id("cirros")


async def test_silos_do_not_take_each_others_tokens() -> None:
    async with Cloud(2, shared=False) as cloud:
        first, second = cloud.sites
        assert first.keystone is not second.keystone
        headers = {"X-Auth-Token": first.keystone.token()}
        async with httpx.AsyncClient(verify=TLS, headers=headers, timeout=30) as client:
            assert (await client.get(first.url + DETAIL)).status_code == 200
            assert (await client.get(second.url + DETAIL)).status_code == 401
        assert set(cloud.clouds_yaml()["clouds"]) >= {"simulated", "simulated-admin", "site2", "site2-admin"}


async def test_build_and_delete_take_their_time() -> None:
    now = [1_000_000.0]
    async with Cloud(1, clock=lambda: now[0]) as cloud:
        site = cloud.sites[0]
        site.compute.build_seconds, site.compute.delete_seconds = 5, 5
        headers = {"X-Auth-Token": cloud.keystone.token()}
        async with httpx.AsyncClient(
            verify=TLS, base_url=site.url + "/compute/v2.1", headers=headers, timeout=30
        ) as client:
            body = {"server": {"name": "x", "flavorRef": "42", "imageRef": site.image_id("cirros")}}
            path = "/servers/" + (await client.post("/servers", json=body)).json()["server"]["id"]
            shown = (await client.get(path)).json()["server"]
            assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("BUILD", "spawning")
            now[0] += 5
            assert (await client.get(path)).json()["server"]["status"] == "ACTIVE"
            assert (await client.delete(path)).status_code == 204
            assert (await client.get(path)).json()["server"]["OS-EXT-STS:task_state"] == "deleting"
            now[0] += 5
            assert (await client.get(path)).status_code == 404


async def test_a_large_image_is_digested_not_kept() -> None:
    async with Cloud(1) as cloud:
        site = cloud.sites[0]
        site.image.keep_bytes = 1000
        headers = {"X-Auth-Token": cloud.keystone.token(), "Content-Type": "application/octet-stream"}
        async with httpx.AsyncClient(
            verify=TLS, base_url=site.url + "/image/v2", headers=headers, timeout=30
        ) as client:
            made = await client.post(
                "/images", content=json.dumps({"disk_format": "raw", "container_format": "bare"})
            )
            path = f"/images/{made.json()['id']}"
            await client.put(path + "/file", content=b"x" * 5000)
            assert (await client.get(path)).json()["size"] == 5000
            assert (await client.get(path + "/file")).status_code == 503
            big = site.image.add_synthetic("big", 3_000_000, owner=cloud.keystone.project_id("admin"))
            got = await client.get(f"/images/{big['id']}/file")
            assert (len(got.content), got.headers["content-md5"]) == (3_000_000, big["checksum"])


async def test_two_hundred_sites() -> None:
    async with Cloud(200, interfaces=("public",)) as cloud:
        cloud.bulk(2000)
        lists = await asyncio.gather(*(get(site, "/compute/v2.1/servers") for site in cloud.sites[::20]))
        assert [len(answer["servers"]) for answer in lists] == [10] * 10


async def test_as_a_process(tmp_path: Path) -> None:
    code = "import pathlib, sys; from atoll.sandbox.simulated import Cloud, run_simulated; "
    code += "run_simulated(Cloud(2), 0, pathlib.Path(sys.argv[1]))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(tmp_path))
    try:
        for _ in range(600):
            if (tmp_path / "sites.json").exists() and (tmp_path / "sites.json").read_text().endswith("]\n"):
                break
            await asyncio.sleep(0.05)
        sites = json.loads((tmp_path / "sites.json").read_text())
        assert [site["name"] for site in sites] == ["site1", "site2"]
        assert sites[0]["pid"] == process.pid
        assert (tmp_path / "clouds.yaml").stat().st_mode & 0o777 == 0o600
        clouds = json.loads((tmp_path / "clouds.yaml").read_text())["clouds"]
        async with httpx.AsyncClient(verify=TLS, timeout=30) as client:
            answer = await client.get(clouds["simulated"]["auth"]["auth_url"])
            assert answer.status_code == 200
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert await process.wait() == 0
