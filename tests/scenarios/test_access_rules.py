"""Tokens of application credentials that may be used for some calls only: Atoll asks nothing beyond them."""

from collections.abc import Awaitable, Callable

import pytest
from tests.conftest import StartAtoll
from tests.origin import Origin
from tests.running import sites_of
from tests.scenarios.conftest import SERVERS, UNKNOWN
from tests.scenarios.keystones import keystone_of

from atoll.sandbox.simulated import Cloud

DEFAULT = {"id": "0" * 32}


def restricted(*rules: str) -> dict[str, object]:
    """What is special of a token that may be used for these: `compute GET /v2.1/servers`."""
    words = [rule.split() for rule in rules]
    return {
        "project": DEFAULT,
        "application_credential": {
            "id": "1",
            "name": "a",
            "restricted": True,
            "access_rules": [
                {"service": service, "method": method, "path": path} for service, method, path in words
            ],
        },
    }


@pytest.fixture
async def asked(
    start_atoll: StartAtoll, cloud: Cloud
) -> Callable[..., Awaitable[tuple[int, str, list[str]]]]:
    """(rules, method, path) -> (status, message, what the sites were asked)."""

    async def ask(rules: tuple[str, ...], method: str, path: str) -> tuple[int, str, list[str]]:
        async with Origin(keystone_of(restricted(*rules))) as origin:
            atoll = await start_atoll(f"{origin.url}/identity/v3", sites_of(cloud))
            for site in cloud.sites:
                site.listener.seen.clear()
            async with atoll.client("special") as client:
                answer = await client.request(method, path)
            await atoll.end()
        every = [one.target for site in cloud.sites for one in site.listener.seen]
        seen = [target for target in every if "servers" in target or "quota" in target]
        return answer.status_code, answer.text, seen

    return ask


@pytest.mark.parametrize(
    ("rules", "method", "path"),
    [
        ((), "GET", SERVERS),
        (("compute GET /v2.1/servers",), "GET", f"{SERVERS}/detail"),
        (("compute GET /v2.1/servers",), "DELETE", f"{SERVERS}/{UNKNOWN}"),
        (("compute GET /v2.1/servers/*",), "GET", f"{SERVERS}/{UNKNOWN}/tags"),
        (("network GET /v2.1/servers",), "GET", SERVERS),
    ],
)
async def test_what_no_rule_allows_is_refused_before_any_site_is_asked(asked, rules, method, path):
    status, _, seen = await asked(rules, method, path)
    assert status == 401
    assert seen == []


async def test_what_a_rule_allows_is_searched_for_at_every_site(asked, cloud):
    # The simulated sites know their own Keystone only: that they were asked at all is the point.
    _, _, seen = await asked(("compute GET /v2.1/servers/{server_id}",), "GET", f"{SERVERS}/{UNKNOWN}")
    assert len(seen) >= len(cloud.sites)


async def test_a_list_that_has_to_be_read_in_detail_names_the_rule_that_is_missing(asked):
    status, text, seen = await asked(("compute GET /v2.1/servers",), "GET", SERVERS)
    assert status == 403
    assert "/v2.1/servers/detail" in text
    assert seen == []


async def test_the_same_list_with_that_rule(asked, cloud):
    rules = ("compute GET /v2.1/servers", "compute GET /v2.1/servers/detail")
    _, _, seen = await asked(rules, "GET", SERVERS)
    assert len([one for one in seen if "detail" in one]) == len(cloud.sites)


async def test_what_is_in_use_of_a_quota_is_not_asked_for_with_such_a_token(asked, cloud):
    quota = f"/v2.1/os-quota-sets/{DEFAULT['id']}"
    _, _, seen = await asked((f"compute PUT {quota}", f"compute GET {quota}"), "PUT", f"/compute{quota}")
    assert len(seen) == len(cloud.sites)
    assert all(target.endswith(quota) for target in seen)
