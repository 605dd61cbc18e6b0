"""What every simulated service does the same way: match a route, check the token, read the body, answer.

A service says what differs: its routes, its fault bodies and what it does with versions.
"""

import json
import re
import uuid
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote

from atoll.sandbox.simulated.server import Request, Response
from atoll.sandbox.simulated.tokens import Token

Json = dict[str, Any]
RECEIVED = 100  # how many bodies a service keeps for tests to look at
_PARAMETER = "{}"  # the trie's key for a segment of any value
UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\Z")


def one_slash(path: str) -> str:
    """A path with several slashes as one, which is how the real services take it."""
    return re.sub("/{2,}", "/", path)


class Fault(Exception):
    """Raised by a handler to answer with the service's own fault body.

    `kind` is what the dialect needs beside the status (Neutron's exception type); `detail` goes with it.
    """

    def __init__(self, status: int, message: str, kind: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.headers = [(name.replace("_", "-"), value) for name, value in headers.items()]


class Call:
    """One request on its way: the matched route's parameters, who asks, and the microversion (its minor)."""

    __slots__ = ("body", "minor", "params", "query", "raw", "request", "request_id", "root", "token")

    def __init__(self, request: Request, root: str) -> None:
        self.request = request
        self.root = root  # the service's own URL up to and without the version segment's children
        self.request_id = "req-" + str(uuid.uuid4())
        self.params: dict[str, str] = {}
        self.query: list[tuple[str, str]] = (
            parse_qsl(request.query, keep_blank_values=True) if request.query else []
        )
        self.token: Token | None = None
        self.minor = 0
        self.raw = b""
        self.body: Any = None

    @property
    def who(self) -> Token:
        """The caller. Raises LookupError on a route that needs no token."""
        if self.token is None:
            raise LookupError("the route is public")
        return self.token

    @property
    def project_id(self) -> str:
        """The caller's project."""
        return self.who.project_id or ""

    @property
    def admin(self) -> bool:
        """Whether the caller has the admin role."""
        return "admin" in self.who.roles

    def one(self, name: str) -> str | None:
        """The last value of a query parameter, or None."""
        found = None
        for key, value in self.query:
            if key == name:
                found = value
        return found

    def all(self, name: str) -> list[str]:
        """All values of a query parameter, in order."""
        return [value for key, value in self.query if key == name]


Handle = Callable[[Call], Response | Awaitable[Response]]


@cache
def _segments(template: str) -> tuple[list[str], list[str]]:
    """A template's steps through a trie, and the names of its parameters."""
    parts = template.strip("/").split("/")
    names = [part[1:-1] for part in parts if part.startswith("{")]
    return [_PARAMETER if part.startswith("{") else part for part in parts], names


class Routes:
    """A trie of path templates like `/servers/{id}/action`; literal segments win over parameters."""

    def __init__(self) -> None:
        self._given: list[tuple[str, str, Handle]] = []
        self._root: Json = {}

    def add(self, method: str, template: str, handle: Handle) -> None:
        """Register a handler. `template` starts with `/`; `{name}` is one segment."""
        self._given.append((method, template, handle))

    def find(self, path: str) -> tuple[dict[str, tuple[Handle, list[str]]], list[str]] | None:
        """A path's handlers by method and its parameters' values, or None. A trailing slash is no match."""
        if self._given:
            self._take_in()
        return self._walk(self._root, path.strip("/").split("/"), 0) if not path.endswith("/") else None

    def _take_in(self) -> None:
        """Enter what was registered: most services of most tests are never asked for more than versions."""
        for method, template, handle in self._given:
            keys, names = _segments(template)
            node = self._root
            for key in keys:
                node = node.setdefault(key, {})
            node.setdefault("/", {})[method] = (handle, names)
        self._given.clear()

    def _walk(self, node: Json, parts: list[str], at: int) -> Any:
        if at == len(parts):
            return (node["/"], []) if "/" in node else None
        part = unquote(parts[at])
        found = (
            self._walk(node[part], parts, at + 1) if part in node and part not in ("/", _PARAMETER) else None
        )
        if found is None and _PARAMETER in node:
            found = self._walk(node[_PARAMETER], parts, at + 1)
            if found is not None:
                found[1].insert(0, part)
        return found


def dumps(value: Any) -> bytes:
    """JSON as Python's json writes it by default, which is what the services send."""
    return json.dumps(value).encode()


def plain(status: int, title: str, explanation: str, detail: str = "") -> bytes:
    """A fault page as WebOb writes it for clients that did not ask for HTML."""
    return f"{status} {title}\n\n{explanation}\n\n {detail}  ".encode()


def keystone_challenge(auth_url: str) -> tuple[str, str]:
    """The header keystonemiddleware sends with 401."""
    return ("WWW-Authenticate", f'Keystone uri="{auth_url}"')


UNAUTHORIZED = {
    "error": {
        "code": 401,
        "title": "Unauthorized",
        "message": "The request you have made requires authentication.",
    }
}
