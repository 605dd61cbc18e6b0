"""Errors as answers: the only module that knows both our kinds and the services' dialects.

Only what Atoll itself decided comes here; a site's own error passes through. The dialects were read from the
services' sources and tried on release 2026.2; `tests/unit/faults` has them literally.
"""

import html
import json
import math
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple

from atoll.core.errors import AtollError, Internal

STATUS: Final = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "request_timeout": 408,
    "conflict": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "too_many_requests": 429,
    "internal": 500,
    "not_implemented": 501,
    "bad_site_answer": 502,
    "site_unavailable": 503,
    "site_timeout": 504,
}

AUTHENTICATION_REQUIRED: Final = "The request you have made requires authentication."
"""What keystonemiddleware and Keystone say to a request without a good token."""

_INTERNAL: Final = "The server has either erred or is incapable of performing the requested operation."

_GLANCE_401: Final = (
    "This server could not verify that you are authorized to access the document you requested. "
    "Either you supplied the wrong credentials (e.g., bad password), or your browser does not understand "
    "how to supply the credentials required."
)

_NOVA_NAMES: Final = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}

_NEUTRON_TYPES: Final = {
    "bad_request": "HTTPBadRequest",
    "forbidden": "PolicyNotAuthorized",
    "not_found": "HTTPNotFound",
    "method_not_allowed": "HTTPMethodNotAllowed",
    "not_acceptable": "HTTPNotAcceptable",
    "request_timeout": "HTTPRequestTimeout",
    "conflict": "Conflict",
    "too_large": "HTTPRequestEntityTooLarge",
    "unsupported_media_type": "HTTPUnsupportedMediaType",
    "too_many_requests": "HTTPTooManyRequests",
    "internal": "HTTPInternalServerError",
    "not_implemented": "NotImplementedError",
    "bad_site_answer": "HTTPBadGateway",
    "site_unavailable": "ServiceUnavailable",
    "site_timeout": "HTTPGatewayTimeout",
}

_NEUTRON_NOUNS: Final = {"floatingip": "FloatingIP", "subnetpool": "SubnetPool"}
"""Nouns whose class name is not simply their words capitalised."""


class Answer(NamedTuple):
    """A whole answer. The headers have everything but Content-Length, Date and Connection."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class _Fault(NamedTuple):
    """What a dialect writes down."""

    kind: str
    status: int
    message: str
    retry_after: str | None
    resource: str | None
    accept: str | None
    request_id: str


_Written = tuple[str, bytes]
"""Content type and body."""


def fault(service: str, error: BaseException, *, accept: str | None = None, request_id: str = "") -> Answer:
    """Write `error` in the dialect of `service`.

    `service` is a service type (`compute`, `block-storage`, `image`, `network`, `identity`, `placement`) or
    `atoll`; another one gets the dialect of `atoll`. `accept` is the request's header, which only image looks
    at; None means there was none. An error that is not ours is a bug: a 500 with a fixed text.
    """
    known = error if isinstance(error, AtollError) else Internal(repr(error))
    said = _said(service, known, accept, request_id)
    write = _DIALECTS.get(service, _api_sig)
    if said.status == 401 and service in _BEHIND_KEYSTONEMIDDLEWARE:
        write = _keystonemiddleware
    content_type, body = write(said)
    headers = [("Content-Type", content_type)]
    if request_id:
        headers.append(("x-openstack-request-id", request_id))
        if service in ("compute", "block-storage"):
            headers.append(("x-compute-request-id", request_id))
    if service == "identity":
        headers.append(("Vary", "X-Auth-Token"))
    if said.retry_after is not None:
        headers.append(("Retry-After", said.retry_after))
    headers.extend(known.headers)
    return Answer(said.status, [(name.encode("latin-1"), _value(value)) for name, value in headers], body)


def _said(service: str, error: AtollError, accept: str | None, request_id: str) -> _Fault:
    message = str(error) if error.safe else _INTERNAL
    if error.kind == "unauthorized" and (not message or message == AUTHENTICATION_REQUIRED):
        message = _GLANCE_401 if service == "image" else AUTHENTICATION_REQUIRED
    retry_after = None if error.retry_after is None else str(max(0, math.ceil(error.retry_after)))
    return _Fault(
        kind=error.kind,
        status=STATUS.get(error.kind, 500),
        message=message,
        retry_after=retry_after,
        resource=error.resource,
        accept=accept,
        request_id=request_id,
    )


def _value(text: str) -> bytes:
    """Header values are one line of latin-1, whatever a message or a site's name held."""
    return re.sub(r"[\r\n\0]+", " ", text).encode("latin-1", "replace")


def _dumps(content: object) -> bytes:
    return json.dumps(content).encode()


def _compute(said: _Fault) -> _Written:
    return "application/json; charset=UTF-8", _nova_body(said, retry_for=(413, 429))


def _block_storage(said: _Fault) -> _Written:
    # Cinder has Nova's table without 429, and its default name really is computeFault.
    return "application/json", _nova_body(said, retry_for=(413,))


def _nova_body(said: _Fault, retry_for: tuple[int, ...]) -> bytes:
    name = "computeFault"
    if said.status != 429 or 429 in retry_for:
        name = _NOVA_NAMES.get(said.status, name)
    content: dict[str, object] = {"code": said.status, "message": said.message}
    if said.retry_after is not None and said.status in retry_for:
        content["retryAfter"] = said.retry_after
    return _dumps({name: content})


def _network(said: _Fault) -> _Written:
    name = _NEUTRON_TYPES.get(said.kind, "HTTPInternalServerError")
    if said.kind == "not_found" and said.resource:
        words = said.resource.replace("-", "_").split("_")
        name = _NEUTRON_NOUNS.get(said.resource, "".join(word.capitalize() for word in words)) + "NotFound"
    outer = "NotImplementedError" if said.kind == "not_implemented" else "NeutronError"
    return "application/json", _dumps({outer: {"type": name, "message": said.message, "detail": ""}})


def _keystonemiddleware(said: _Fault) -> _Written:
    content = {"code": said.status, "title": "Unauthorized", "message": said.message}
    return "application/json", _dumps({"error": content})


def _identity(said: _Fault) -> _Written:
    if said.status == 405:  # written by Flask-RESTful, not by Keystone
        return "application/json", _dumps({"message": said.message}) + b"\n"
    content = {"code": said.status, "message": said.message, "title": _title(said.status)}
    return "application/json", json.dumps({"error": content}, separators=(",", ":")).encode() + b"\n"


def _api_sig(said: _Fault) -> _Written:
    content: dict[str, object] = {
        "status": said.status,
        "title": _title(said.status),
        "detail": said.message,
        "code": f"atoll.{said.kind}",
    }
    if said.request_id:
        content["request_id"] = said.request_id
    return "application/json", _dumps({"errors": [content]})


def _image(said: _Fault) -> _Written:
    """Glance leaves its faults to WebOb, which answers in what is accepted; this is WebOb's template."""
    title = _title(said.status)
    status = f"{said.status} {title}"
    match = _preferred(said.accept)
    if match == "application/json":
        content = {"message": f"{said.message}<br /><br />\n\n\n", "code": status, "title": title}
        return match, _dumps(content)
    if match == "text/html":
        inner = f"{html.escape(said.message)}<br /><br />\n\n\n"
        page = (
            f"<html>\n <head>\n  <title>{status}</title>\n </head>\n"
            f" <body>\n  <h1>{status}</h1>\n  {inner}\n </body>\n</html>"
        )
        return "text/html; charset=UTF-8", page.encode()
    text = re.sub(r"<[^>]*>", "", said.message.replace("\n", " ").replace("\r", ""))
    return "text/plain; charset=UTF-8", f"{status}\n\n{text}\n\n   ".encode()


def _title(status: int) -> str:
    if status == 413:
        return "Request Entity Too Large"  # the name changed in Python 3.13, not in the services
    return HTTPStatus(status).phrase


def _preferred(accept: str | None) -> str | None:
    """Choose between HTML and JSON as WebOb does: by quality, then HTML first; None if neither."""
    if not accept:
        return None
    qualities = [(offer, _quality(offer, accept)) for offer in ("text/html", "application/json")]
    accepted = sorted((pair for pair in qualities if pair[1] > 0), key=lambda pair: -pair[1])
    return accepted[0][0] if accepted else None


def _quality(offer: str, accept: str) -> float:
    """Give the quality of the most specific range of `accept` that covers `offer`."""
    specific, quality = -1, 0.0
    ranks = {"*/*": 0, offer.split("/", maxsplit=1)[0] + "/*": 1, offer: 2}
    for entry in accept.split(","):
        media, *parameters = (part.strip().lower() for part in entry.split(";"))
        rank = ranks.get(media, -1)
        if rank > specific:
            specific, quality = rank, _q(parameters)
    return quality


def _q(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


_BEHIND_KEYSTONEMIDDLEWARE: Final = frozenset({"compute", "block-storage", "network", "placement"})

_DIALECTS: Final[dict[str, Callable[[_Fault], _Written]]] = {
    "compute": _compute,
    "block-storage": _block_storage,
    "image": _image,
    "network": _network,
    "identity": _identity,
    "placement": _api_sig,
    "atoll": _api_sig,
}
