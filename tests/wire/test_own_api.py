"""Atoll's own API against its own document: whatever schemathesis makes of it is answered as it says."""

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of

from atoll.gateway.own_openapi import PREFIX, document
from atoll.gateway.own_route import Route, Who
from atoll.gateway.own_table import ROUTES
from atoll.sandbox.simulated import Cloud

load_all_checks()

EXAMPLES = 10  # of each route; schemathesis adds what is at the bounds
NAMES = ["site1", "site2", "nowhere", "%", "a/b", "zone1", "é"]
# A well-formed body may still name what is not there, or what may not be changed: that is 400, 409.
WITH_BODIES = {"positive_data_acceptance"}
SCHEMA = schemathesis.openapi.from_dict(document(ROUTES, "1"))


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway in front of two sites, with a zone of its own."""
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1", "site2"))
    await running.settled()
    return running


@pytest.mark.parametrize("route", ROUTES, ids=lambda one: f"{one.method} {one.path}")
async def test_whatever_comes_in_is_answered_as_the_document_says(
    atoll: Atoll, cloud: Cloud, route: Route
) -> None:
    headers = {"X-Auth-Token": cloud.keystone.token("admin")}
    operation = SCHEMA[PREFIX + route.path][route.method]
    left_out = WITH_BODIES if route.body is not None or route.parameters else set()
    checks = [check for check in CHECKS.get_all() if check.__name__ not in left_out]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), name=st.sampled_from([*NAMES, None]))
    def ask(case: Any, name: str | None) -> None:
        if name is not None and route.parameters:
            case.path_parameters = dict.fromkeys(route.parameters, name)
        case.call_and_validate(base_url=atoll.url, headers=headers, checks=checks)

    await asyncio.to_thread(ask)


def path_of(route: Route) -> str:
    """A path of a route."""
    return PREFIX + route.path.replace("{name}", "site1").replace("{", "").replace("}", "")


async def test_nobody_without_a_token(atoll: Atoll) -> None:
    async with atoll.client() as client:
        for route in ROUTES:
            answer = await client.request(route.method, path_of(route))
            assert answer.status_code == 401, route
            assert answer.json()["errors"][0]["code"] == "atoll.unauthorized"


async def test_what_is_for_administrators_is_refused_to_others(atoll: Atoll, cloud: Cloud) -> None:
    async with atoll.client(cloud.keystone.token()) as client:
        for route in ROUTES:
            if route.who is Who.ADMIN:
                answer = await client.request(route.method, path_of(route))
                assert answer.status_code == 403, route


async def test_the_document_is_served(atoll: Atoll) -> None:
    async with atoll.client() as client:
        answer = await client.get(f"{PREFIX}/openapi.json")
        assert answer.status_code == 200
        assert set(answer.json()["paths"]) == {PREFIX + route.path for route in ROUTES}


async def test_an_unknown_method_is_told_which_there_are(atoll: Atoll, cloud: Cloud) -> None:
    async with atoll.client(cloud.keystone.token("admin")) as client:
        answer = await client.put(f"{PREFIX}/sites/site1")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, PATCH, DELETE")


def test_no_two_lines_are_one() -> None:
    assert len({(one.method, one.path) for one in ROUTES}) == len(ROUTES)
    assert len({one.handle.__name__ for one in ROUTES}) == len(ROUTES), "they name the operations"
    assert all(one.handle.__doc__ for one in ROUTES)
