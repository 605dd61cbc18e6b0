"""Metadata definitions over sites: a namespace is one by its name, and changed at all sites or at none."""

from functools import partial
from typing import Any

import pytest
from tests.scenarios.conftest import Client

from atoll.sandbox.simulated import Cloud, Fault

NAMESPACES = "/image/v2/metadefs/namespaces"
OURS = "OS::Ours::Disk"
WHOLE: dict[str, Any] = {
    "namespace": OURS,
    "display_name": "Disks",
    "visibility": "public",
    "resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "hw_"}],
    "properties": {"bus": {"title": "Bus", "type": "string"}, "size": {"title": "Size", "type": "integer"}},
    "objects": [{"name": "fast", "description": "of flash", "properties": {}}],
    "tags": [{"name": "old"}, {"name": "older"}],
}


def at(cloud: Cloud, name: str = OURS) -> list[Any]:
    """What each site has of a namespace, but for times; None where it has none."""
    spaces = [site.image.metadefs.namespaces.get(name) for site in cloud.sites]
    times = {"created_at", "updated_at"}

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(one) for key, one in value.items() if key not in times}
        return value

    return [without(one) for one in spaces]


@pytest.fixture
async def ours(admin: Client) -> str:
    """The path of a namespace that every site has."""
    answer = await admin.post(NAMESPACES, json=WHOLE)
    assert answer.status_code == 201, answer.text
    return f"{NAMESPACES}/{OURS}"


async def test_a_namespace_is_made_at_every_site(
    admin: Client, user: Client, cloud: Cloud, ours: str
) -> None:
    assert [one["display_name"] for one in at(cloud)] == ["Disks"] * 3
    shown = (await user.get(ours)).json()
    assert (shown["namespace"], sorted(shown["properties"])) == (OURS, ["bus", "size"])
    listed = (await user.get(NAMESPACES)).json()
    assert [one["namespace"] for one in listed["namespaces"]] == [OURS]
    assert (listed["first"], listed["schema"]) == (
        "/v2/metadefs/namespaces",
        "/v2/schemas/metadefs/namespaces",
    )
    again = await admin.post(NAMESPACES, json=WHOLE)
    assert (again.status_code, "already exists" in again.text) == (409, True)
    assert (await user.post(NAMESPACES, json=WHOLE)).status_code == 403
    assert (await admin.delete(ours)).status_code == 204
    assert at(cloud) == [None] * 3
    assert (await user.get(ours)).status_code == 404


@pytest.mark.parametrize("fields", [{}, {"protected": True}])
async def test_one_that_a_site_refuses_is_made_at_none(
    admin: Client, cloud: Cloud, fields: dict[str, Any]
) -> None:
    cloud.site("site3").faults.add(Fault("status", service="image", method="POST", status=403, count=1))
    answer = await admin.post(NAMESPACES, json=WHOLE | fields)
    assert answer.status_code == 403, answer.text
    assert at(cloud) == [None] * 3


async def test_a_site_that_is_away_is_named(admin: Client, cloud: Cloud) -> None:
    cloud.site("site2").faults.add(Fault("refuse"))
    answer = await admin.post(NAMESPACES, json=WHOLE)
    assert answer.status_code == 503
    assert "site2" in answer.text
    assert at(cloud) == [None] * 3


async def test_pages_and_order_are_those_of_one_cloud(admin: Client, user: Client, cloud: Cloud) -> None:
    now = 1_700_000_000.0
    for number, name in enumerate(("b", "d", "a", "c")):
        for site in cloud.sites:
            site.clock = partial(float, now + number * 60)
        body = {"namespace": name, "visibility": "public", "display_name": name.upper()}
        assert (await admin.post(NAMESPACES, json=body)).status_code == 201

    async def names(query: str) -> list[str]:
        found: list[str] = []
        path = f"{NAMESPACES}?{query}"
        while path:
            page = (await user.get(path)).json()
            found += [one["namespace"] for one in page["namespaces"]]
            path = f"/image{page['next']}" if "next" in page else ""
        return found

    assert await names("") == ["c", "a", "d", "b"]  # the newest first
    assert await names("limit=1") == ["c", "a", "d", "b"]
    assert await names("limit=3&sort_dir=asc") == ["b", "d", "a", "c"]
    assert await names("limit=2&sort_key=namespace&sort_dir=asc") == ["a", "b", "c", "d"]
    assert await names("sort_key=display_name") == ["d", "c", "b", "a"]
    unknown = await user.get(f"{NAMESPACES}?marker=nobody")
    assert (unknown.status_code, "namespace=nobody was not found" in unknown.text) == (404, True)


async def test_what_one_project_alone_sees(admin: Client, user: Client) -> None:
    await admin.post(NAMESPACES, json={"namespace": "hidden"})
    assert (await user.get(f"{NAMESPACES}/hidden")).status_code == 404
    assert (await user.get(NAMESPACES)).json()["namespaces"] == []
    assert (await user.get(f"{NAMESPACES}?visibility=nobody")).status_code in {200, 400}


CHANGES: dict[str, tuple[str, str, Any]] = {
    "fields": ("PUT", "", {"namespace": OURS, "description": "new", "visibility": "private"}),
    "name": ("PUT", "", {"namespace": "OS::New"}),
    "object": ("POST", "/objects", {"name": "slow"}),
    "object changed": ("PUT", "/objects/fast", {"name": "faster", "description": "yes"}),
    "no object": ("DELETE", "/objects/fast", None),
    "no objects": ("DELETE", "/objects", None),
    "property": ("POST", "/properties", {"name": "rpm", "title": "Speed", "type": "integer"}),
    "property changed": ("PUT", "/properties/bus", {"name": "wire", "title": "Wire", "type": "string"}),
    "no property": ("DELETE", "/properties/bus", None),
    "no properties": ("DELETE", "/properties", None),
    "tag": ("POST", "/tags/new", None),
    "tags": ("POST", "/tags", {"tags": [{"name": "new"}]}),
    "tag changed": ("PUT", "/tags/old", {"name": "oldest"}),
    "no tag": ("DELETE", "/tags/old", None),
    "no tags": ("DELETE", "/tags", None),
    "type": ("POST", "/resource_types", {"name": "OS::Nova::Server", "prefix": "hw:"}),
    "no type": ("DELETE", "/resource_types/OS::Glance::Image", None),
}


def alike(spaces: list[Any]) -> list[Any]:
    """Namespaces as they may be compared: what is made again is not where it was, and knows its name."""

    def plain(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        return {name: {**one, "name": name} for name, one in sorted(part.items())}

    return [one and {key: plain(value) for key, value in one.items()} for one in spaces]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_at_every_site_or_at_none(
    admin: Client, cloud: Cloud, ours: str, change: str
) -> None:
    method, tail, body = CHANGES[change]
    before = alike(at(cloud))
    cloud.site("site3").faults.add(Fault("status", service="image", method=method, status=403, count=1))
    answer = await admin.request(method, ours + tail, json=body)
    assert answer.status_code == 403, answer.text
    assert alike(at(cloud)) == before
    assert not any(at(cloud, "OS::New"))
    answer = await admin.request(method, ours + tail, json=body)
    assert answer.status_code < 300, answer.text
    name = "OS::New" if change == "name" else OURS
    now = at(cloud, name)
    assert now[0] == now[1] == now[2] != before[0]


async def test_tags_that_are_added_stay_added(admin: Client, cloud: Cloud, ours: str) -> None:
    answer = await admin.post(
        f"{ours}/tags", json={"tags": [{"name": "new"}]}, headers={"X-OpenStack-Append": "true"}
    )
    assert answer.status_code == 201, answer.text
    assert [list(one["tags"]) for one in at(cloud)] == [["old", "older", "new"]] * 3


async def test_what_was_done_although_the_answer_was_lost(admin: Client, cloud: Cloud, ours: str) -> None:
    cloud.site("site2").faults.add(Fault("die_after_commit", service="image", method="POST", count=1))
    answer = await admin.post(f"{ours}/objects", json={"name": "slow"})
    assert answer.status_code == 201, answer.text
    assert [sorted(one["objects"]) for one in at(cloud)] == [["fast", "slow"]] * 3


async def test_a_protected_one_stays(admin: Client, cloud: Cloud, ours: str) -> None:
    body = {"namespace": OURS, "protected": True, "visibility": "public"}
    assert (await admin.put(ours, json=body)).status_code == 200
    answer = await admin.delete(ours)
    assert (answer.status_code, "is protected" in answer.text) == (403, True)
    assert all(at(cloud))


async def test_what_is_at_one_site_alone_is_found_and_changed_there(admin: Client, cloud: Cloud) -> None:
    """Made before that site joined, or beside Atoll."""
    ours = WHOLE | {part: {} for part in ("resource_type_associations", "properties", "objects", "tags")}
    now = cloud.site("site2").image.now()
    cloud.site("site2").image.metadefs.namespaces[OURS] = ours | {
        "created_at": now,
        "owner": "x",
        "protected": False,
    }
    path = f"{NAMESPACES}/{OURS}"
    assert (await admin.get(path)).status_code == 200
    assert [one["namespace"] for one in (await admin.get(NAMESPACES)).json()["namespaces"]] == [OURS]
    assert (await admin.post(f"{path}/objects", json={"name": "slow"})).status_code == 201
    assert [one and list(one["objects"]) for one in at(cloud)] == [None, ["slow"], None]
    assert (await admin.delete(path)).status_code == 204
    assert at(cloud) == [None] * 3
