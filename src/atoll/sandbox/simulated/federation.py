"""Keystone to Keystone, simulated: one Keystone vouches for its users, another lets them in.

What goes over the wire is as it is between real ones with Shibboleth before the second. The assertion itself
is a word that only the two know, for one use: nothing is signed here.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Final

from atoll.sandbox.simulated.identity import Keystone, json_answer
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault
from atoll.sandbox.simulated.tokens import Token

_ASSERT: Final = "/v3/auth/OS-FEDERATION/saml2/ecp"
_HANDED_IN: Final = "/Shibboleth.sso/SAML2/ECP"
_AUTH: Final = "/v3/OS-FEDERATION/identity_providers/top/protocols/saml2/auth"
_COOKIE: Final = "_shibsession_simulated"

# (user name, project name, roles) -> the roles there by the names of projects; none: nobody.
Mapped = Callable[[str, str, frozenset[str]], Mapping[str, frozenset[str]]]


def same_project(user: str, project: str, roles: frozenset[str]) -> Mapping[str, frozenset[str]]:
    """The project of the same name, with the same roles."""
    del user
    return {project: roles}


class Federation:
    """`idp` vouches, `sp` lets in whom `mapped` says; `name` is what `idp` calls `sp`."""

    def __init__(self, idp: Keystone, sp: Keystone, name: str, mapped: Mapped = same_project) -> None:
        self.idp, self.sp, self.name = idp, sp, name
        self.mapped = mapped
        self.auth_url, self.sp_url = sp.url + _AUTH, sp.url + _HANDED_IN
        self._sessions: dict[str, Token] = {}
        idp.service_providers[name] = {"id": name, "auth_url": self.auth_url, "sp_url": self.sp_url}
        idp.route("POST", _ASSERT, self._assert, public=True)
        sp.route("POST", _HANDED_IN, self._take, public=True)
        sp.route("GET", _AUTH, self._let_in, public=True)

    def _assert(self, call: Call) -> Response:
        auth = call.body["auth"]
        token = self.idp.validate(auth["identity"]["token"]["id"])
        if token is None:
            raise Fault(404, "Could not find token.")
        if auth["scope"]["service_provider"]["id"] not in self.idp.service_providers:
            raise Fault(404, "Could not find service provider.")
        if token.project_id is None:
            raise Fault(403, "Use a project scoped token when attempting to create a SAML assertion")
        word = secrets.token_urlsafe()
        self.idp.assertions[word] = token
        return Response(200, [("Content-Type", "text/xml")], f"<Envelope>{word}</Envelope>".encode())

    def _take(self, call: Call) -> Response:
        word = call.raw.decode().removeprefix("<Envelope>").removesuffix("</Envelope>")
        token = self.idp.assertions.pop(word, None)
        if token is None:
            return Response(
                500, [("Content-Type", "text/html")], b"<html>opensaml::FatalProfileException</html>"
            )
        session = secrets.token_urlsafe()
        self._sessions[session] = token
        headers = [("Location", call.root), ("Set-Cookie", f"{_COOKIE}={session}; path=/; HttpOnly")]
        return Response(302, headers, b"")

    def _let_in(self, call: Call) -> Response:
        cookie = call.request.header("cookie") or ""
        theirs = self._sessions.pop(cookie.partition(f"{_COOKIE}=")[2].partition(";")[0], None)
        if theirs is None:
            return Response(302, [("Location", "https://idp.example/sso")], b"")
        store, project = self.sp.store, theirs.project_name or ""
        granted = self.mapped(theirs.user_name, project, theirs.roles)
        if not granted:
            raise Fault(401, "The request you have made requires authentication.")
        user_id = store.id_of("user", f"{theirs.user_name}@Default") * 2  # 64 digits, as ephemeral users have
        store.add("users", user_id, name=f"{theirs.user_name}@Default", domain_id="default", options={})
        store.assignments = {one for one in store.assignments if one[0] != user_id}
        for record in store.records["projects"].values():  # of all domains
            roles = granted.get(record["name"], ())
            store.assignments |= {(user_id, record["id"], role) for role in roles}
        token = store.issue(user_id, None, ["mapped"], frozenset())
        response = json_answer(call, {"token": self.sp.describe(token)}, 201)
        response.headers.append(("X-Subject-Token", token.id))
        return response
