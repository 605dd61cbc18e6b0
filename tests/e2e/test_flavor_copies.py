"""The run flavor.copy on real sites."""

from typing import Any

import pytest
from tests.e2e.runs import Runs
from tests.e2e.sites import CLOUD, sites

pytestmark = pytest.mark.skipif(CLOUD != "atoll", reason="a bare site has no runs")

VERSION = "2.61"


def test_a_flavor_is_brought_to_the_other_site_as_it_is(admin: Any, name: str) -> None:
    first, second = sites()[:2]
    project = second.admin.project_id
    fields = {
        "id": name, "name": name, "ram": 192, "vcpus": 2, "disk": 1, "swap": 64, "description": "for tests",
        "OS-FLV-EXT-DATA:ephemeral": 1, "os-flavor-access:is_public": False,
    }  # fmt: skip
    first.admin.call("POST", "compute", "/flavors", {"flavor": fields}, version=VERSION)
    path = f"/flavors/{name}"
    try:
        first.admin.post("compute", f"{path}/os-extra_specs", {"extra_specs": {"hw:mem_page_size": "any"}})
        first.admin.post("compute", f"{path}/action", {"addTenantAccess": {"tenant": project}})
        runs = Runs(admin)
        body = {"definition": "flavor.copy", "input": {"flavor": name, "sites": [second.name]}}
        answer = runs.ask("POST", json=body)
        assert answer.status_code == 202, answer.text
        run = runs.ended(answer.json()["run"]["id"])
        assert run["state"] == "done", run
        one, other = (site.admin.get("compute", path, version=VERSION)["flavor"] for site in (first, second))
        assert {**one, "links": []} == {**other, "links": []}
        access = second.admin.get("compute", f"{path}/os-flavor-access")["flavor_access"]
        assert project in {one["tenant_id"] for one in access}
    finally:
        for site in (first, second):
            left = site.admin.get("compute", "/flavors?is_public=None&limit=1000")["flavors"]
            if name in {one["id"] for one in left}:
                site.admin.call("DELETE", "compute", path)
