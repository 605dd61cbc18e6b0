"""A system-scoped token: good for Atoll's own API, refused by every route of every OpenStack service."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.origin import Exchange, Origin
from tests.running import sites_of
from tests.scenarios.conftest import UNKNOWN

from atoll.sandbox.simulated import Cloud
from atoll.services.catalog import SERVICES
from atoll.services.other import OTHER

SAID = "A system-scoped token is for Atoll's own API only."
TOKEN: dict[str, Any] = {
    "user": {"id": "2" * 32},
    "roles": [{"id": "3", "name": "admin"}],
    "expires_at": "2099-01-01T00:00:00.000000Z",
    "system": {"all": True},
}
DIALECTS: dict[str, Any] = {
    "compute": {"forbidden": {"code": 403, "message": SAID}},
    "block-storage": {"forbidden": {"code": 403, "message": SAID}},
    "network": {"NeutronError": {"type": "PolicyNotAuthorized", "message": SAID, "detail": ""}},
    "image": {"message": f"{SAID}<br /><br />\n\n\n", "code": "403 Forbidden", "title": "Forbidden"},
}


@pytest.fixture
async def system(start_atoll: StartAtoll, cloud: Cloud) -> AsyncIterator[httpx.AsyncClient]:
    """A client with such a token, of a gateway whose Keystone says that it is one."""

    async def keystone(exchange: Exchange) -> None:
        await exchange.answer(200, json.dumps({"token": TOKEN}).encode())

    async with Origin(keystone) as origin:
        sites = sites_of(cloud)
        for site in cloud.sites:
            sites[site.name]["endpoints"]["placement"] = site.other_endpoints["placement"]
        atoll = await start_atoll(f"{origin.url}/identity/v3", sites)
        await atoll.settled()
        for site in cloud.sites:
            site.listener.seen.clear()
        async with atoll.client("system", Accept="application/json") as client:
            yield client
        await atoll.end()


def routes(service: str) -> list[tuple[str, str]]:
    """Every route of a service, and one that it does not have."""
    table = SERVICES[service]
    found = [
        (method, line.path.replace("{id}", UNKNOWN).replace("**", "thing"))
        for line in table.rows
        for method in line.roles
        if method != "HEAD"
    ]
    return [*found, ("GET", "nothing"), ("POST", "nothing/at/all")]


@pytest.mark.parametrize("service", DIALECTS)
async def test_every_route_of_a_service_refuses_it(
    system: httpx.AsyncClient, cloud: Cloud, service: str
) -> None:
    version = SERVICES[service].versions[0]
    for method, path in routes(service):
        body: Any = {} if method in {"POST", "PUT", "PATCH"} else None
        answer = await system.request(method, f"/{service}/{version}/{path}", json=body)
        assert answer.status_code == 403, (method, path)
        assert answer.json() == DIALECTS[service], (method, path)
    # The health of sites is asked for without a token.
    asked = [seen for site in cloud.sites for seen in site.listener.seen]
    assert all("x-auth-token" not in dict(seen.headers) for seen in asked)


async def test_every_service_has_its_dialect() -> None:
    assert set(DIALECTS) == set(SERVICES) - set(OTHER) - {"identity"}


@pytest.mark.parametrize("where", ["placement", "placement@site1"])
@pytest.mark.parametrize("path", ["resource_providers", "nothing"])
async def test_other_services_refuse_it(system: httpx.AsyncClient, where: str, path: str) -> None:
    answer = await system.get(f"/{where}/{path}")
    assert answer.status_code == 403
    assert SAID in answer.text


async def test_a_project_in_the_path_makes_no_difference(system: httpx.AsyncClient) -> None:
    for service, path in (("compute", "servers"), ("block-storage", "volumes")):
        version = SERVICES[service].versions[0]
        answer = await system.get(f"/{service}/{version}/{'0' * 32}/{path}")
        assert (answer.status_code, answer.json()) == (403, DIALECTS[service])


async def test_atolls_own_api_takes_it(system: httpx.AsyncClient) -> None:
    assert (await system.get("/atoll/v1/sites")).status_code == 200
