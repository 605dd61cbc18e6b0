"""One real site refuses, or is away, while a thing of all sites is made or changed: all of them, or none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.e2e.conftest import KEY
from tests.e2e.outages.conftest import ONE, TWO, Real, Start
from tests.e2e.outages.way import refused
from tests.e2e.sites import credentials

from atoll.sandbox.real.api import Cloud

FLAVORS = "/compute/v2.1/flavors"
KEYPAIRS = "/compute/v2.1/os-keypairs"
NO = refused(403, {"forbidden": {"code": 403, "message": "Not here."}})


@pytest.fixture
async def admin(start: Start, admin_token: str) -> AsyncIterator[httpx.AsyncClient]:
    """The administrator, by the ways."""
    async with (await start()).client(admin_token) as client:
        yield client


def flavor_body(name: str) -> dict[str, Any]:
    return {"flavor": {"name": name, "id": name, "ram": 64, "vcpus": 1, "disk": 1}}


@pytest.mark.parametrize("place", [ONE, TWO])
@pytest.mark.parametrize("away", [False, True], ids=["refuses", "is away"])
async def test_a_flavor_is_made_everywhere_or_nowhere(
    admin: httpx.AsyncClient, real: Real, name: str, place: str, away: bool
) -> None:
    if away:
        real.refuse(place)
    else:
        real.ways[place]["compute"].when("POST", "/flavors", NO)
    answer = await admin.post(FLAVORS, json=flavor_body(name))
    assert answer.status_code == (503 if away else 403), answer.text
    assert away is (place in answer.text)
    for site in real.sites:
        assert await real.ids(site, "compute", "/flavors?is_public=None", name) == []
    if away:
        await real.accept(place)
    made = await admin.post(FLAVORS, json=flavor_body(name))
    assert made.status_code == 200, made.text
    for site in real.sites:
        assert await real.ids(site, "compute", "/flavors?is_public=None", name) == [name]
    assert (await admin.delete(f"{FLAVORS}/{name}")).status_code == 202
    for site in real.sites:
        assert await real.ids(site, "compute", "/flavors?is_public=None", name) == []


@pytest.mark.parametrize("generated", [False, True], ids=["imported", "generated"])
@pytest.mark.parametrize("away", [False, True], ids=["refuses", "is away"])
async def test_a_keypair_is_made_everywhere_or_nowhere(
    start: Start, real: Real, token: str, name: str, generated: bool, away: bool
) -> None:
    body = {"keypair": {"name": name} if generated else {"name": name, "public_key": KEY}}
    atoll = await start()
    if away:
        real.refuse(TWO)
    else:
        real.ways[TWO]["compute"].when("POST", "/os-keypairs", NO)

    def having() -> list[str]:
        return [site.name for site in real.sites.values() if f"/os-keypairs/{name}" in paths(site, name)]

    async with atoll.client(token) as user:
        answer = await user.post(KEYPAIRS, json=body)
        assert answer.status_code == (503 if away else 403), answer.text
        assert away is (TWO in answer.text)
        assert having() == []
        if away:
            await real.accept(TWO)
        assert (await user.post(KEYPAIRS, json=body)).status_code in {200, 201}
        assert having() == [ONE, TWO]
        assert (await user.delete(f"{KEYPAIRS}/{name}")).status_code == 202
        assert having() == []


def paths(site: Any, name: str) -> list[str]:
    return [path for _, _, path in site.paths(name)]


@pytest.mark.parametrize("place", [ONE, TWO])
async def test_extra_specs_are_as_before_where_a_site_refuses_or_is_away(
    admin: httpx.AsyncClient, real: Real, name: str, place: str
) -> None:
    specs = f"{FLAVORS}/{name}/os-extra_specs"
    old = {"hw:a": "1", "hw:b": "2"}
    assert (await admin.post(FLAVORS, json=flavor_body(name))).status_code == 200
    assert (await admin.post(specs, json={"extra_specs": old})).status_code == 200

    async def at_sites() -> list[Any]:
        path = f"/flavors/{name}/os-extra_specs"
        return [(await real.at(site, "compute", path))["extra_specs"] for site in real.sites]

    way = real.ways[place]["compute"]
    for method, ending, body in (
        ("POST", "/os-extra_specs", {"extra_specs": {"hw:a": "9", "hw:c": "3"}}),
        ("PUT", "/hw:a", {"hw:a": "9"}),
        ("DELETE", "/hw:b", None),
    ):
        way.when(method, ending, NO)
        path = specs if method == "POST" else f"{specs}{ending}"
        answer = await admin.request(method, path, json=body)
        assert answer.status_code == 403, (method, answer.text)
        assert await at_sites() == [old, old]
    real.refuse(place)
    away = await admin.post(specs, json={"extra_specs": {"hw:a": "9"}})
    assert away.status_code == 503, away.text
    assert place in away.text
    assert "nothing was changed" in away.text
    assert await at_sites() == [old, old]
    await real.accept(place)
    assert (await admin.post(specs, json={"extra_specs": {"hw:a": "9"}})).status_code == 200
    assert await at_sites() == [{**old, "hw:a": "9"}] * 2
    assert (await admin.delete(f"{FLAVORS}/{name}")).status_code == 202


# Where the services keep a project's quota, as an administrator asks at a site; its envelope and one figure.
QUOTAS = {
    "compute": ("/os-quota-sets/", "quota_set", "instances"),
    "block-storage": ("/os-quota-sets/", "quota_set", "volumes"),
    "network": ("/v2.0/quotas/", "quota", "network"),
}


@asynccontextmanager
async def away(real: Real, place: str) -> AsyncIterator[None]:
    """While nobody reaches a site."""
    real.refuse(place)
    try:
        yield
    finally:
        await real.accept(place)


@pytest.mark.parametrize("service", QUOTAS)
@pytest.mark.parametrize("place", [ONE, TWO])
async def test_a_quota_is_as_before_where_a_site_refuses_or_is_away(
    admin: httpx.AsyncClient, real: Real, service: str, place: str
) -> None:
    site = real.sites[ONE]
    who = replace(credentials(site.user), username="alt_demo", project="alt_demo")
    project = Cloud(who, ONE).project_id
    there, envelope, figure = QUOTAS[service]
    root = {"compute": "/v2.1", "block-storage": f"/v3/{site.admin.project_id}", "network": ""}[service]
    path = f"/{service}{root}{there}{project}"

    async def at_sites() -> list[int]:
        found = [await real.at(name, service, f"{there}{project}") for name in real.sites]
        return [one[envelope][figure] for one in found]

    async def write(total: int) -> httpx.Response:
        return await admin.put(path, json={envelope: {figure: total}})

    assert (await admin.delete(path)).status_code in {200, 202, 204, 404}  # what another test may have left
    before = await at_sites()
    try:
        written = await write(7)
        assert written.status_code == 200, written.text
        assert await at_sites() == [4, 3]
        real.ways[place][service].when("PUT", project, NO)
        answer = await write(20)
        assert answer.status_code == 403, answer.text
        assert await at_sites() == [4, 3]
        async with away(real, place):
            answer = await write(20)
        assert (answer.status_code, place in answer.text) == (503, True), answer.text
        assert await at_sites() == [4, 3]
        assert (await admin.get(path)).json()[envelope][figure] == 7
    finally:
        assert (await admin.delete(path)).status_code in {200, 202, 204}
    assert await at_sites() == before
