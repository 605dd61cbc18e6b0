"""Images: create, upload, download, PATCH, members, tags, pages, faults (plain text), burned ids."""

import hashlib
import json
import uuid
from typing import Any

import pytest
from tests.contract.conftest import UNKNOWN, Answer, SiteUnderTest

PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
OCTETS = {"Content-Type": "application/octet-stream"}


def call(site: SiteUnderTest, method: str, path: str, body: Any = None, **options: Any) -> Answer:
    return site.call(method, "image", "/v2" + path, body, **options)


def text(answer: Answer) -> str:
    """The explanation of a plain text fault, whitespace folded."""
    assert answer.header("content-type") == "text/plain; charset=UTF-8"
    assert answer.text.startswith(f"{answer.status} ")
    return " ".join(answer.text.split("\n\n", 1)[1].split())


def make(site: SiteUnderTest, **fields: Any) -> dict[str, Any]:
    answer = call(
        site,
        "POST",
        "/images",
        {"name": "contract", "disk_format": "raw", "container_format": "bare"} | fields,
    )
    assert answer.status == 201, answer.text
    image: dict[str, Any] = answer.json
    site.undo.append(lambda: call(site, "DELETE", f"/images/{image['id']}"))
    assert answer.header("location") == f"{site.root('image')}/v2/images/{image['id']}"
    return image


def patch(site: SiteUnderTest, image_id: str, *operations: dict[str, Any]) -> Answer:
    return call(site, "PATCH", f"/images/{image_id}", json.dumps(operations), headers=PATCH)


def test_create_shows_glances_fields_in_order(site: SiteUnderTest) -> None:
    image = make(site, foo="bar", tags=["t1"])
    assert list(image) == [
        "foo", "name", "disk_format", "container_format", "visibility", "size", "virtual_size", "status",
        "checksum",
        "protected", "min_ram", "min_disk", "owner", "os_hidden", "os_hash_algo", "os_hash_value", "id",
        "created_at",
        "updated_at", "tags", "self", "file", "schema",
    ]  # fmt: skip
    assert (image["status"], image["visibility"], image["tags"]) == ("queued", "shared", ["t1"])


def test_upload_and_download(site: SiteUnderTest) -> None:
    path = f"/images/{make(site)['id']}/file"
    assert call(site, "GET", path).status == 204
    refused = call(site, "PUT", path, "{}", headers={"Content-Type": "application/json"})
    assert (refused.status, "Invalid content type application/json" in text(refused)) == (415, True)
    put = call(site, "PUT", path, b"hello", headers=OCTETS)
    assert (put.status, put.raw) == (204, b"")
    again = call(site, "PUT", path, b"hello", headers=OCTETS)
    assert (again.status, text(again)) == (
        409,
        "Image status transition from active to saving is not allowed",
    )
    shown = call(site, "GET", path.removesuffix("/file")).json
    assert (shown["size"], shown["status"], shown["stores"]) == (5, "active", "file")
    assert shown["os_hash_value"] == hashlib.sha512(b"hello").hexdigest()
    got = call(site, "GET", path)
    assert (got.status, got.raw, got.header("content-md5")) == (200, b"hello", shown["checksum"])
    part = call(site, "GET", path, headers={"Range": "bytes=0-1"})
    assert (part.status, part.raw, part.header("content-range")) == (206, b"he", "bytes 0-1/5")
    assert call(site, "GET", path, headers={"Range": "bytes=9-"}).status == 416
    head = call(site, "HEAD", path)
    assert (head.status, head.header("allow")) == (405, "GET, PUT")


def test_a_deleted_id_is_burned(site: SiteUnderTest) -> None:
    image_id = make(site, id=str(uuid.uuid4()))["id"]
    taken = call(site, "POST", "/images", {"id": image_id})
    assert (taken.status, text(taken)) == (409, f"Image ID {image_id} already exists!")
    assert call(site, "DELETE", f"/images/{image_id}").status == 204
    again = call(site, "DELETE", f"/images/{image_id}")
    assert (again.status, text(again)) == (404, f"Failed to find image {image_id} to delete")
    burned = call(site, "POST", "/images", {"id": image_id})
    assert (burned.status, text(burned)) == (409, f"Image ID {image_id} already exists!")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"id": "abc"}, 400, "Provided object does not match schema 'image': 'abc' does not match"),
        ({"disk_format": "nope"}, 400, "Provided object does not match schema 'image': 'nope' is not one of"),
        ("{bad", 400, "Malformed JSON in request body."),
        (None, 400, "Body expected in request."),
        ({"status": "active"}, 403, "Attribute 'status' is read-only."),
        (
            {"owner": "x"},
            403,
            "Access was denied to this resource. You are not permitted to create images owned by 'x'",
        ),
        ({"visibility": "public"}, 403, "You are not authorized to complete publicize_image action."),
    ],
)
def test_create_refused(site: SiteUnderTest, body: Any, status: int, message: str) -> None:
    answer = call(site, "POST", "/images", body, headers={"Content-Type": "application/json"})
    assert (answer.status, text(answer)[: len(message)]) == (status, message)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=abc", "limit param must be an integer"),
        ("limit=-1", "limit param must be positive"),
        (f"marker={UNKNOWN}", f"No image found with ID {UNKNOWN}"),
        ("sort_dir=nope", "Invalid sort direction: nope"),
        ("sort=name:nope", "Invalid sort direction: nope"),
        ("visibility=nope", "Invalid visibility value: nope"),
        (
            "sort_key=nope",
            (
                "Invalid sort key: nope. It must be one of the following: name, status, container_format, "
                "disk_format, size, id, created_at, updated_at."
            ),
        ),
    ],
)
def test_list_refused(site: SiteUnderTest, query: str, message: str) -> None:
    answer = call(site, "GET", f"/images?{query}")
    assert (answer.status, text(answer)) == (400, message)


def test_pages_and_filters(site: SiteUnderTest) -> None:
    ids = {name: make(site, name=name)["id"] for name in ("contract-b", "contract-a")}
    tagged = make(site, name="contract-c", tags=["contract"], flavour="x")["id"]
    page = call(site, "GET", "/images?visibility=shared&sort=name:asc&limit=2").json
    assert [image["name"] for image in page["images"]] == ["contract-a", "contract-b"]
    assert page["first"] == "/v2/images?visibility=shared&sort=name%3Aasc&limit=2"
    assert page["next"] == f"{page['first']}&marker={ids['contract-b']}"
    assert page["schema"] == "/v2/schemas/images"
    rest = call(site, "GET", page["next"].removeprefix("/v2")).json
    assert ([image["id"] for image in rest["images"]], "next" in rest) == ([tagged], False)
    for query in ("tag=contract", "flavour=x", "name=in:contract-c,nope", "name=contract-c"):
        found = call(site, "GET", f"/images?{query}").json["images"]
        assert [image["id"] for image in found] == [tagged], query
    newest = call(site, "GET", "/images?visibility=shared&sort_key=created_at&sort_dir=desc").json["images"]
    assert {image["id"] for image in newest} == {*ids.values(), tagged}
    assert call(site, "GET", "/images?nope=1").json["images"] == []
    assert call(site, "GET", "/images?limit=0").json == {
        "images": [], "first": "/v2/images?limit=0", "schema": "/v2/schemas/images",
    }  # fmt: skip


def test_patch(site: SiteUnderTest) -> None:
    image_id = make(site, foo="bar")["id"]
    wrong = call(site, "PATCH", f"/images/{image_id}", "[]", headers={"Content-Type": "application/json"})
    assert wrong.status == 415
    assert wrong.header("accept-patch") == (
        "application/openstack-images-v2.0-json-patch, application/openstack-images-v2.1-json-patch"
    )
    changed = patch(
        site,
        image_id,
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "remove", "path": "/foo"},
        {"op": "add", "path": "/b", "value": "c"},
    )
    assert (changed.status, changed.json["name"], changed.json["b"], "foo" in changed.json) == (
        200,
        "new",
        "c",
        False,
    )
    missing = patch(site, image_id, {"op": "remove", "path": "/foo"})
    conflict = "There was a conflict when trying to complete your request."
    assert (missing.status, text(missing)) == (409, f"{conflict} Property foo does not exist.")
    for name in ("id", "status"):
        refused = patch(site, image_id, {"op": "replace", "path": f"/{name}", "value": "x"})
        assert (refused.status, text(refused)) == (403, f"Attribute '{name}' is read-only.")
    shape = call(site, "PATCH", f"/images/{image_id}", "{}", headers=PATCH)
    assert text(shape) == "Request body must be a JSON array of operation objects."


def test_tags_and_members(site: SiteUnderTest) -> None:
    path, other = f"/images/{make(site)['id']}", site.admin.project_id
    assert call(site, "PUT", f"{path}/tags/x").status == 204
    assert call(site, "DELETE", f"{path}/tags/nope").status == 404
    assert call(site, "DELETE", f"{path}/tags/x").status == 204
    assert call(site, "GET", f"{path}/members").json == {"members": [], "schema": "/v2/schemas/members"}
    added = call(site, "POST", f"{path}/members", {"member": other})
    assert (added.status, added.json["status"], added.json["member_id"]) == (200, "pending", other)
    again = call(site, "POST", f"{path}/members", {"member": other})
    assert again.status == 409
    denied = call(site, "PUT", f"{path}/members/{other}", {"status": "accepted"})
    assert (denied.status, text(denied)) == (403, "You are not authorized to complete modify_member action.")
    assert call(site, "DELETE", f"{path}/members/{other}").status == 204
    missing = call(site, "GET", f"{path}/members/nope")
    image_id = path.rpartition("/")[2]
    assert text(missing) == f"nope not found in the member list of the image {image_id}."


def test_not_found_and_not_allowed(site: SiteUnderTest) -> None:
    answer = call(site, "GET", f"/images/{UNKNOWN}")
    assert (answer.status, text(answer)) == (404, f"No image found with ID {UNKNOWN}")
    put = call(site, "PUT", "/images", {})
    assert (put.status, put.header("allow")) == (405, "GET, POST")
    assert text(put) == "The method PUT is not allowed for this resource."
    head = call(site, "HEAD", f"/images/{UNKNOWN}")
    assert (head.status, head.header("allow"), head.raw) == (405, "GET, PATCH, DELETE", b"")


def test_deactivated_image(site: SiteUnderTest) -> None:
    path = f"/images/{make(site)['id']}"
    call(site, "PUT", f"{path}/file", b"hello", headers=OCTETS)
    assert call(site, "POST", f"{path}/actions/deactivate", user="admin").status == 204
    denied = call(site, "GET", f"{path}/file")
    assert denied.status == 403
    assert text(denied) == "The requested image has been deactivated. Image data download is forbidden."
    assert call(site, "POST", f"{path}/actions/reactivate", user="admin").status == 204


def test_schemas(site: SiteUnderTest) -> None:
    image = call(site, "GET", "/schemas/image").json
    assert (image["name"], image["additionalProperties"]) == ("image", {"type": "string"})
    for name in ("images", "member", "members"):
        assert call(site, "GET", f"/schemas/{name}").json["name"] == name
