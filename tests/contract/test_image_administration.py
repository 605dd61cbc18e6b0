"""Glance beside images: metadata definitions, tasks, caches that are off."""

from typing import Any

from tests.contract.conftest import UNKNOWN, Answer, SiteUnderTest
from tests.contract.test_images import text

SPACE = "Contract::Space"
PATH = f"/metadefs/namespaces/{SPACE}"


def call(site: SiteUnderTest, method: str, path: str, body: Any = None) -> Answer:
    """One request of an administrator."""
    return site.call(method, "image", "/v2" + path, body, user="admin")


def test_a_namespace_and_its_parts(site: SiteUnderTest) -> None:
    body: dict[str, Any] = {"namespace": SPACE, "objects": [{"name": "one"}], "tags": [{"name": "t"}]}
    made = call(site, "POST", "/metadefs/namespaces", body)
    site.undo.append(lambda: call(site, "DELETE", PATH))
    assert (made.status, made.header("location")) == (201, f"{site.root('image')}/v2{PATH}")
    assert {
        "visibility": "private",
        "protected": False,
        "schema": "/v2/schemas/metadefs/namespace",
    }.items() <= (made.json.items())
    again = call(site, "POST", "/metadefs/namespaces", body)
    assert (again.status, text(again)) == (409, f"The metadata definition namespace={SPACE} already exists.")
    bus = {"name": "bus", "title": "Bus", "type": "string"}
    assert call(site, "POST", f"{PATH}/properties", bus).status == 201
    assert call(site, "POST", f"{PATH}/tags/new").status == 201
    assert (
        call(site, "POST", f"{PATH}/resource_types", {"name": "OS::Contract", "prefix": "x_"}).status == 201
    )
    shown = call(site, "GET", PATH).json
    assert (list(shown["properties"]), shown["objects"][0]["name"]) == (["bus"], "one")
    assert {one["name"] for one in shown["tags"]} == {"t", "new"}
    assert shown["resource_type_associations"][0]["prefix"] == "x_"
    listed = call(site, "GET", "/metadefs/namespaces?limit=1000").json
    assert SPACE in [one["namespace"] for one in listed["namespaces"]]
    assert (listed["first"], listed["schema"]) == (
        "/v2/metadefs/namespaces?limit=1000", "/v2/schemas/metadefs/namespaces",
    )  # fmt: skip
    changed = call(site, "PUT", PATH, {"namespace": SPACE, "protected": True})
    assert (changed.status, changed.json["protected"]) == (200, True)
    refused = call(site, "DELETE", PATH)
    assert (refused.status, text(refused)) == (
        403, f"Metadata definition namespace {SPACE} is protected and cannot be deleted.",
    )  # fmt: skip
    call(site, "PUT", PATH, {"namespace": SPACE})
    assert call(site, "DELETE", f"{PATH}/tags").status == 204
    assert call(site, "GET", f"{PATH}/tags").json["tags"] == []
    assert call(site, "DELETE", PATH).status == 204
    gone = call(site, "GET", PATH)
    assert (gone.status, text(gone)) == (404, f"Metadata definition namespace={SPACE} was not found.")


def test_tasks_and_a_cache_that_is_off(site: SiteUnderTest) -> None:
    assert call(site, "GET", "/tasks").json["schema"] == "/v2/schemas/tasks"
    lacking = call(site, "POST", "/tasks", {"type": "import"})
    assert (lacking.status, text(lacking)) == (400, "Task 'input' is required")
    assert call(site, "GET", f"/tasks/{UNKNOWN}").status == 404
    for method, path in (("GET", "/cache"), ("DELETE", "/cache"), ("POST", "/cache/prune")):
        off = call(site, method, path)
        assert (off.status, text(off)) == (404, "Caching via API is not supported at this site.")
