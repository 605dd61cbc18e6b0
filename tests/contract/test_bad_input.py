"""Bad input to compute: what Nova answers to what no careful client sends."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.conftest import UNKNOWN, Answer, SiteUnderTest
from tests.contract.test_compute_rest import fault
from tests.contract.test_servers import boot, call

NEW, OLD = "OpenStack-API-Version", "X-OpenStack-Nova-API-Version"
LATEST = "2.104"
GONE = "This resource is no longer available. No forwarding address is given."
NO_RESOURCE = "The resource could not be found."
BROKEN = "The server has either erred or is incapable of performing the requested operation."
HYPERVISOR = "Hypervisor with ID '{}' could not be found."
OTHER = "0" * 32  # a project that is not the token's

FACTS = json.loads((Path(__file__).parents[1] / "unit" / "services" / "nova-2026.2.json").read_text())


def asked(operation: dict[str, Any]) -> str:
    """A path of an operation's template."""
    return f"/{operation['path'].replace('{id}', UNKNOWN)}"


def routes(kept: str) -> list[Any]:
    """The operations that have a fact, each once."""
    found = {
        (one["method"], asked(one)) for one in FACTS["operations"] if one.get(kept) and "action" not in one
    }
    return [pytest.param(*one, id=" ".join(one)) for one in sorted(found)]


def no_route(answer: Answer) -> None:
    """What the router says of a path that it does not know, in plain text and without a version."""
    assert (answer.status, answer.header("content-type")) == (404, "text/plain; charset=UTF-8")
    assert answer.text == f"404 Not Found\n\n{NO_RESOURCE}\n\n   "
    assert answer.header(NEW) is None


def bad_query(name: str, value: str, why: str) -> str:
    return f"Invalid input for query parameters {name}. Value: {value}. {why}"


def malformed(version: str) -> str:
    return f"API Version String {version} is of invalid format. Must be of format MajorNum.MinorNum."


# -- lists --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/servers", "/servers/detail", "/flavors", "/flavors/detail"])
@pytest.mark.parametrize("marker", ["nope", UNKNOWN, "1099511627777", "a%20b", "..", "%00"])
def test_a_marker_of_nothing(site: SiteUnderTest, path: str, marker: str) -> None:
    shown = marker.replace("%20", " ").replace("%00", "\0")
    assert fault(call(site, "GET", f"{path}?marker={marker}")) == (400, f"marker [{shown}] not found")


def test_a_marker_where_it_means_nothing(site: SiteUnderTest) -> None:
    assert call(site, "GET", "/os-server-groups?marker=nope").status == 200
    message = "Additional properties are not allowed ('marker' was unexpected)"
    assert fault(call(site, "GET", "/os-server-groups?marker=nope", v="2.75")) == (400, message)
    assert fault(call(site, "GET", "/os-keypairs?marker=nope", v="2.35")) == (
        400,
        "Marker nope could not be found.",
    )


def test_keypairs_of_older_versions_have_no_pages(site: SiteUnderTest) -> None:
    for query in ("marker=nope", "limit=nope", "limit="):
        assert call(site, "GET", f"/os-keypairs?{query}", v="2.34").status == 200


def test_a_limit_of_none(site: SiteUnderTest) -> None:
    """0 is an empty page of servers and flavors, and every server group."""
    made = call(site, "POST", "/os-server-groups", {"server_group": {"name": "g", "policies": ["affinity"]}})
    group = made.json["server_group"]["id"]
    site.undo.append(lambda: call(site, "DELETE", f"/os-server-groups/{group}"))
    assert call(site, "GET", "/servers?limit=0").json == {"servers": []}
    assert call(site, "GET", "/flavors?limit=0").json == {"flavors": []}
    listed = call(site, "GET", "/os-server-groups?limit=0").json["server_groups"]
    assert group in [one["id"] for one in listed]


@pytest.mark.parametrize("path", ["/servers", "/flavors", "/os-server-groups"])
@pytest.mark.parametrize("limit", ["-1", "abc", "1.5", "%2B1", "%201"])
def test_a_limit_that_is_none(site: SiteUnderTest, path: str, limit: str) -> None:
    shown = limit.replace("%2B", "+").replace("%20", " ")
    message = bad_query("limit", shown, f"'{shown}' does not match '^[0-9]*$'")
    assert fault(call(site, "GET", f"{path}?limit={limit}")) == (400, message)


@pytest.mark.parametrize("path", ["/servers", "/flavors", "/os-server-groups"])
def test_a_limit_of_nothing(site: SiteUnderTest, path: str) -> None:
    message = bad_query("limit", "", "'' should be non-empty")
    assert fault(call(site, "GET", f"{path}?limit=")) == (400, message)


@pytest.mark.parametrize(
    ("query", "v", "status", "message"),
    [
        (
            "sort_key=nope",
            "2.1",
            400,
            "Invalid input for query parameters sort_key. Value: nope. 'nope' is not",
        ),
        ("sort_key=", "2.1", 400, "Invalid input for query parameters sort_key. Value: . '' is not one of"),
        ("sort_key=%00", "2.1", 400, "Invalid input for query parameters sort_key. Value: \0. "),
        (
            "sort_key=created_at,uuid",
            "2.1",
            400,
            "Invalid input for query parameters sort_key. Value: created_at,",
        ),
        ("sort_key=user_data", LATEST, 400, "Invalid input for query parameters sort_key. Value: user_data."),
        ("sort_key=host", "2.1", 403, "Only administrators can sort servers by host"),
        ("sort_key=node", LATEST, 403, "Only administrators can sort servers by node"),
        (
            "sort_dir=nope",
            "2.1",
            400,
            "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'",
        ),
        ("status=DELETED", "2.1", 403, "Only administrators may list deleted instances"),
        ("name=%ff", "2.1", 400, "Query string is not UTF-8 encoded"),
        ("nope=1", "2.75", 400, "'nope' does not match any of the regexes: '^_'"),
    ],
)
def test_a_list_that_is_asked_for_wrongly(
    site: SiteUnderTest, query: str, v: str, status: int, message: str
) -> None:
    answer = fault(call(site, "GET", f"/servers?{query}", v=v))
    assert (answer[0], answer[1][: len(message)]) == (status, message)


@pytest.mark.parametrize("key", ["id", "user_data", "vcpus", "deleted_at", "locked"])
def test_sort_keys_that_older_versions_take_and_ignore(site: SiteUnderTest, key: str) -> None:
    assert call(site, "GET", f"/servers?sort_key={key}").status == 200


def test_only_administrators_sort_by_host(site: SiteUnderTest) -> None:
    assert call(site, "GET", "/servers?sort_key=host", user="admin").status == 200


# -- microversions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/servers", "/servers/detail", f"/servers/{UNKNOWN}", "/flavors/42", "/limits"]
)
@pytest.mark.parametrize(
    "version",
    ["abc", "2", "2.1.1", "2.01", "02.1", "-1.1", "2.", ".1", "LATEST", "Latest", "2.latest", "2.1;x"],
)
def test_a_version_that_is_none(site: SiteUnderTest, path: str, version: str) -> None:
    answer = site.call("GET", "compute", f"/v2.1{path}", headers={NEW: f"compute {version}"})
    assert fault(answer) == (400, malformed(version))
    assert (answer.header(NEW), answer.header("vary")) == (None, None)


@pytest.mark.parametrize(
    "path", ["/servers", f"/servers/{UNKNOWN}", "/flavors/42", "/limits", "/os-keypairs"]
)
@pytest.mark.parametrize("version", ["1.1", "2.0", "2.999", "3.0"])
def test_a_version_that_nobody_has(site: SiteUnderTest, path: str, version: str) -> None:
    answer = site.call("GET", "compute", f"/v2.1{path}", headers={NEW: f"compute {version}"})
    limits = f"Minimum is 2.1 and maximum is {LATEST}."
    assert answer.status == 406
    assert (
        answer.json["computeFault"]["message"] == f"Version {version} is not supported by the API. {limits}"
    )
    assert (answer.header(NEW), answer.header(OLD)) == (f"compute {version}", version)


@pytest.mark.parametrize(
    ("headers", "used"),
    [
        ({NEW: ""}, "2.1"),
        ({NEW: "compute"}, "2.1"),
        ({NEW: "nova 2.5"}, "2.1"),
        ({NEW: "latest"}, "2.1"),
        ({NEW: "COMPUTE 2.5"}, "2.5"),
        ({NEW: "compute  2.5"}, "2.5"),
        ({NEW: "compute 2.5,compute 2.7"}, "2.7"),
        ({NEW: "volume 3.0, compute 2.7"}, "2.7"),
        ({NEW: "compute 2.5,"}, "2.5"),
        ({NEW: "", OLD: "2.5"}, "2.5"),
        ({NEW: "volume 3.0", OLD: "2.5"}, "2.5"),
        ({OLD: "latest"}, LATEST),
    ],
)
def test_odd_ways_to_ask_for_a_version(site: SiteUnderTest, headers: dict[str, str], used: str) -> None:
    for path in ("/v2.1/servers?limit=1", f"/v2.1/servers/{UNKNOWN}", "/v2.1/extensions"):
        answer = site.call("GET", "compute", path, headers=headers)
        assert (answer.header(NEW), answer.header(OLD)) == (f"compute {used}", used), path


def test_the_older_header_is_read_where_the_newer_says_nothing(site: SiteUnderTest) -> None:
    for given, version in (
        ({OLD: "abc"}, "abc"),
        ({OLD: "compute 2.5"}, "compute 2.5"),
        ({OLD: "2.5", NEW: "compute x"}, "x"),
    ):
        answer = site.call("GET", "compute", "/v2.1/servers", headers=given)
        assert fault(answer) == (400, malformed(version))


@pytest.mark.parametrize("version", ["2.999", "abc", "2.latest", "2.5"])
def test_v2_knows_no_versions(site: SiteUnderTest, version: str) -> None:
    answer = site.call("GET", "compute", "/v2/servers", headers={NEW: f"compute {version}", OLD: version})
    assert (answer.status, answer.header(NEW), answer.header(OLD)) == (200, None, None)


# -- paths --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/servers", "/servers/detail", f"/servers/{UNKNOWN}", "/flavors", "/flavors/42", "/limits",
     "/os-keypairs", "/os-availability-zone", "/os-server-groups", "/os-hypervisors"],
)  # fmt: skip
def test_both_forms_of_a_url_and_both_versions(site: SiteUnderTest, path: str) -> None:
    """With and without the project, /v2.1 and /v2: the same but for the links and what says the version."""
    said = set()
    for version in ("v2.1", "v2"):
        for project in ("", f"/{site.demo.project_id}"):
            answer = site.call("GET", "compute", f"/{version}{project}{path}")
            assert (answer.header(NEW) is None) == (version == "v2")
            text = answer.text.replace("/v2/", "/v2.1/")
            said.add((answer.status, text.replace(f"/{site.demo.project_id}", "")))
    assert len(said) == 1


@pytest.mark.parametrize("project", [OTHER, "f" * 31, "f" * 33, "0", "abc", "-", UNKNOWN])
def test_a_project_that_is_not_the_tokens(site: SiteUnderTest, project: str) -> None:
    message = (
        f"Malformed request URL: URL's project_id '{project}' doesn't match Context's project_id "
        f"'{site.demo.project_id}'"
    )
    for path in ("servers", "servers/detail?limit=1", f"servers/{UNKNOWN}", "flavors", "limits"):
        assert fault(site.call("GET", "compute", f"/v2.1/{project}/{path}")) == (400, message), path
    for method in ("POST", "DELETE"):
        path = "servers" if method == "POST" else f"servers/{UNKNOWN}"
        answer = site.call(
            method, "compute", f"/v2.1/{project}/{path}", {"server": {}} if method == "POST" else None
        )
        assert fault(answer) == (400, message), method


@pytest.mark.parametrize("project", ["nope", OTHER.replace("0", "A"), "%7Bx%7D", "ada%20b"])
def test_what_can_be_no_project(site: SiteUnderTest, project: str) -> None:
    no_route(site.call("GET", "compute", f"/v2.1/{project}/servers"))
    no_route(site.call("GET", "compute", f"/v2.1/{project}/servers", headers={NEW: "compute abc"}))


def test_a_route_that_is_none_comes_before_the_project(site: SiteUnderTest) -> None:
    for path in ("os-nothing", "os-server-external-events", "servers/"):
        no_route(site.call("GET", "compute", f"/v2.1/{OTHER}/{path}"))


JSON = {"Content-Type": "application/json"}
UNSUPPORTED = "Unsupported Content-Type"
RANGE = "Version 2.999 is not supported by the API. Minimum is 2.1 and maximum is 2.104."


@pytest.mark.parametrize(
    ("method", "headers", "body", "status", "message"),
    [
        ("GET", {NEW: "compute abc"}, None, 400, malformed("abc")),
        ("GET", {NEW: "compute 2.999"}, None, 406, RANGE),
        ("GET", {"Content-Type": "application/xml"}, None, 415, UNSUPPORTED),
        ("POST", {**JSON, NEW: "compute abc"}, b"{", 400, malformed("abc")),
        ("POST", {**JSON, NEW: "compute 2.999"}, b"{", 406, RANGE),
        ("POST", JSON, b"{", 400, "Malformed request body"),
        ("POST", {"Content-Type": "text/plain"}, b"{", 400, "Malformed request body"),
        ("POST", {"Content-Type": "application/xml"}, b"{", 415, UNSUPPORTED),
        ("POST", {**JSON, NEW: "compute 2.60"}, b"{", 400, "Malformed request body"),
        ("POST", JSON, b"[]", 400, None),
        ("POST", JSON, b'{"server": NaN}', 400, None),
        ("POST", JSON, b"", 400, None),
    ],
)
def test_what_comes_before_the_project_and_what_after(
    site: SiteUnderTest, method: str, headers: dict[str, str], body: bytes | None, status: int,
    message: str | None,
) -> None:  # fmt: skip
    """The version, then the body's type, then whether it is JSON; what is in it only after the project."""
    answer = site.call(method, "compute", f"/v2.1/{OTHER}/servers", body, headers=headers)
    own = (
        f"Malformed request URL: URL's project_id '{OTHER}' doesn't match Context's project_id "
        f"'{site.demo.project_id}'"
    )
    assert fault(answer) == (status, message or own)
    told = message != malformed("abc")
    assert answer.all("vary") == ([NEW, OLD] if told else [])
    version = headers.get(NEW, "compute 2.1") if told else None
    assert answer.header(NEW) == version


def test_what_comes_before_the_project_at_block_storage(site: SiteUnderTest) -> None:
    path = f"/v3/{OTHER}/volumes"
    for headers, body, status, message in (
        (JSON, b"{", 400, "Malformed request body"),
        ({"Content-Type": "application/xml"}, b"{", 415, UNSUPPORTED),
        (JSON, b"{}", 400, "Malformed request url"),
    ):
        answer = site.call("POST", "block-storage", path, body, headers=headers)
        assert fault(answer) == (status, message)
        assert answer.all("vary") == [NEW]


@pytest.mark.parametrize(
    "path",
    ["/servers", "/servers/detail", "/flavors", "/flavors/42", "/limits", f"/servers/{UNKNOWN}",
     "/os-keypairs", "/os-hypervisors", "/os-availability-zone", "/extensions", "/os-nothing",
     f"/os-quota-sets/{OTHER}", f"/os-simple-tenant-usage/{OTHER}", "/os-server-external-events"],
)  # fmt: skip
def test_head_and_trailing_slashes(site: SiteUnderTest, path: str) -> None:
    head = site.call("HEAD", "compute", f"/v2.1{path}")
    assert (head.status, head.raw, head.header("content-type")) == (404, b"", "text/html; charset=UTF-8")
    for tail in ("/", "/?limit=1"):
        no_route(site.call("GET", "compute", f"/v2.1{path}{tail}"))
        no_route(site.call("POST", "compute", f"/v2.1{path}{tail}", {}))
    no_route(site.call("PATCH", "compute", f"/v2.1{path}"))
    assert site.call("OPTIONS", "compute", f"/v2.1{path}").status == 200


@pytest.mark.parametrize("tail", ["", "/metadata", "/os-instance-actions", "/os-interface"])
@pytest.mark.parametrize(
    "ident",
    ["nope", "1", "1099511627777", UNKNOWN + "x", UNKNOWN + ".json", "a:b", "%20", UNKNOWN.replace("-", "")],
)
def test_a_server_of_a_wrong_shape(site: SiteUnderTest, ident: str, tail: str) -> None:
    answer = call(site, "GET", f"/servers/{ident}{tail}", v=LATEST)
    shown = ident.replace("%20", " ")
    assert fault(answer) == (404, f"Instance {shown} could not be found.")
    assert fault(call(site, "DELETE", f"/servers/{ident}"))[0] == 404


@pytest.mark.parametrize("ident", ["nope", "1099511627777", "..x", "a%20b", "9" * 30])
def test_others_of_a_wrong_shape(site: SiteUnderTest, ident: str) -> None:
    shown = ident.replace("%20", " ")
    assert fault(call(site, "GET", f"/flavors/{ident}")) == (404, f"Flavor {shown} could not be found.")
    group = f"Instance group {shown} could not be found."
    assert fault(call(site, "GET", f"/os-server-groups/{ident}")) == (404, group)
    key = f"Keypair {shown} not found for user {site.demo.user_id}"
    assert fault(call(site, "GET", f"/os-keypairs/{ident}")) == (404, key)


@pytest.mark.parametrize(
    ("path", "v", "status", "message"),
    [
        ("/os-hypervisors/nope", "2.1", 404, HYPERVISOR.format("nope")),
        (f"/os-hypervisors/{'1' * 32}", "2.53", 404, HYPERVISOR.format("1" * 32)),
        (f"/os-hypervisors/{UNKNOWN}", "2.53", 404, HYPERVISOR.format(UNKNOWN)),
        ("/os-hypervisors/nope", "2.53", 400, "Invalid uuid nope"),
        ("/os-hypervisors/1", "2.53", 400, "Invalid uuid 1"),
        ("/os-aggregates/nope", "2.1", 400, "Invalid input received: id must be an integer"),
        (f"/os-aggregates/{UNKNOWN}", LATEST, 400, "Invalid input received: id must be an integer"),
        ("/os-aggregates/4711", "2.1", 404, "Aggregate 4711 could not be found."),
        (f"/os-aggregates/{'9' * 30}", "2.1", 404, f"Aggregate {'9' * 30} could not be found."),
        ("/os-console-auth-tokens/nope", LATEST, 404, "Token not found"),
    ],
)
def test_what_belongs_to_a_site_by_a_wrong_id(
    site: SiteUnderTest, path: str, v: str, status: int, message: str
) -> None:
    assert fault(call(site, "GET", path, v=v, user="admin")) == (status, message)


@pytest.mark.parametrize(
    ("ident", "v", "status", "message"),
    [
        ("nope", "2.1", 400, "Invalid input received: id must be an integer"),
        ("4711", "2.1", 404, "Service 4711 not found."),
        ("1", "2.53", 400, "Invalid uuid 1"),
        (UNKNOWN, "2.53", 404, f"Service {UNKNOWN} not found."),
    ],
)
def test_a_service_by_a_wrong_id(site: SiteUnderTest, ident: str, v: str, status: int, message: str) -> None:
    assert fault(call(site, "DELETE", f"/os-services/{ident}", v=v, user="admin")) == (status, message)


# -- routes that are gone -----------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), routes("removed"))
def test_what_is_gone(site: SiteUnderTest, method: str, path: str) -> None:
    for v in ("2.1", LATEST):
        answer = call(site, method, path, {"x": 1} if method in {"POST", "PUT"} else None, v)
        assert (answer.status, answer.json) == (410, {"computeFault": {"code": 410, "message": GONE}})


@pytest.mark.parametrize(
    ("method", "path"), [one for one in routes("last") if "volumes_boot" not in str(one.values[1])]
)
def test_what_newer_versions_have_closed(site: SiteUnderTest, method: str, path: str) -> None:
    answer = call(site, method, path, {"x": 1} if method in {"POST", "PUT"} else None, LATEST)
    assert fault(answer) == (404, NO_RESOURCE)
    assert answer.header(OLD) == LATEST


# -- bodies -------------------------------------------------------------------------------------------

NO_OBJECT = "{} is not of type 'object'"
NEEDED = {"/servers": "server", "/os-keypairs": "keypair", "/os-server-groups": "server_group"}


@pytest.mark.parametrize("path", NEEDED)
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", NO_OBJECT.format("None")),
        (b"null", NO_OBJECT.format("None")),
        (b"[]", NO_OBJECT.format("[]")),
        (b"1", NO_OBJECT.format("1")),
        (b'"x"', NO_OBJECT.format("'x'")),
        (b"{", "Malformed request body"),
        (b"\xef\xbb\xbf{}", "Malformed request body"),
        (b"{}", "'{name}' is a required property"),
        (b'{"x": 1}', "'{name}' is a required property"),
    ],
)
def test_a_body_that_is_none(site: SiteUnderTest, path: str, body: bytes, message: str) -> None:
    answer = site.call("POST", "compute", f"/v2.1{path}", body, headers={"Content-Type": "application/json"})
    assert fault(answer) == (400, message.replace("{name}", NEEDED[path]))


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_a_body_with_something_else_in_it(site: SiteUnderTest, value: Any) -> None:
    for path, name in NEEDED.items():
        why = f"{value!r} is not of type 'object'"
        message = f"Invalid input for field/attribute {name}. Value: {value}. {why}"
        assert fault(call(site, "POST", path, {name: value})) == (400, message)
    answer = call(site, "POST", "/flavors", {"flavor": value}, user="admin")
    why = f"{value!r} is not of type 'object'"
    assert fault(answer) == (400, f"Invalid input for field/attribute flavor. Value: {value}. {why}")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b"\xff\xfe"])
def test_a_body_that_breaks_nova(site: SiteUnderTest, body: bytes) -> None:
    """Nova is not careful here: it says 500 of itself. What answers must live on."""
    for path in ("/servers", "/os-keypairs", "/os-server-groups"):
        answer = site.call(
            "POST", "compute", f"/v2.1{path}", body, headers={"Content-Type": "application/json"}
        )
        assert (answer.status, answer.json["computeFault"]["message"]) == (500, BROKEN)
    headers = {"Content-Type": "application/json"}
    answer = site.call(
        "POST", "compute", "/v2.1/os-server-external-events", body, headers=headers, user="admin"
    )
    assert answer.status == 500
    assert call(site, "GET", "/servers?limit=1").status == 200


@pytest.mark.parametrize(
    ("media", "status"),
    [("text/plain", 400), ("application/xml", 415), ("application/x-www-form-urlencoded", 415), ("", 400)],
)
def test_a_body_of_another_type(site: SiteUnderTest, media: str, status: int) -> None:
    for path in NEEDED:
        answer = site.call("POST", "compute", f"/v2.1{path}", b"{}", headers={"Content-Type": media})
        assert answer.status == status
        if status == 415:
            message = "Unsupported Content-Type"
            assert answer.json == {"badMediaType": {"code": 415, "message": message}}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "Malformed request body"),
        (b"{", 400, "Malformed request body"),
        (b"[]", 400, "Malformed request body"),
        (b"{}", 400, "Malformed request body"),
        (b"1", 404, NO_RESOURCE),
        (b"null", 404, NO_RESOURCE),
        (b'{"os-stop": null, "os-start": null}', 400, "Malformed request body"),
        (b'{"fly": null}', 400, "There is no such action: fly"),
        (b'{"resetNetwork": null}', 410, GONE),
    ],
)
def test_an_action_that_is_none(site: SiteUnderTest, body: bytes, status: int, message: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = site.call("POST", "compute", f"/v2.1/servers/{UNKNOWN}/action", body, headers=headers)
    assert fault(answer) == (status, message)


EVENT = {"name": "network-changed", "server_uuid": UNKNOWN}


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ("x", "Invalid input for field/attribute events. Value: x. 'x' is not of type 'array'"),
        (None, "Invalid input for field/attribute events. Value: None. None is not of type 'array'"),
        ({}, "Invalid input for field/attribute events. Value: {}. {} is not of type 'array'"),
        ([], "Invalid input for field/attribute events. Value: []. [] should be non-empty"),
        ([1], "Invalid input for field/attribute 0. Value: 1. 1 is not of type 'object'"),
        (
            [{"name": "network-changed"}],
            (
                "Invalid input for field/attribute 0. Value: {'name': 'network-changed'}. "
                "'server_uuid' is a required property"
            ),
        ),
        (
            [{**EVENT, "server_uuid": "x"}],
            "Invalid input for field/attribute server_uuid. Value: x. 'x' is not a 'uuid'",
        ),
        (
            [{**EVENT, "status": "nope"}],
            (
                "Invalid input for field/attribute status. Value: nope. "
                "'nope' is not one of ['failed', 'completed', 'in-progress']"
            ),
        ),
    ],
)
def test_events_that_are_none(site: SiteUnderTest, events: Any, message: str) -> None:
    answer = call(site, "POST", "/os-server-external-events", {"events": events}, user="admin")
    assert fault(answer) == (400, message)


# -- what a part does not have ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tail", ["metadata/nope", "tags/nope", "os-instance-actions/nope", "ips/nope", "nothing"]
)
def test_a_part_that_is_not_there_hides_no_server(site: SiteUnderTest, tail: str) -> None:
    server_id = boot(site)
    assert call(site, "GET", f"/servers/{server_id}/{tail}", v=LATEST).status == 404
    assert call(site, "GET", f"/servers/{server_id}").status == 200
    assert server_id in [one["id"] for one in call(site, "GET", "/servers").json["servers"]]
