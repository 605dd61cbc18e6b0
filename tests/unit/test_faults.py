"""Every kind of error in every dialect, literally: the bodies are what release 2026.2 answers."""

import json
from http import HTTPStatus

import pytest

from atoll.core import errors
from atoll.core.errors import AtollError
from atoll.gateway.faults import AUTHENTICATION_REQUIRED, STATUS, Answer, fault

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AtollError)]
SERVICES = ["compute", "block-storage", "image", "network", "identity", "placement", "atoll"]
CRASHED = "The server has either erred or is incapable of performing the requested operation."

NOVA = {
    "bad_request": '{"badRequest": {"code": 400, "message": "m"}}',
    "forbidden": '{"forbidden": {"code": 403, "message": "m"}}',
    "not_found": '{"itemNotFound": {"code": 404, "message": "m"}}',
    "method_not_allowed": '{"badMethod": {"code": 405, "message": "m"}}',
    "not_acceptable": '{"computeFault": {"code": 406, "message": "m"}}',
    "request_timeout": '{"computeFault": {"code": 408, "message": "m"}}',
    "conflict": '{"conflictingRequest": {"code": 409, "message": "m"}}',
    "too_large": '{"overLimit": {"code": 413, "message": "m"}}',
    "unsupported_media_type": '{"badMediaType": {"code": 415, "message": "m"}}',
    "too_many_requests": '{"overLimit": {"code": 429, "message": "m"}}',
    "internal": '{"computeFault": {"code": 500, "message": "' + CRASHED + '"}}',
    "not_implemented": '{"notImplemented": {"code": 501, "message": "m"}}',
    "bad_site_answer": '{"computeFault": {"code": 502, "message": "m"}}',
    "site_unavailable": '{"serviceUnavailable": {"code": 503, "message": "m"}}',
    "site_timeout": '{"computeFault": {"code": 504, "message": "m"}}',
}
MIDDLEWARE = '{"error": {"code": 401, "title": "Unauthorized", "message": "m"}}'


def neutron(name: str, message: str = "m", outer: str = "NeutronError") -> str:
    return f'{{"{outer}": {{"type": "{name}", "message": "{message}", "detail": ""}}}}'


def keystone(code: int, title: str, message: str = "m") -> str:
    return f'{{"error":{{"code":{code},"message":"{message}","title":"{title}"}}}}\n'


def webob(status: str, message: str = "m") -> str:
    title = status.partition(" ")[2]
    return f'{{"message": "{message}<br /><br />\\n\\n\\n", "code": "{status}", "title": "{title}"}}'


def api_sig(kind: str, status: int, title: str, message: str = "m") -> str:
    inner = f'"status": {status}, "title": "{title}", "detail": "{message}", "code": "atoll.{kind}"'
    return f'{{"errors": [{{{inner}}}]}}'


TITLES = {
    "bad_request": "Bad Request",
    "unauthorized": "Unauthorized",
    "forbidden": "Forbidden",
    "not_found": "Not Found",
    "method_not_allowed": "Method Not Allowed",
    "not_acceptable": "Not Acceptable",
    "request_timeout": "Request Timeout",
    "conflict": "Conflict",
    "too_large": "Request Entity Too Large",
    "unsupported_media_type": "Unsupported Media Type",
    "too_many_requests": "Too Many Requests",
    "internal": "Internal Server Error",
    "not_implemented": "Not Implemented",
    "bad_site_answer": "Bad Gateway",
    "site_unavailable": "Service Unavailable",
    "site_timeout": "Gateway Timeout",
}
MESSAGES = {kind: CRASHED if kind == "internal" else "m" for kind in STATUS}

BODIES = {
    "compute": NOVA | {"unauthorized": MIDDLEWARE},
    "block-storage": NOVA
    | {"unauthorized": MIDDLEWARE, "too_many_requests": '{"computeFault": {"code": 429, "message": "m"}}'},
    "network": {
        "bad_request": neutron("HTTPBadRequest"),
        "unauthorized": MIDDLEWARE,
        "forbidden": neutron("PolicyNotAuthorized"),
        "not_found": neutron("HTTPNotFound"),
        "method_not_allowed": neutron("HTTPMethodNotAllowed"),
        "not_acceptable": neutron("HTTPNotAcceptable"),
        "request_timeout": neutron("HTTPRequestTimeout"),
        "conflict": neutron("Conflict"),
        "too_large": neutron("HTTPRequestEntityTooLarge"),
        "unsupported_media_type": neutron("HTTPUnsupportedMediaType"),
        "too_many_requests": neutron("HTTPTooManyRequests"),
        "internal": neutron("HTTPInternalServerError", CRASHED),
        "not_implemented": neutron("NotImplementedError", outer="NotImplementedError"),
        "bad_site_answer": neutron("HTTPBadGateway"),
        "site_unavailable": neutron("ServiceUnavailable"),
        "site_timeout": neutron("HTTPGatewayTimeout"),
    },
    "identity": {kind: keystone(STATUS[kind], TITLES[kind], MESSAGES[kind]) for kind in STATUS}
    | {"method_not_allowed": '{"message": "m"}\n'},
    "image": {kind: webob(f"{STATUS[kind]} {TITLES[kind]}", MESSAGES[kind]) for kind in STATUS},
    "placement": {kind: api_sig(kind, STATUS[kind], TITLES[kind], MESSAGES[kind]) for kind in STATUS}
    | {"unauthorized": MIDDLEWARE},
    "atoll": {kind: api_sig(kind, STATUS[kind], TITLES[kind], MESSAGES[kind]) for kind in STATUS},
}


def headers(answer: Answer) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in answer.headers}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not AtollError])
def test_every_kind_in_every_dialect(service, kind):
    answer = fault(service, kind("m"), accept="application/json")
    assert answer.status == STATUS[kind.kind]
    assert answer.body.decode() == BODIES[service][kind.kind]
    assert json.loads(answer.body)
    assert headers(answer)["content-type"].startswith("application/json")


def test_no_kind_is_without_a_status():
    assert {kind.kind for kind in KINDS} == set(STATUS)
    assert all(HTTPStatus(status) for status in STATUS.values())


GLANCE_HTML = """<html>
 <head>
  <title>404 Not Found</title>
 </head>
 <body>
  <h1>404 Not Found</h1>
  No image found with ID &lt;x&gt;<br /><br />



 </body>
</html>"""
GLANCE_JSON = webob("404 Not Found", "No image found with ID <x>")
GLANCE_TEXT = "404 Not Found\n\nNo image found with ID \n\n   "


@pytest.mark.parametrize(
    ("accept", "content_type", "body"),
    [
        ("*/*", "text/html; charset=UTF-8", GLANCE_HTML),
        ("application/json", "application/json", GLANCE_JSON),
        ("application/*", "application/json", GLANCE_JSON),
        ("application/json;q=0.1, text/html;q=0.5", "text/html; charset=UTF-8", GLANCE_HTML),
        ("application/json, text/html;q=0.5", "application/json", GLANCE_JSON),
        ("text/html;q=0, */*;q=0.1", "application/json", GLANCE_JSON),
        ("text/html;q=x, application/json", "application/json", GLANCE_JSON),
        ("text/plain", "text/plain; charset=UTF-8", GLANCE_TEXT),
        ("", "text/plain; charset=UTF-8", GLANCE_TEXT),
        (None, "text/plain; charset=UTF-8", GLANCE_TEXT),
    ],
)
def test_image_answers_in_what_is_accepted(accept, content_type, body):
    answer = fault("image", errors.NotFound("No image found with ID <x>"), accept=accept)
    assert headers(answer)["content-type"] == content_type
    assert answer.body.decode() == body


def test_the_message_about_a_missing_token_is_the_one_of_the_service():
    error = errors.Unauthorized(
        AUTHENTICATION_REQUIRED, headers=[("WWW-Authenticate", 'Keystone uri="http://k"')]
    )
    answer = fault("network", error)
    assert json.loads(answer.body)["error"]["message"] == AUTHENTICATION_REQUIRED
    assert headers(answer)["www-authenticate"] == 'Keystone uri="http://k"'
    image = json.loads(fault("image", error, accept="application/json").body)["message"]
    assert image.startswith("This server could not verify that you are authorized")


@pytest.mark.parametrize(
    ("service", "ids"),
    [
        ("compute", {"x-openstack-request-id", "x-compute-request-id"}),
        ("block-storage", {"x-openstack-request-id", "x-compute-request-id"}),
        ("network", {"x-openstack-request-id"}),
    ],
)
def test_the_request_id_is_in_the_headers_of_the_service(service, ids):
    found = headers(fault(service, errors.NotFound("m"), request_id="req-1"))
    assert {name for name, value in found.items() if value == "req-1"} == ids


def test_our_own_body_has_the_request_id():
    assert json.loads(fault("atoll", errors.Conflict("m"), request_id="req-1").body)["errors"][0] == {
        "status": 409,
        "title": "Conflict",
        "detail": "m",
        "code": "atoll.conflict",
        "request_id": "req-1",
    }


@pytest.mark.parametrize(
    ("service", "said"), [("compute", {"retryAfter": "3"}), ("block-storage", {}), ("network", {})]
)
def test_retry_after_is_in_the_header_and_in_novas_body(service, said):
    answer = fault(service, errors.TooManyRequests("m", retry_after=2.1))
    assert headers(answer)["retry-after"] == "3"
    (content,) = json.loads(answer.body).values()
    assert {name: value for name, value in content.items() if name == "retryAfter"} == said


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ("network", "NetworkNotFound"),
        ("floatingip", "FloatingIPNotFound"),
        ("security_group_rule", "SecurityGroupRuleNotFound"),
    ],
)
def test_what_neutron_does_not_find_is_in_the_type(resource, name):
    body = json.loads(fault("network", errors.NotFound("m", resource=resource)).body)
    assert body["NeutronError"]["type"] == name


def test_a_bug_shows_nothing_of_itself():
    answer = fault("compute", RuntimeError("secret of ours"))
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert fault("object-store", ExceptionGroup("g", [KeyError("secret")])).status == 500


def test_a_header_value_stays_one_line():
    error = errors.Conflict("m", headers=[("X-Atoll-Missing-Sites", "a\r\nSet-Cookie: b \u0142")])
    assert headers(fault("compute", error))["x-atoll-missing-sites"] == "a Set-Cookie: b ?"
