"""Hypervisors of all sites by a pattern of their names, and what belongs to a site by its qualified id."""

from typing import Any

import httpx
import pytest
from tests.scenarios.conftest import Client, boot

from atoll.core.ids import qualify
from atoll.sandbox.simulated import Cloud, Fault

PATH = "/compute/v2.1/os-hypervisors"
MISSING = "x-atoll-missing-sites"
NEW = {"OpenStack-API-Version": "compute 2.53"}
ALLOW = {"X-Atoll-Partial": "allow"}
# The forms of one question: path, the version it is asked in.
FORMS: list[tuple[str, dict[str, str]]] = [
    (PATH + "/{}/search", {}),
    (PATH + "/{}/servers", {}),
    (PATH + "?hypervisor_hostname_pattern={}", NEW),
    (PATH + "?hypervisor_hostname_pattern={}&with_servers=true", NEW),
    (PATH + "/detail?hypervisor_hostname_pattern={}", NEW),
]


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["hypervisor_hostname"] for one in answer.json()["hypervisors"]]


def message(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(next(iter(answer.json().values()))["message"])


@pytest.mark.parametrize(("path", "version"), FORMS)
async def test_a_pattern_is_looked_for_at_every_site(
    admin: Client, path: str, version: dict[str, str]
) -> None:
    everywhere = await admin.get(path.format("compute1"), headers=version)
    assert names(everywhere) == [f"site{n}-compute1" for n in (1, 2, 3)]
    assert MISSING not in everywhere.headers
    for one in ("site1", "site3"):
        assert names(await admin.get(path.format(one), headers=version)) == [f"{one}-compute1"]
    nowhere = await admin.get(path.format("nope"), headers=version)
    assert message(nowhere, 404) == "No hypervisor matching 'nope' could be found."


async def test_the_ids_and_servers_of_what_matches_are_the_union(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    servers = {f"site{n}-compute1": await boot(user, cloud, f"site{n}") for n in (1, 3)}
    old = (await admin.get(f"{PATH}/compute/servers")).json()["hypervisors"]
    assert [one["id"] for one in old] == [qualify(number, 1) for number in range(3)]
    new = await admin.get(f"{PATH}?hypervisor_hostname_pattern=compute&with_servers=true", headers=NEW)
    for listed in (old, new.json()["hypervisors"]):
        found = {one["hypervisor_hostname"]: one.get("servers", []) for one in listed}
        uuids = {host: [server["uuid"] for server in held] for host, held in found.items()}
        assert uuids == {"site2-compute1": [], **{host: [ident] for host, ident in servers.items()}}


@pytest.mark.parametrize("path", ["", "/detail", "/search/x"])
async def test_the_project_may_stand_in_the_path(admin: Client, cloud: Cloud, path: str) -> None:
    project = cloud.keystone.project_id("admin")
    tail = "/compute1/search" if "search" in path else path
    assert len(names(await admin.get(f"/compute/v2.1/{project}/os-hypervisors{tail}"))) == 3


@pytest.mark.parametrize(("path", "version"), FORMS)
async def test_a_look_up_needs_every_site(
    admin: Client, cloud: Cloud, path: str, version: dict[str, str]
) -> None:
    cloud.site("site2").refuse()
    answer = await admin.get(path.format("compute1"), headers=version)
    assert "site2" in message(answer, 503)
    partial = await admin.get(path.format("compute1"), headers={**version, **ALLOW})
    assert names(partial) == ["site1-compute1", "site3-compute1"]
    assert "site2" in partial.headers[MISSING]
    # It may be at the site that is away: no site says that it is nowhere.
    for headers in (version, {**version, **ALLOW}):
        assert "site2" in message(await admin.get(path.format("nope"), headers=headers), 503)


async def test_a_list_of_all_lacks_a_site_and_says_so(admin: Client, cloud: Cloud) -> None:
    cloud.site("site2").refuse()
    answer = await admin.get(PATH)
    assert names(answer) == ["site1-compute1", "site3-compute1"]
    assert "site2" in answer.headers[MISSING]


@pytest.mark.parametrize("path", ["os-services?host=site1-compute1", "os-migrations?instance_uuid=x"])
async def test_other_look_ups_need_every_site_too(admin: Client, cloud: Cloud, path: str) -> None:
    assert (await admin.get(f"/compute/v2.1/{path}")).status_code == 200
    cloud.site("site3").refuse()
    assert "site3" in message(await admin.get(f"/compute/v2.1/{path}"), 503)


async def test_a_site_that_refuses_is_missing_and_one_that_has_none_is_not(
    admin: Client, cloud: Cloud
) -> None:
    refusal = Fault("status", status=403, service="compute", path="search")
    cloud.site("site1").faults.add(refusal)
    assert "site1" in message(await admin.get(f"{PATH}/site2/search"), 503)
    for name in ("site2", "site3"):
        cloud.site(name).faults.add(Fault("status", status=403, service="compute", path="search"))
    assert (await admin.get(f"{PATH}/site2/search")).status_code == 403


async def test_a_pattern_with_pages_is_refused_as_one_site_does(admin: Client) -> None:
    answer = await admin.get(f"{PATH}?hypervisor_hostname_pattern=compute&limit=1", headers=NEW)
    assert "could not comply" in message(answer, 400)


async def test_every_integer_id_is_qualified(admin: Client) -> None:
    for number, one in enumerate((await admin.get(f"{PATH}/detail")).json()["hypervisors"]):
        assert (one["id"], one["service"]["id"]) == (qualify(number, 1), qualify(number, 3))
        shown = (await admin.get(f"{PATH}/{one['id']}")).json()["hypervisor"]
        assert shown == one


GONE: list[tuple[str, str, str, Any]] = [
    ("GET", "os-hypervisors/{}", "Hypervisor with ID '{}' could not be found.", None),
    ("GET", "os-aggregates/{}", "Aggregate {} could not be found.", None),
    ("PUT", "os-aggregates/{}", "Aggregate {} could not be found.", {"aggregate": {"name": "x"}}),
    ("DELETE", "os-aggregates/{}", "Aggregate {} could not be found.", None),
    ("DELETE", "os-services/{}", "Service {} not found.", None),
]


@pytest.mark.parametrize(("method", "path", "said", "body"), GONE)
@pytest.mark.parametrize("ident", [qualify(1, 4), qualify(2, 4711), qualify(9, 4), 4])
async def test_a_fault_names_the_id_that_was_asked_for(
    admin: Client, method: str, path: str, said: str, body: Any, ident: int
) -> None:
    answer = await admin.request(method, f"/compute/v2.1/{path.format(ident)}", json=body)
    assert answer.json() == {"itemNotFound": {"code": 404, "message": said.format(ident)}}


async def test_by_uuid_the_site_that_has_it_answers_while_another_is_away(
    admin: Client, cloud: Cloud
) -> None:
    listed = (await admin.get(PATH, headers=NEW)).json()["hypervisors"]
    cloud.site("site1").refuse()
    for one, status in zip(listed, (503, 200, 200), strict=True):
        answer = await admin.get(f"{PATH}/{one['id']}", headers=NEW)
        assert answer.status_code == status
