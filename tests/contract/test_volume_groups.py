"""Block storage's groups, their types and snapshots, quality of service, messages, quota classes."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.conftest import UNKNOWN, Answer, SiteUnderTest
from tests.contract.test_volumes import fault

NEWEST = {"OpenStack-API-Version": "volume 3.70"}
GROUP = {
    "id", "status", "availability_zone", "created_at", "name", "description", "group_type", "volume_types",
    "group_snapshot_id", "source_group_id", "replication_status",
}  # fmt: skip


def call(site: SiteUnderTest, method: str, path: str, body: Any = None, *, user: str = "admin") -> Answer:
    """One request in the newest version, of an administrator unless said otherwise."""
    path = f"/v3/{getattr(site, user).project_id}{path}"
    return site.call(method, "block-storage", path, body, user=user, headers=NEWEST)


@pytest.fixture
def kind(site: SiteUnderTest) -> Iterator[dict[str, Any]]:
    """A type of groups that is consistent by specs."""
    made = call(site, "POST", "/group_types", {"group_type": {"name": "contract", "group_specs": {"a": "1"}}})
    assert made.status == 202, made.text
    group_type: dict[str, Any] = made.json["group_type"]
    yield group_type
    while site.undo:
        site.undo.pop()()
    assert call(site, "DELETE", f"/group_types/{group_type['id']}").status == 202


def test_types_of_groups(site: SiteUnderTest, kind: dict[str, Any]) -> None:
    assert set(kind) == {"id", "name", "description", "is_public", "group_specs"}
    path = f"/group_types/{kind['id']}"
    assert call(site, "POST", f"{path}/group_specs", {"group_specs": {"b": "2"}}).status == 202
    assert call(site, "GET", f"{path}/group_specs").json == {"group_specs": {"a": "1", "b": "2"}}
    assert call(site, "DELETE", f"{path}/group_specs/b").status == 202
    shown = call(site, "GET", path, user="demo").json["group_type"]
    assert "group_specs" not in shown, "of administrators only"
    again = call(site, "POST", "/group_types", {"group_type": {"name": "contract"}})
    assert fault(again) == (409, "Group Type contract already exists.")
    assert call(site, "GET", f"/group_types/{UNKNOWN}").status == 404


def test_a_group(site: SiteUnderTest, kind: dict[str, Any]) -> None:
    types = call(site, "GET", "/types", user="demo").json["volume_types"]
    body = {"group": {"name": "g", "group_type": kind["id"], "volume_types": [types[0]["id"]]}}
    made = call(site, "POST", "/groups", body, user="demo")
    assert (made.status, set(made.json["group"])) == (202, {"id", "name"}), made.text
    path = f"/groups/{made.json['group']['id']}"
    delete = {"delete": {"delete-volumes": True}}

    def undo() -> None:
        call(site, "POST", f"{path}/action", delete, user="demo")
        site.wait(lambda: call(site, "GET", path, user="demo").status == 404)

    site.undo.append(undo)
    shown = site.wait(lambda: _unless(call(site, "GET", path, user="demo").json["group"], "creating"))
    assert set(shown) == GROUP
    assert (shown["group_type"], shown["volume_types"]) == (kind["id"], [types[0]["id"]])
    brief = call(site, "GET", "/groups", user="demo").json["groups"]
    assert all(set(one) == {"id", "name"} for one in brief)
    page = call(site, "GET", "/groups?limit=1", user="demo").json
    assert "group_links" in page
    unknown = call(site, "GET", f"/groups/{UNKNOWN}", user="demo")
    assert fault(unknown) == (404, f"Group {UNKNOWN} could not be found.")


def _unless(group: dict[str, Any], status: str) -> dict[str, Any] | None:
    return None if group["status"] == status else group


def test_specs_of_quality(site: SiteUnderTest) -> None:
    made = call(
        site, "POST", "/qos-specs", {"qos_specs": {"name": "contract", "consumer": "back-end", "a": "1"}}
    )
    assert made.status == 200, made.text
    specs = made.json["qos_specs"]
    path = f"/qos-specs/{specs['id']}"
    site.undo.append(lambda: call(site, "DELETE", f"{path}?force=true"))
    assert (specs["consumer"], specs["specs"]) == ("back-end", {"a": "1"})
    assert call(site, "PUT", path, {"qos_specs": {"b": "2"}}).json == {"qos_specs": {"b": "2"}}
    assert call(site, "PUT", f"{path}/delete_keys", {"keys": ["a"]}).status == 202
    assert call(site, "GET", path).json["qos_specs"]["specs"] == {"b": "2"}
    kind = call(site, "POST", "/types", {"volume_type": {"name": "contract"}}).json["volume_type"]
    site.undo.insert(0, lambda: call(site, "DELETE", f"/types/{kind['id']}"))
    assert call(site, "GET", f"{path}/associate?vol_type_id={kind['id']}").status == 202
    (one,) = call(site, "GET", f"{path}/associations").json["qos_associations"]
    assert one == {"association_type": "volume_type", "id": kind["id"], "name": "contract"}
    assert fault(call(site, "DELETE", path)) == (400, "Qos specs still in use.")
    assert call(site, "GET", f"{path}/disassociate_all").status == 202
    assert call(site, "GET", f"{path}/associations").json == {"qos_associations": []}
    assert fault(call(site, "GET", f"{path}/associate")) == (400, "Volume Type id must not be None.")


def test_messages_and_classes(site: SiteUnderTest) -> None:
    assert isinstance(call(site, "GET", "/messages", user="demo").json["messages"], list)
    unknown = call(site, "GET", f"/messages/{UNKNOWN}", user="demo")
    assert fault(unknown) == (404, f"Message {UNKNOWN} could not be found.")
    shown = call(site, "GET", "/os-quota-class-sets/default").json["quota_class_set"]
    assert {"id", "volumes", "gigabytes", "per_volume_gigabytes"} <= set(shown)
    assert call(site, "GET", "/os-quota-class-sets/default", user="demo").status == 403
