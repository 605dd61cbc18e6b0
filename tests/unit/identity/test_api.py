"""Users, projects, roles and application credentials over the API; who may, and what bad input gets."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.identity.conftest import PASSWORD, World

from atoll.core.errors import (
    AtollError,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    NotImplementedHere,
    TooManyRequests,
    Unauthorized,
)
from atoll.identity.passwords import USER_BURST
from atoll.identity.records import ROLE_IDS
from atoll.identity.service import NOT_SERVED
from atoll.identity.tokens import Token

# What an ordinary user may ask: method, path with the own user and project filled in.
OF_ONES_OWN = [
    ("GET", "users/{user}"),
    ("GET", "users/{user}/projects"),
    ("GET", "users/{user}/application_credentials"),
    ("GET", "users/{user}/access_rules"),
    ("GET", "projects/{project}"),
    ("GET", "domains/default"),
    ("GET", "regions"),
    ("GET", "regions/Atoll"),
    ("GET", "auth/projects"),
    ("GET", "auth/domains"),
    ("GET", "auth/system"),
    ("GET", "auth/catalog"),
]
FOR_ADMINISTRATORS = [
    ("GET", "users", "list_users"),
    ("POST", "users", "create_user"),
    ("GET", "users/{other}", "get_user"),
    ("PATCH", "users/{user}", "update_user"),
    ("DELETE", "users/{user}", "delete_user"),
    ("DELETE", "users/{other}/tokens", "revoke_tokens_for_user"),
    ("GET", "users/{other}/projects", "list_user_projects"),
    ("GET", "users/{other}/application_credentials", "list_application_credentials"),
    ("GET", "users/{other}/application_credentials/x", "get_application_credential"),
    ("DELETE", "users/{other}/application_credentials/x", "delete_application_credential"),
    ("GET", "users/{other}/access_rules", "list_access_rules"),
    ("GET", "projects", "list_projects"),
    ("POST", "projects", "create_project"),
    ("GET", "projects/{elsewhere}", "get_project"),
    ("PATCH", "projects/{project}", "update_project"),
    ("DELETE", "projects/{project}", "delete_project"),
    ("GET", "domains", "list_domains"),
    ("GET", "roles", "list_roles"),
    ("GET", "roles/{role}", "get_role"),
    ("GET", "role_assignments", "list_role_assignments"),
    ("GET", "projects/{project}/users/{user}/roles", "list_grants"),
    ("GET", "projects/{project}/users/{user}/roles/{role}", "check_grant"),
    ("PUT", "projects/{project}/users/{user}/roles/{role}", "create_grant"),
    ("DELETE", "projects/{project}/users/{user}/roles/{role}", "revoke_grant"),
    ("GET", "services", "list_services"),
    ("GET", "services/x", "get_service"),
    ("GET", "endpoints", "list_endpoints"),
    ("GET", "endpoints/x", "get_endpoint"),
]


def filled(world: World, path: str) -> str:
    ids = world.ids
    return path.format(
        user=ids["you"],
        other=ids["me"],
        project=ids["lab"],
        elsewhere=ids["other"],
        role=ROLE_IDS["admin"],
    )


@pytest.mark.parametrize(("method", "path"), OF_ONES_OWN)
async def test_what_is_ones_own(world: World, method: str, path: str) -> None:
    token = await world.log_in("you")
    assert (await world.ask(method, filled(world, path), token=token)).status == 200


@pytest.mark.parametrize(("method", "path", "action"), FOR_ADMINISTRATORS)
async def test_what_is_for_administrators(world: World, method: str, path: str, action: str) -> None:
    token = await world.log_in("you")
    with pytest.raises(Forbidden, match=f"action: identity:{action}."):
        await world.ask(method, filled(world, path), {}, token=token)


async def test_every_route_is_in_one_of_the_two_lists_or_needs_no_token(world: World) -> None:
    def shape(path: str) -> str:
        parts = path.split("/")
        return path if parts[0] == "auth" else "/".join("{}" if at % 2 else p for at, p in enumerate(parts))

    listed = {(m, shape(p)) for m, p in OF_ONES_OWN} | {(m, shape(p)) for m, p, _ in FOR_ADMINISTRATORS}
    elsewhere = {  # tested by name
        *((method, "auth/tokens") for method in ("GET", "HEAD", "POST", "DELETE")),
        ("POST", "users/{}/password"),
        ("POST", "users/{}/application_credentials"),
        ("GET", "users/{}/access_rules/{}"),
        ("DELETE", "users/{}/access_rules/{}"),
    }
    served = {(method, path) for path, methods in world.identity.routes.items() for method in methods}
    assert served - listed - elsewhere == set()


async def test_every_route_is_in_the_reference(world: World) -> None:
    page = (Path(__file__).parents[3] / "docs/reference/built-in-identity.md").read_text()
    told: dict[str, set[str]] = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) < 3 or not cells[0].startswith("`"):
            continue
        for path in cells[0].replace("`", "").split(", "):
            told.setdefault(path.replace("{id}", "{}"), set()).update(cells[1].split())
    served = {path: set(methods) for path, methods in world.identity.routes.items()}
    assert {path: methods - {"HEAD"} for path, methods in told.items()} == {
        path: methods - {"HEAD"} for path, methods in served.items()
    }


async def test_nothing_but_logging_in_goes_without_a_token(world: World) -> None:
    for path, methods in world.identity.routes.items():
        for method in methods:
            if (method, path) in {("POST", "auth/tokens"), ("POST", "users/{}/password")}:
                assert not world.identity.needs_token(method, path)
                continue
            assert world.identity.needs_token(method, path)


async def test_a_user_is_made_changed_and_removed(world: World) -> None:
    token = await world.log_in()
    user = {"name": "new", "password": PASSWORD, "email": "new@example.org", "description": "Who is new"}
    made = (await world.ask("POST", "users", {"user": user}, token=token)).body["user"]
    assert made["email"] == "new@example.org"
    assert made["enabled"] is True
    assert made["links"]["self"] == f"http://atoll/v3/users/{made['id']}"
    assert "password" not in made
    path = f"users/{made['id']}"
    with pytest.raises(Conflict, match="Duplicate entry found with name new at domain ID default"):
        await world.ask("POST", "users", {"user": user}, token=token)
    changed = await world.ask("PATCH", path, {"user": {"enabled": False, "phone": "1"}}, token=token)
    assert (changed.body["user"]["enabled"], changed.body["user"]["email"]) == (False, "new@example.org")
    with pytest.raises(Unauthorized):
        await world.log_in("new", scope=None)
    listed = (await world.ask("GET", "users?name=NEW&enabled=false", token=token)).body["users"]
    assert [one["id"] for one in listed] == [made["id"]]
    assert (await world.ask("DELETE", path, token=token)).status == 204
    with pytest.raises(NotFound, match=f"Could not find user: {made['id']}."):
        await world.ask("GET", path, token=token)


async def test_a_project_is_made_changed_and_removed(world: World) -> None:
    token = await world.log_in()
    made = (await world.ask("POST", "projects", {"project": {"name": "new", "cost": 7}}, token=token)).body
    project = made["project"]
    assert (
        project | {"domain_id": "default", "parent_id": "default", "is_domain": False, "cost": 7} == project
    )
    with pytest.raises(Conflict, match="two projects with either the same name"):
        await world.ask("POST", "projects", {"project": {"name": "new"}}, token=token)
    with pytest.raises(NotFound, match="Could not find domain: elsewhere"):
        await world.ask("POST", "projects", {"project": {"name": "x", "domain_id": "elsewhere"}}, token=token)
    path = f"projects/{project['id']}"
    changed = await world.ask("PATCH", path, {"project": {"description": "d"}}, token=token)
    assert (changed.body["project"]["description"], changed.body["project"]["cost"]) == ("d", 7)
    assert (await world.ask("DELETE", path, token=token)).status == 204
    with pytest.raises(NotFound):
        await world.ask("PATCH", path, {"project": {"name": "y"}}, token=token)


async def test_roles_are_given_seen_and_taken(world: World) -> None:
    token = await world.log_in()
    path = filled(world, "projects/{project}/users/{user}/roles")
    reader = f"{path}/{ROLE_IDS['service']}"
    with pytest.raises(NotFound, match="Could not find role assignment"):
        await world.ask("HEAD", reader, token=token)
    assert (await world.ask("PUT", reader, token=token)).status == 204
    assert (await world.ask("HEAD", reader, token=token)).status == 204
    listed = (await world.ask("GET", path, token=token)).body["roles"]
    assert {role["name"] for role in listed} == {"member", "service"}
    assert (await world.ask("DELETE", reader, token=token)).status == 204
    with pytest.raises(NotFound):
        await world.ask("DELETE", reader, token=token)
    with pytest.raises(NotFound, match="Could not find role: x"):
        await world.ask("PUT", f"{path}/x", token=token)
    with pytest.raises(NotFound, match="Could not find user: x"):
        await world.ask(
            "PUT", f"projects/{path.split('/')[1]}/users/x/roles/{ROLE_IDS['admin']}", token=token
        )


async def test_assignments_by_what_they_are_filtered(world: World) -> None:
    token = await world.log_in()

    async def found(query: str) -> list[Any]:
        path = filled(world, f"role_assignments?{query}")
        answer = await world.ask("GET", path, token=token)
        return list(answer.body["role_assignments"])

    assert len(await found("")) == 3
    assert len(await found("user.id={user}")) == 2
    (one,) = await found("user.id={user}&scope.project.id={elsewhere}&include_names")
    assert (one["user"]["name"], one["scope"]["project"]["name"], one["role"]["name"]) == (
        "you", "other", "reader",
    )  # fmt: skip
    effective = await found("user.id={other}&effective=True&include_names=1")
    assert {each["role"]["name"] for each in effective} == {"admin", "manager", "member", "reader"}
    assert len(await found("role.id={role}")) == 1
    assert await found("scope.system=all") == []
    with pytest.raises(BadRequest):
        await found("user.id=x&group.id=y")


async def test_lists_in_pages(world: World) -> None:
    token = await world.log_in()
    whole = (await world.ask("GET", "users", token=token)).body["users"]
    first = (await world.ask("GET", "users?limit=1", token=token)).body
    assert first["users"] == whole[:1]
    following = first["links"]["next"].removeprefix("http://atoll/v3/")
    second = (await world.ask("GET", following, token=token)).body
    assert (second["users"], second["links"]["next"]) == (whole[1:], None)
    with pytest.raises(NotFound, match="Marker x could not be found"):
        await world.ask("GET", "users?marker=x", token=token)


async def test_ones_own_password(world: World) -> None:
    token = await world.log_in("you")
    path = f"users/{token.user.id}/password"
    change = {"user": {"password": "another", "original_password": PASSWORD}}
    assert (await world.ask("POST", path, change)).status == 204
    with pytest.raises(Unauthorized):
        await world.log_in("you")
    await world.log_in("you", "another")
    with pytest.raises(Unauthorized):
        await world.ask("POST", path, change)
    with pytest.raises(Unauthorized):
        await world.ask("POST", "users/nobody/password", change)
    same = {"user": {"password": "another", "original_password": "another"}}
    with pytest.raises(BadRequest):
        await world.ask("POST", path, same)


async def test_a_password_too_long(world: World) -> None:
    token = await world.log_in()
    with pytest.raises(Forbidden, match="must be less than or equal to 4096"):
        await world.ask("POST", "users", {"user": {"name": "x", "password": "x" * 5000}}, token=token)
    with pytest.raises(Unauthorized):
        await world.log_in("me", "x" * 5000)


async def test_one_answer_whoever_is_named_and_then_429(world: World) -> None:
    said = set()
    for user in ("me", "nobody"):
        for _ in range(USER_BURST):
            with pytest.raises(Unauthorized) as refused:
                await world.log_in(user, "wrong", address="10.0.0.1")
            said.add(str(refused.value))
        with pytest.raises(TooManyRequests) as slower:
            await world.log_in(user, PASSWORD, address="10.0.0.1")
        assert slower.value.retry_after
    assert said == {"The request you have made requires authentication."}
    await world.log_in("me", address="10.0.0.2")


async def credential(world: World, token: Token, **fields: Any) -> dict[str, Any]:
    path = f"users/{token.user.id}/application_credentials"
    answer = await world.ask("POST", path, {"application_credential": {"name": "c", **fields}}, token=token)
    assert answer.status == 201
    made: dict[str, Any] = answer.body["application_credential"]
    return made


async def by_credential(world: World, **given: Any) -> Token:
    identity = {"methods": ["application_credential"], "application_credential": given}
    return world.of(await world.ask("POST", "auth/tokens", {"auth": {"identity": identity}}))


async def test_an_application_credential_logs_in(world: World) -> None:
    token = await world.log_in("you")
    made = await credential(world, token, roles=[{"name": "reader"}], description="d")
    assert len(made["secret"]) >= 80
    by_id = await by_credential(world, id=made["id"], secret=made["secret"])
    assert by_id.roles == {"reader"}
    assert by_id.content.methods == ("application_credential",)
    user = {"name": "you", "domain": {"id": "default"}}
    assert (await by_credential(world, name="c", user=user, secret=made["secret"])).user == token.user
    described = (await world.ask("GET", "auth/tokens", token=by_id, subject=by_id.id)).body["token"]
    assert described["application_credential"] == {"id": made["id"], "name": "c", "restricted": True}
    shown = await world.ask("GET", f"users/{token.user.id}/application_credentials/{made['id']}", token=token)
    assert "secret" not in shown.body["application_credential"]
    for wrong in (
        {"id": made["id"], "secret": "wrong"},
        {"id": "none", "secret": made["secret"]},
        {"name": "c", "user": {"name": "me", "domain": {"id": "default"}}, "secret": made["secret"]},
    ):
        with pytest.raises(Unauthorized):
            await by_credential(world, **wrong)


async def test_what_a_credential_may_not(world: World) -> None:
    token = await world.log_in("you")
    made = await credential(world, token)
    by_it = await by_credential(world, id=made["id"], secret=made["secret"])
    path = f"users/{token.user.id}/application_credentials"
    with pytest.raises(Forbidden, match="managing additional application credentials"):
        await credential(world, by_it, name="d")
    with pytest.raises(Forbidden):
        await world.ask("DELETE", f"{path}/{made['id']}", token=by_it)
    identity = {"methods": ["token"], "token": {"id": by_it.id}}
    with pytest.raises(Forbidden, match="delegated token"):
        await world.ask("POST", "auth/tokens", {"auth": {"identity": identity}})
    given = {"methods": ["application_credential"], "application_credential": {"id": made["id"]}}
    with pytest.raises(Unauthorized, match="cannot request a scope"):
        await world.ask("POST", "auth/tokens", {"auth": {"identity": given, "scope": "unscoped"}})
    free = await credential(world, token, name="free", unrestricted=True)
    by_free = await by_credential(world, id=free["id"], secret=free["secret"])
    await credential(world, by_free, name="d")


async def test_who_may_make_a_credential_and_with_what(world: World) -> None:
    token = await world.log_in("you")
    with pytest.raises(BadRequest, match="unassigned role"):
        await credential(world, token, roles=[{"name": "admin"}])
    with pytest.raises(NotFound):
        await credential(world, token, roles=[{"name": "none"}])
    with pytest.raises(Forbidden):
        await credential(world, await world.log_in("you", scope="unscoped"))
    admin = await world.log_in()
    path = f"users/{token.user.id}/application_credentials"
    with pytest.raises(Forbidden, match="for another user"):
        await world.ask("POST", path, {"application_credential": {"name": "c"}}, token=admin)
    await credential(world, token)
    with pytest.raises(Conflict):
        await credential(world, token)


async def test_what_ends_a_credential(world: World) -> None:
    token, directory = await world.log_in("you"), world.identity.directory
    moment = "2027-01-15T08:00:30Z"
    made = await credential(world, token, expires_at=moment)
    assert made["expires_at"] == "2027-01-15T08:00:30.000000"
    by_it = await by_credential(world, id=made["id"], secret=made["secret"])
    assert by_it.content.expires == world.clock.now + 30
    world.clock.now += 31
    with pytest.raises(Unauthorized):
        await by_credential(world, id=made["id"], secret=made["secret"])
    with pytest.raises(BadRequest, match="must not be before now"):
        await credential(world, token, name="late", expires_at=moment)
    for wrong in ("soon", "9999-99-99T00:00:00"):
        with pytest.raises(BadRequest, match="Timestamp"):
            await credential(world, token, name="late", expires_at=wrong)
    other = await credential(world, token, name="other")
    await directory.unassign(token.user.id, token.content.project_id, "member")
    with pytest.raises(Unauthorized):
        await by_credential(world, id=other["id"], secret=other["secret"])


async def test_access_rules_are_kept_and_shown(world: World) -> None:
    token = await world.log_in("you")
    rule = {"service": "compute", "method": "GET", "path": "/v2.1/servers"}
    made = await credential(world, token, access_rules=[rule])
    (kept,) = made["access_rules"]
    assert kept == {**rule, "id": kept["id"]}
    again = await credential(world, token, name="again", access_rules=[{"id": kept["id"]}])
    assert again["access_rules"] == [kept]
    by_it = await by_credential(world, id=made["id"], secret=made["secret"])
    assert by_it.credential is not None
    assert by_it.credential.access_rules is not None
    assert str(by_it.credential.access_rules[0]) == "compute GET /v2.1/servers"
    rules = f"users/{token.user.id}/access_rules"
    assert [one["id"] for one in (await world.ask("GET", rules, token=token)).body["access_rules"]] == [
        kept["id"]
    ]
    with pytest.raises(Forbidden, match="in use"):
        await world.ask("DELETE", f"{rules}/{kept['id']}", token=token)
    for one in (made, again):
        await world.ask("DELETE", f"users/{token.user.id}/application_credentials/{one['id']}", token=token)
    assert (await world.ask("GET", f"{rules}/{kept['id']}", token=token)).status == 200
    assert (await world.ask("DELETE", f"{rules}/{kept['id']}", token=token)).status == 204
    with pytest.raises(NotFound):
        await world.ask("GET", f"{rules}/{kept['id']}", token=token)


async def test_what_there_is_not(world: World) -> None:
    token = await world.log_in()
    for name in NOT_SERVED:
        with pytest.raises(NotImplementedHere, match="The built-in identity has no "):
            await world.ask("GET", f"{name}/x", token=token)
    assert (await world.ask("GET", "nope", token=token)).status == 404
    refused = await world.ask("PUT", "regions", token=token)
    assert (refused.status, dict(refused.headers)) == (405, {"Allow": "GET, HEAD, OPTIONS"})


WORDS = st.sampled_from([
    "auth", "identity", "methods", "password", "user", "name", "id", "domain", "scope", "project", "token",
    "application_credential", "secret", "roles", "access_rules", "expires_at", "enabled", "default", "me",
    "original_password", "OS-TRUST:trust", "system", "unscoped", "service", "path", "method", "tags", "lab",
])  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | WORDS
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)
BODIES = st.one_of(
    st.binary(max_size=60),
    VALUES.map(msgspec.json.encode),
    st.tuples(st.sampled_from(["user", "project", "application_credential", "auth"]), VALUES).map(
        lambda pair: msgspec.json.encode({pair[0]: pair[1]})
    ),
    st.tuples(VALUES, VALUES).map(
        lambda pair: msgspec.json.encode(
            {"auth": {"identity": {"methods": ["password"], "password": {"user": pair[0]}}, "scope": pair[1]}}
        )
    ),
    st.sampled_from(
        [b"[" * 100_000, b'{"auth":' * 5000, b'"\\ud800"', b'{"user": {"name": "\\u0000"}}', b"\xff"]
    ),
)


# One world for all examples is meant; a machine at work on other things is no fault.
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@given(
    body=BODIES,
    route=st.sampled_from([
        ("POST", "auth/tokens"), ("POST", "users"), ("PATCH", "users/{user}"),
        ("POST", "users/{user}/password"),
        ("POST", "projects"), ("PATCH", "projects/{elsewhere}"),
        ("POST", "users/{other}/application_credentials"),
    ]),
    query=st.text(max_size=20),
)  # fmt: skip
@settings(
    max_examples=400, deadline=None, suppress_health_check=CHECKS
)  # fmt: skip
async def test_whatever_is_sent_gets_an_answer_or_a_fault(
    world: World, body: bytes, route: tuple[str, str], query: str
) -> None:
    world.clock.now += 100  # no attempt counts against the next
    token = await world.log_in()
    try:
        answer = await world.ask(route[0], f"{filled(world, route[1])}?{query}", body, token=token)
    except AtollError as error:
        assert error.kind not in {"internal", "site_unavailable"}  # noqa: PT017
    else:
        assert answer.status in {200, 201, 204}


@given(
    path=st.text(max_size=40), query=st.text(max_size=20), method=st.sampled_from(["GET", "PUT", "DELETE"])
)
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=CHECKS,
)
async def test_whatever_path_is_asked_gets_an_answer_or_a_fault(
    world: World, path: str, query: str, method: str
) -> None:
    token = await world.log_in()
    try:
        answer = await world.ask(method, f"{path}?{query}", token=token)
    except AtollError as error:
        assert error.kind != "internal"  # noqa: PT017
    else:
        assert answer.status in {200, 204, 404, 405}
