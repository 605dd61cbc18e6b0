"""What belongs to a site's machines: hypervisors by name, aggregates, migrations; usage in pages."""

import time
from typing import Any

import pytest
from tests.contract.conftest import UNKNOWN, Answer, SiteUnderTest
from tests.contract.test_compute_rest import fault
from tests.contract.test_servers import boot, call

NO_RESOURCE = "The resource could not be found."
FORCE = {"force_complete": None}

MALFORMED = (
    "The server could not comply with the request since it is either malformed or otherwise incorrect."
)


def as_admin(site: SiteUnderTest, method: str, path: str, body: Any = None, v: str = "2.1") -> Answer:
    return call(site, method, path, body, v, user="admin")


# -- hypervisors --------------------------------------------------------------------------------------


def test_hypervisors_by_a_pattern(site: SiteUnderTest) -> None:
    listed = as_admin(site, "GET", "/os-hypervisors").json["hypervisors"]
    name = listed[0]["hypervisor_hostname"]
    found = as_admin(site, "GET", f"/os-hypervisors/{name}/search").json
    assert found == {"hypervisors": [one for one in listed if name in one["hypervisor_hostname"]]}
    server_id = boot(site)
    held = as_admin(site, "GET", f"/os-hypervisors/{name[:4]}/servers").json["hypervisors"]
    assert server_id in [one["uuid"] for host in held for one in host.get("servers", [])]
    path = f"/os-hypervisors?hypervisor_hostname_pattern={name[:4]}&with_servers=true"
    newer = as_admin(site, "GET", path, v="2.53").json["hypervisors"]
    assert server_id in [one["uuid"] for host in newer for one in host.get("servers", [])]
    assert all("servers" in host for host in as_admin(site, "GET", path, v="2.75").json["hypervisors"])


def test_hypervisors_that_do_not_match(site: SiteUnderTest) -> None:
    message = "No hypervisor matching 'nope-nope' could be found."
    for path in ("/os-hypervisors/nope-nope/search", "/os-hypervisors/nope-nope/servers"):
        assert fault(as_admin(site, "GET", path)) == (404, message)
        assert fault(as_admin(site, "GET", path, v="2.53")) == (404, NO_RESOURCE)
    for path in ("/os-hypervisors", "/os-hypervisors/detail"):
        answer = as_admin(site, "GET", f"{path}?hypervisor_hostname_pattern=nope-nope", v="2.53")
        assert fault(answer) == (404, message)
        answer = as_admin(site, "GET", f"{path}?hypervisor_hostname_pattern=c&limit=1", v="2.53")
        # Nova says why, and webob leaves it out.
        assert fault(answer) == (400, MALFORMED)
    rule = "Policy doesn't allow os_compute_api:os-hypervisors:search to be performed."
    assert fault(call(site, "GET", "/os-hypervisors/nope-nope/search")) == (403, rule)


# -- aggregates ---------------------------------------------------------------------------------------


def test_an_aggregate_and_its_metadata(site: SiteUnderTest) -> None:
    made = as_admin(site, "POST", "/os-aggregates", {"aggregate": {"name": "contract"}}, v="2.41")
    one = made.json["aggregate"]
    path = f"/os-aggregates/{one['id']}"
    site.undo.append(lambda: as_admin(site, "DELETE", path))
    assert made.status == 200
    assert set(one) == {
        "id", "uuid", "name", "availability_zone", "created_at", "updated_at", "deleted", "deleted_at",
    }  # fmt: skip
    assert (one["name"], one["availability_zone"], one["deleted"]) == ("contract", None, False)
    shown = as_admin(site, "GET", path).json["aggregate"]
    assert set(shown) == {*one, "hosts", "metadata"} - {"uuid"}
    body: dict[str, Any] = {"set_metadata": {"metadata": {"ssd": "true", "id": "1"}}}
    changed = as_admin(site, "POST", f"{path}/action", body).json["aggregate"]
    assert (changed["id"], changed["metadata"]) == (one["id"], {"ssd": "true", "id": "1"})
    body = {"set_metadata": {"metadata": {"id": None}}}
    assert as_admin(site, "POST", f"{path}/action", body).json["aggregate"]["metadata"] == {"ssd": "true"}
    renamed = as_admin(site, "PUT", path, {"aggregate": {"name": "contract2"}}).json["aggregate"]
    assert (renamed["id"], renamed["name"]) == (one["id"], "contract2")
    again = as_admin(site, "POST", "/os-aggregates", {"aggregate": {"name": "contract2"}})
    assert fault(again) == (409, "Aggregate contract2 already exists.")
    listed = as_admin(site, "GET", "/os-aggregates").json["aggregates"]
    assert [each["name"] for each in listed if each["id"] == one["id"]] == ["contract2"]
    assert (as_admin(site, "DELETE", path).status, as_admin(site, "DELETE", path).status) == (200, 404)


def test_the_zone_of_an_aggregate_is_never_empty(site: SiteUnderTest) -> None:
    made = as_admin(site, "POST", "/os-aggregates", {"aggregate": {"name": "contract3"}})
    path = f"/os-aggregates/{made.json['aggregate']['id']}"
    site.undo.append(lambda: as_admin(site, "DELETE", path))
    answer = as_admin(site, "PUT", path, {"aggregate": {"availability_zone": None}})
    why = "Aggregate contract3 does not support empty named availability zone"
    number = path.rpartition("/")[2]
    assert fault(answer) == (400, f"Cannot update aggregate {number}. Reason: {why}.")


# -- migrations of a server ---------------------------------------------------------------------------


def test_migrations_of_a_server_that_does_not_move(site: SiteUnderTest) -> None:
    server_id = boot(site)
    path = f"/servers/{server_id}/migrations"
    assert as_admin(site, "GET", path, v="2.23").json == {"migrations": []}
    for ident in ("1", "4711", "1099511627777", "9" * 15):
        message = f"In-progress live migration {ident} is not found for server {server_id}."
        assert fault(as_admin(site, "GET", f"{path}/{ident}", v="2.23")) == (404, message)
        state = f"Instance {server_id} is in an invalid state for"
        answer = as_admin(site, "DELETE", f"{path}/{ident}", v="2.24")
        assert fault(answer) == (409, f"{state} 'abort live migration'")
        answer = as_admin(site, "POST", f"{path}/{ident}/action", FORCE, v="2.22")
        assert fault(answer) == (409, f"{state} 'force_complete'")


def test_migrations_of_a_server_that_is_not_there(site: SiteUnderTest) -> None:
    message = f"Instance {UNKNOWN} could not be found."
    for tail in ("", "/1", "/1099511627777"):
        answer = as_admin(site, "GET", f"/servers/{UNKNOWN}/migrations{tail}", v="2.23")
        assert fault(answer) == (404, message)


@pytest.mark.parametrize(("tail", "v"), [("", "2.22"), ("/1", "2.22")])
def test_migrations_before_their_version(site: SiteUnderTest, tail: str, v: str) -> None:
    answer = as_admin(site, "GET", f"/servers/{UNKNOWN}/migrations{tail}", v=v)
    assert fault(answer) == (404, NO_RESOURCE)


# -- usage --------------------------------------------------------------------------------------------


def since(site: SiteUnderTest) -> str:
    """The query for the last hour of the user's project, as far as it has run."""
    assert site.demo.project_id
    return "start=" + time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - 3600))


def counted(site: SiteUnderTest, servers: set[str]) -> None:
    """Wait until servers count: databases round the moment of their launch, half of them into the future."""
    path = f"/os-simple-tenant-usage/{site.demo.project_id}?{since(site)}"

    def all_count() -> bool:
        usage = call(site, "GET", path, v="2.40").json["tenant_usage"]
        return servers <= {one["instance_id"] for one in usage.get("server_usages", ())}

    site.wait(all_count)


def test_usage_in_pages(site: SiteUnderTest) -> None:
    servers = {boot(site) for _ in range(3)}
    counted(site, servers)
    path = f"/os-simple-tenant-usage/{site.demo.project_id}"
    query = since(site)
    found: list[str] = []
    following: str | None = f"{path}?{query}&limit=1"
    while following is not None and not servers <= set(found):
        page = call(site, "GET", following, v="2.40").json
        usage = page["tenant_usage"]
        assert len(usage["server_usages"]) == 1
        one = usage["server_usages"][0]
        assert usage["total_hours"] == one["hours"]
        assert usage["total_memory_mb_usage"] == pytest.approx(one["hours"] * one["memory_mb"])
        found.append(one["instance_id"])
        links = page.get("tenant_usage_links", [])
        following = links[0]["href"].partition("/v2.1")[2] if links else None
        assert following is None or f"marker={one['instance_id']}" in following
    assert servers <= set(found)
    assert len(found) == len(set(found))
    whole = call(site, "GET", f"{path}?{query}", v="2.40").json["tenant_usage"]
    assert servers <= {one["instance_id"] for one in whole["server_usages"]}
    assert "tenant_usage_links" not in call(site, "GET", f"{path}?{query}&limit=1", v="2.39").json


def test_usage_of_all_projects(site: SiteUnderTest) -> None:
    server_id = boot(site)
    counted(site, {server_id})
    brief = as_admin(site, "GET", f"/os-simple-tenant-usage?{since(site)}", v="2.40").json["tenant_usages"]
    mine = next(one for one in brief if one["tenant_id"] == site.demo.project_id)
    assert set(mine) == {
        "tenant_id", "total_hours", "total_local_gb_usage", "total_memory_mb_usage", "total_vcpus_usage",
        "start", "stop",
    }  # fmt: skip
    path = f"/os-simple-tenant-usage?{since(site)}&detailed=1"
    full = as_admin(site, "GET", path, v="2.40").json["tenant_usages"]
    assert len({one["tenant_id"] for one in full}) == len(full)
    listed = [server["instance_id"] for one in full for server in one["server_usages"]]
    assert server_id in listed
    rule = "Policy doesn't allow os_compute_api:os-simple-tenant-usage:list to be performed."
    assert fault(call(site, "GET", path)) == (403, rule)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (f"marker={UNKNOWN}", f"Marker {UNKNOWN} could not be found."),
        ("limit=x", "Invalid input for query parameters limit. Value: x. 'x' does not match '^[0-9]*$'"),
        ("start=x", "Invalid datetime string: Datetime is in invalid format"),
        (
            "start=2026-01-02T00:00:00&end=2026-01-01T00:00:00",
            "Invalid start time. The start time cannot occur after the end time.",
        ),
    ],
)
def test_usage_that_is_refused(site: SiteUnderTest, query: str, message: str) -> None:
    path = f"/os-simple-tenant-usage/{site.demo.project_id}?{query}"
    assert fault(call(site, "GET", path, v="2.40")) == (400, message)
