"""The OpenAPI 3.1 document of Atoll's own API, made of the table that serves it."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from atoll.gateway.own_route import Out, Route, Who

PREFIX: Final = "/atoll/v1"
REFUSALS: Final = {
    400: "malformed, or a field that is not known",
    401: "no token, or one that is not valid",
    403: "for administrators, or of another project",
    404: "there is no such thing",
    409: "it does not fit what there is; the message says what to do",
    413: "the body is too large",
    415: "the body is not application/json",
    429: "too many follow something here",
    503: "the store, or a site that is needed, does not answer",
}


class Refusal(Out, frozen=True, kw_only=True):
    """What is wrong, in words."""

    status: int
    title: str
    detail: str
    code: str
    request_id: str = ""


class Fault(Out, frozen=True, kw_only=True):
    """Every answer from 400 on, as the API guidelines have it."""

    errors: list[Refusal]


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The document, as JSON has it."""
    types = {one for route in routes for one in (route.answer, route.body) if one is not None}
    _, components = msgspec.json.schema_components(
        [Fault, *sorted(types, key=lambda one: one.__name__)], ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Atoll", "version": version, "description": "Atoll's own API."},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
        "security": [{"token": []}],
    }


def summary(route: Route) -> tuple[str, str]:
    """(what a route does in one line, what else is to be said)."""
    first, _, rest = inspect.cleandoc(route.handle.__doc__ or "").partition("\n\n")
    return " ".join(first.split()), " ".join(rest.split())


def _operation(route: Route) -> dict[str, Any]:
    line, rest = summary(route)
    operation: dict[str, Any] = {
        "operationId": route.handle.__name__,
        "summary": line,
        "description": " ".join(filter(None, [rest, f"For {route.who.value}."])),
        "parameters": [*_path(route), *_query(route)],
        "responses": _responses(route),
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.optional_body,
            "content": _json(route.body.__name__),
        }
    return operation


def _path(route: Route) -> Iterable[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1, "maxLength": 255}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in route.parameters]


def _query(route: Route) -> Iterable[dict[str, Any]]:
    schema = msgspec.json.schema(route.query)["$defs"][route.query.__name__]
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": one}
        for name, one in schema["properties"].items()
    ]


def _responses(route: Route) -> dict[str, Any]:
    said: dict[str, Any] = {"description": (route.answer.__doc__ or "") if route.answer else "Done."}
    if route.answer is not None:
        said["content"] = _json(route.answer.__name__)
    elif route.streams:
        said = {
            "description": "Server-sent events.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    refusals = {400, 401, 404, 503}
    if route.who is not Who.ANYONE:
        refusals |= {403}
    if route.method != "GET":
        refusals |= {409, 413, 415}
    if route.streams:
        refusals |= {429}
    status = route.status if route.answer is not None or route.streams else 204
    return {str(status): said} | {
        str(status): {"description": REFUSALS[status], "content": _json("Fault")}
        for status in sorted(refusals)
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
