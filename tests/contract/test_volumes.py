"""Block storage: volumes, snapshots, types, quotas; pages, counts, faults."""

from typing import Any

import pytest
from tests.contract.conftest import UNKNOWN, Answer, SiteUnderTest
from tests.contract.test_servers import boot
from tests.contract.test_servers import call as compute


def call(
    site: SiteUnderTest, method: str, path: str, body: Any = None, v: str = "3.0", *, user: str = "demo"
) -> Answer:
    project = site.admin.project_id if user == "admin" else site.demo.project_id
    headers = {"OpenStack-API-Version": f"volume {v}"}
    return site.call(method, "block-storage", f"/v3/{project}{path}", body, headers=headers, user=user)


def fault(answer: Answer) -> tuple[int, str]:
    return answer.status, next(iter(answer.json.values()))["message"]


def gone(site: SiteUnderTest, path: str) -> None:
    site.wait(lambda: call(site, "DELETE", path).status in (202, 404))
    site.wait(lambda: call(site, "GET", path).status == 404)


def make(site: SiteUnderTest, v: str = "3.0", **more: Any) -> dict[str, Any]:
    answer = call(site, "POST", "/volumes", {"volume": {"size": 1, "name": "contract", **more}}, v)
    assert answer.status == 202, answer.text
    volume: dict[str, Any] = answer.json["volume"]
    path = f"/volumes/{volume['id']}"
    site.undo.append(lambda: gone(site, path))
    site.wait(lambda: call(site, "GET", path).json["volume"]["status"] == "available")
    return volume


def test_create_and_show_by_microversion(site: SiteUnderTest) -> None:
    made = make(site, "3.70", metadata={"a": "b"})
    assert (made["status"], made["bootable"], made["metadata"]) == ("creating", "false", {"a": "b"})
    base = f"{site.root('block-storage')}"
    project = site.demo.project_id
    assert made["links"] == [
        {"rel": "self", "href": f"{base}/v3/{project}/volumes/{made['id']}"},
        {"rel": "bookmark", "href": f"{base}/{project}/volumes/{made['id']}"},
    ]
    old = call(site, "GET", f"/volumes/{made['id']}").json["volume"]
    assert list(old) == [
        "id", "status", "size", "availability_zone", "created_at", "updated_at", "name", "description",
        "volume_type",
        "snapshot_id", "source_volid", "metadata", "links", "user_id", "bootable", "encrypted",
        "replication_status",
        "consistencygroup_id", "multiattach", "attachments", "os-vol-tenant-attr:tenant_id",
    ]  # fmt: skip
    new = call(site, "GET", f"/volumes/{made['id']}", v="3.70").json["volume"]
    assert set(new) - set(old) == {
        "group_id",
        "shared_targets",
        "service_uuid",
        "volume_type_id",
        "consumes_quota",
    }
    assert set(made) == set(new) - {"os-vol-tenant-attr:tenant_id"}
    admin = call(site, "GET", "/volumes/detail?all_tenants=1&limit=1", v="3.70", user="admin").json[
        "volumes"
    ][0]
    assert {"os-vol-host-attr:host", "migration_status", "provider_id", "cluster_name"} <= set(admin)


def test_pages_counts_and_sorting(site: SiteUnderTest) -> None:
    for name in ("contract-b", "contract-a", "contract-c"):
        make(site, name=name)
    page = call(site, "GET", "/volumes?limit=2&sort=name:asc&with_count=true", v="3.45").json
    assert [volume["name"] for volume in page["volumes"]] == ["contract-a", "contract-b"]
    assert set(page["volumes"][0]) == {"id", "name", "links"}
    assert page["count"] == 3
    marker = page["volumes"][-1]["id"]
    query = f"limit=2&sort=name%3Aasc&with_count=true&marker={marker}"
    url = f"{site.root('block-storage')}/v3/{site.demo.project_id}/volumes"
    assert page["volumes_links"] == [{"rel": "next", "href": f"{url}?{query}"}]
    counted = call(site, "GET", f"/volumes?{query}", v="3.45").json
    assert "volumes_links" in counted  # with a count, Cinder's last page has a next link too
    rest = call(site, "GET", f"/volumes?limit=2&sort=name:asc&marker={marker}").json
    assert [volume["name"] for volume in rest["volumes"]] == ["contract-c"]
    assert "volumes_links" not in rest
    offset = call(site, "GET", "/volumes?sort=name:asc&offset=1").json["volumes"]
    assert [volume["name"] for volume in offset] == ["contract-b", "contract-c"]
    found = call(site, "GET", "/volumes/detail?name=contract-a").json["volumes"]
    assert [volume["name"] for volume in found] == ["contract-a"]
    plain = site.call("GET", "block-storage", "/v3/volumes?limit=1").json
    assert plain["volumes_links"][0]["href"].startswith(
        f"{site.root('block-storage')}/v3/volumes?limit=1&marker="
    )
    assert plain["volumes"][0]["links"][0]["href"].startswith(f"{site.root('block-storage')}/v3/volumes/")


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("limit=abc", 400, "limit param must be an integer"),
        ("limit=-1", 400, "limit param must be positive"),
        (f"marker={UNKNOWN}", 404, f"Volume {UNKNOWN} could not be found."),
        ("sort=nope", 400, "Invalid input received: Invalid sort key"),
        ("sort=name:nope", 400, "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'."),
        ("nope=1", 400, "Invalid filters nope are found in query options."),
        ("with_count=abc", 400, "Value 'abc' for 'with_count' is not a boolean."),
        ("offset=-1", 400, "offset must be >= 0"),
        ("offset=abc", 400, "offset must be an integer"),
    ],
)
def test_list_refused(site: SiteUnderTest, query: str, status: int, message: str) -> None:
    assert fault(call(site, "GET", f"/volumes?{query}", v="3.70")) == (status, message)


@pytest.mark.parametrize(
    ("volume", "status", "message"),
    [
        ({"size": 1, "volume_type": "nope"}, 404, "Volume type with name nope could not be found."),
        ({"size": 1, "snapshot_id": UNKNOWN}, 404, f"Snapshot {UNKNOWN} could not be found."),
        ({"size": 1, "source_volid": UNKNOWN}, 404, f"Volume {UNKNOWN} could not be found."),
        (
            {"size": 1, "imageRef": UNKNOWN},
            400,
            "Invalid image identifier or unable to access requested image.",
        ),
        (
            {"size": 0},
            400,
            "Invalid input for field/attribute size. Value: 0. 0 is less than the minimum of 1",
        ),
    ],
)
def test_create_refused(site: SiteUnderTest, volume: dict[str, Any], status: int, message: str) -> None:
    assert fault(call(site, "POST", "/volumes", {"volume": volume})) == (status, message)


def test_bodies_refused(site: SiteUnderTest) -> None:
    assert fault(call(site, "POST", "/volumes", "{bad")) == (400, "Malformed request body")
    assert fault(call(site, "POST", "/volumes", {"x": 1})) == (400, "'volume' is a required property")
    assert fault(call(site, "POST", "/volumes", {"volume": {}}))[0] == 400


@pytest.mark.parametrize(
    ("path", "what"), [("volumes", "Volume"), ("snapshots", "Snapshot"), ("backups", "Backup")]
)
def test_not_found(site: SiteUnderTest, path: str, what: str) -> None:
    for method in ("GET", "DELETE"):
        answer = call(site, method, f"/{path}/{UNKNOWN}")
        assert fault(answer) == (404, f"{what} {UNKNOWN} could not be found.")


def test_snapshots_keep_a_volume(site: SiteUnderTest) -> None:
    volume = make(site)
    made = call(site, "POST", "/snapshots", {"snapshot": {"volume_id": volume["id"], "name": "s"}}, "3.70")
    assert made.status == 202
    snapshot = made.json["snapshot"]
    site.undo.append(lambda: gone(site, f"/snapshots/{snapshot['id']}"))
    assert set(snapshot) == {
        "id", "created_at", "updated_at", "name", "description", "volume_id", "status", "size", "metadata",
        "group_snapshot_id", "user_id", "consumes_quota",
    }  # fmt: skip
    site.wait(
        lambda: call(site, "GET", f"/snapshots/{snapshot['id']}").json["snapshot"]["status"] == "available"
    )
    page = call(site, "GET", "/snapshots?limit=1").json
    assert page["snapshots_links"][0]["href"].endswith(f"/snapshots?limit=1&marker={snapshot['id']}")
    status, message = fault(call(site, "DELETE", f"/volumes/{volume['id']}"))
    assert status == 400
    assert message.startswith("Invalid volume: Volume status must be available or error")
    unknown = call(site, "POST", "/snapshots", {"snapshot": {"volume_id": UNKNOWN}})
    assert fault(unknown) == (404, f"Volume {UNKNOWN} could not be found.")


def test_actions_update_metadata(site: SiteUnderTest) -> None:
    path = f"/volumes/{make(site)['id']}"
    unknown = call(site, "POST", f"{path}/action", {"nope": {}})
    hint = "Verify the request body and Content-Type header and try again."
    assert fault(unknown) == (400, f"There is no such action: nope. {hint}")
    smaller = call(site, "POST", f"{path}/action", {"os-extend": {"new_size": 1}})
    sizes = "New size for extend must be greater than current size. (current: 1, extended: 1)."
    assert fault(smaller) == (400, f"Invalid input received: {sizes}")
    assert call(site, "POST", f"{path}/action", {"os-extend": {"new_size": 2}}).status == 202
    site.wait(lambda: call(site, "GET", path).json["volume"]["size"] == 2)
    updated = call(site, "PUT", path, {"volume": {"name": "z"}})
    assert (updated.status, updated.json["volume"]["name"]) == (200, "z")
    assert "os-vol-tenant-attr:tenant_id" not in updated.json["volume"]
    assert call(site, "POST", f"{path}/metadata", {"metadata": {"q": "z"}}).json == {"metadata": {"q": "z"}}


def test_types_limits_quotas_zones(site: SiteUnderTest) -> None:
    types = call(site, "GET", "/types").json["volume_types"]
    assert {"__DEFAULT__", "fake", "multiattach"} <= {entry["name"] for entry in types}
    assert set(types[0]) == {
        "id",
        "name",
        "is_public",
        "description",
        "extra_specs",
        "os-volume-type-access:is_public",
    }
    assert call(site, "GET", "/types/default").json["volume_type"]["name"] == "__DEFAULT__"
    assert fault(call(site, "GET", "/types/nope")) == (404, "Volume type nope could not be found.")
    assert len(call(site, "GET", "/limits").json["limits"]["absolute"]) == 10
    path = f"/os-quota-sets/{site.demo.project_id}"
    quota = call(site, "GET", path).json["quota_set"]
    assert {"volumes", "gigabytes", "volumes_fake", "groups", "id"} <= set(quota)
    usage = call(site, "GET", f"{path}?usage=true").json["quota_set"]["volumes"]
    assert set(usage) == {"limit", "in_use", "reserved"}
    zones = call(site, "GET", "/os-availability-zone").json
    assert zones == {"availabilityZoneInfo": [{"zoneName": "nova", "zoneState": {"available": True}}]}
    rule = "Policy doesn't allow volume_extension:services:index to be performed."
    assert fault(call(site, "GET", "/os-services")) == (403, rule)
    assert call(site, "GET", "/os-services", user="admin").status == 200
    assert call(site, "GET", "/attachments").status == 404
    assert call(site, "GET", "/attachments", v="3.27").json == {"attachments": []}
    message = f"Volume attachment could not be found with filter: attachment_id = {UNKNOWN}."
    assert fault(call(site, "GET", f"/attachments/{UNKNOWN}", v="3.27")) == (404, message)


def test_a_quota_below_what_is_used(site: SiteUnderTest) -> None:
    path = f"/os-quota-sets/{site.demo.project_id}"
    site.undo.append(lambda: call(site, "DELETE", path, user="admin"))
    make(site)
    used = call(site, "GET", f"{path}?usage=True").json["quota_set"]["volumes"]["in_use"]
    # Of what was not set before it does not look at what is used.
    first = call(site, "PUT", path, {"quota_set": {"snapshots": 5, "volumes": used}}, user="admin")
    assert first.status == 200, first.text
    status, message = fault(call(site, "PUT", path, {"quota_set": {"volumes": 0}}, user="admin"))
    assert status == 400
    assert message.startswith("Quota volumes limit must be equal or greater than existing resources. Current")
    body = {"volume": {"size": 1}}
    over = f"VolumeLimitExceeded: Maximum number of volumes allowed ({used}) exceeded for quota 'volumes'."
    assert fault(call(site, "POST", "/volumes", body)) == (413, over)


def test_attach_to_a_server(site: SiteUnderTest) -> None:
    volume_id = make(site)["id"]
    path = f"/servers/{boot(site)}/os-volume_attachments"
    attached = compute(site, "POST", path, {"volumeAttachment": {"volumeId": volume_id}})
    assert attached.status == 200
    assert set(attached.json["volumeAttachment"]) == {"id", "serverId", "volumeId", "device"}
    site.wait(lambda: call(site, "GET", f"/volumes/{volume_id}").json["volume"]["status"] == "in-use")
    entry = call(site, "GET", f"/volumes/{volume_id}").json["volume"]["attachments"][0]
    assert set(entry) == {
        "id",
        "attachment_id",
        "volume_id",
        "server_id",
        "host_name",
        "device",
        "attached_at",
    }
    later = compute(site, "GET", path, v="2.89").json["volumeAttachments"][0]
    assert set(later) == {
        "volumeId", "serverId", "device", "tag", "delete_on_termination", "attachment_id", "bdm_uuid",
    }  # fmt: skip
    server_id = path.split("/")[2]
    shown = compute(site, "GET", f"/servers/{server_id}", v="2.3").json["server"]
    assert shown["os-extended-volumes:volumes_attached"] == [
        {"id": volume_id, "delete_on_termination": False}
    ]
    message = f"Volume {UNKNOWN} could not be found."
    unknown = compute(site, "POST", path, {"volumeAttachment": {"volumeId": UNKNOWN}})
    assert fault(unknown) == (404, message)
    assert compute(site, "DELETE", f"{path}/{volume_id}").status == 202
    site.wait(lambda: call(site, "GET", f"/volumes/{volume_id}").json["volume"]["status"] == "available")
