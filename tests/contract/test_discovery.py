"""Version documents and what an unauthenticated, unknown or odd path gets, per service."""

import pytest
from tests.contract.conftest import SiteUnderTest

MISSING = "404 Not Found\n\nThe resource could not be found.\n\n   "
REQUIRES = "The request you have made requires authentication."


def test_compute_root_lists_versions_without_a_token(site: SiteUnderTest) -> None:
    answer = site.call("GET", "compute", "/", user=None)
    assert answer.status == 200
    assert [(v["id"], v["status"], v["min_version"]) for v in answer.json["versions"]] == [
        ("v2.0", "DEPRECATED", ""),
        ("v2.1", "CURRENT", "2.1"),
    ]
    assert answer.json["versions"][1]["links"] == [{"rel": "self", "href": site.root("compute") + "/v2.1/"}]


@pytest.mark.parametrize("path", ["/v2.1", "/v2.1/"])
def test_compute_version_document_needs_no_token(site: SiteUnderTest, path: str) -> None:
    answer = site.call("GET", "compute", path, user=None)
    assert answer.status == 200
    document = answer.json["version"]
    assert (document["id"], document["min_version"], document["version"]) == ("v2.1", "2.1", "2.104")
    assert document["links"][0] == {"rel": "self", "href": site.root("compute") + "/v2.1/"}
    assert answer.header("OpenStack-API-Version") == "compute 2.1"
    assert answer.header("x-compute-request-id") == answer.header("x-openstack-request-id")


def test_compute_unversioned_path_is_300(site: SiteUnderTest) -> None:
    answer = site.call("GET", "compute", "/nope", user=None)
    assert answer.status == 300
    assert [choice["id"] for choice in answer.json["choices"]] == ["v2.0", "v2.1"]
    assert answer.json["choices"][1]["links"][0]["href"] == site.root("compute") + "/v2.1/nope"


def test_volume_root_is_300_and_v3_needs_a_token(site: SiteUnderTest) -> None:
    root = site.call("GET", "block-storage", "/", user=None)
    assert root.status == 300
    entry = root.json["versions"][0]
    assert (entry["id"], entry["min_version"], entry["version"]) == ("v3.0", "3.0", "3.71")
    assert site.call("GET", "block-storage", "/v3/", user=None).status == 401
    assert site.call("GET", "block-storage", "/v3/").json == root.json


def test_volume_v3_without_slash_redirects(site: SiteUnderTest) -> None:
    answer = site.call("GET", "block-storage", "/v3")
    assert (answer.status, answer.header("location")) == (302, site.root("block-storage") + "/v3/")


def test_image_versions(site: SiteUnderTest) -> None:
    versions = site.call("GET", "image", "/versions", user=None)
    assert versions.status == 200
    entries = [(v["id"], v["status"]) for v in versions.json["versions"]]
    assert ("v2.17", "CURRENT") in entries
    assert entries[0] == ("v2.15", "SUPPORTED")
    assert entries[-1] == ("v2.0", "SUPPORTED")
    assert len(entries) == 16
    for path in ("/", "/v1/", "/nope"):
        answer = site.call("GET", "image", path, user=None)
        assert (answer.status, answer.json) == (300, versions.json)


def test_network_root_is_open_and_v2_is_not(site: SiteUnderTest) -> None:
    root = site.call("GET", "network", "/", user=None)
    assert root.status == 200
    link = {"rel": "self", "href": site.root("network") + "/v2.0/"}
    assert root.json == {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}
    assert site.call("GET", "network", "/v2.0/", user=None).status == 401
    names = [entry["collection"] for entry in site.call("GET", "network", "/v2.0/").json["resources"]]
    assert names == ["networks", "subnets", "subnetpools", "ports"]
    assert site.call("GET", "network", "/v2.0").json["NeutronError"]["type"] == "HTTPNotFound"


@pytest.mark.parametrize("user", [None, "invalid"])
@pytest.mark.parametrize(
    ("service", "path"),
    [("compute", "/v2.1/servers"), ("block-storage", "/v3/volumes"), ("network", "/v2.0/networks")],
)
def test_401_is_keystonemiddlewares(site: SiteUnderTest, service: str, path: str, user: str | None) -> None:
    answer = site.call("GET", service, path, user=user)
    assert answer.status == 401
    assert answer.json == {"error": {"code": 401, "title": "Unauthorized", "message": REQUIRES}}
    assert (answer.header("www-authenticate") or "").startswith('Keystone uri="http')
    assert (
        answer.header(
            "x-openstack-request-id",
        )
        is not None
    )


@pytest.mark.parametrize("user", [None, "invalid"])
def test_image_401_is_plain_text(site: SiteUnderTest, user: str | None) -> None:
    answer = site.call("GET", "image", "/v2/images", user=user)
    assert answer.status == 401
    assert answer.text.startswith("401 Unauthorized\n\nThis server could not verify that you are authorized")
    assert (answer.header("www-authenticate") or "").startswith('Keystone uri="http')


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("compute", "/v2.1/nope"),
        ("compute", "/v2.1/servers/"),
        ("block-storage", "/v3/nope"),
        ("block-storage", "/v3/volumes/"),
        ("image", "/v2/nope"),
        ("image", "/v2/images/"),
    ],
)
def test_unknown_route_and_trailing_slash_are_plain_404(site: SiteUnderTest, service: str, path: str) -> None:
    answer = site.call("GET", service, path)
    assert (answer.status, answer.text) == (404, MISSING)
    assert answer.header("content-type") == "text/plain; charset=UTF-8"


def test_network_takes_a_trailing_slash_and_json_suffix(site: SiteUnderTest) -> None:
    plain = site.call("GET", "network", "/v2.0/networks")
    assert site.call("GET", "network", "/v2.0/networks/").json == plain.json
    assert site.call("GET", "network", "/v2.0/networks.json").json == plain.json
    unknown = site.call("GET", "network", "/v2.0/nope")
    assert (unknown.status, unknown.json["NeutronError"]["message"]) == (
        404,
        "The resource could not be found.",
    )


@pytest.mark.parametrize(
    ("service", "path", "status"),
    [
        ("compute", "/v2.1/servers", 404),
        ("block-storage", "/v3/volumes", 404),
        ("image", "/v2/images", 405),
        ("network", "/v2.0/networks", 405),
    ],
)
def test_head_and_patch_of_a_collection(site: SiteUnderTest, service: str, path: str, status: int) -> None:
    head = site.call("HEAD", service, path)
    assert (head.status, head.raw) == (status, b"")
    assert site.call("PATCH", service, path, {}).status == status


def test_a_collection_of_cinders_may_name_its_format(site: SiteUnderTest) -> None:
    plain = site.call("GET", "block-storage", "/v3/types")
    assert site.call("GET", "block-storage", "/v3/types.json").json == plain.json


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("compute", "/v2.1//servers"),
        ("compute", "/v2.1/servers//detail"),
        ("block-storage", "/v3//volumes"),
        ("image", "/v2//images"),
        ("image", "//v2/images"),
        ("network", "/v2.0//networks"),
    ],
)
def test_several_slashes_are_one(site: SiteUnderTest, service: str, path: str) -> None:
    plain = site.call("GET", service, path.replace("//", "/"))
    assert (plain.status, site.call("GET", service, path).status) == (200, 200)


@pytest.mark.parametrize(
    ("service", "path", "message"),
    [
        (
            "compute",
            "/v2.1/{other}/servers",
            "Malformed request URL: URL's project_id '{other}' doesn't match Context's project_id '{mine}'",
        ),
        ("block-storage", "/v3/{other}/volumes", "Malformed request url"),
    ],
)
def test_another_project_in_the_path_is_400(
    site: SiteUnderTest, service: str, path: str, message: str
) -> None:
    names = {"other": site.admin.project_id, "mine": site.demo.project_id}
    answer = site.call("GET", service, path.format(**names))
    assert (answer.status, answer.json["badRequest"]["message"]) == (400, message.format(**names))
