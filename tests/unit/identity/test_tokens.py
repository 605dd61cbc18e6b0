"""Tokens: what is in them, how long they hold, and all that ends them."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.identity.conftest import PASSWORD, TOKEN_SECONDS, Clock, World

from atoll.core.errors import BadRequest, Forbidden, NotFound, Unauthorized
from atoll.identity.keys import ROTATE_SECONDS, SEEN_SECONDS, TokenKey
from atoll.identity.records import Revocation, User
from atoll.identity.tokens import NoToken

Another = Callable[..., Any]


def is_valid(world: World, ident: str) -> bool:
    try:
        world.identity.tokens.validate(ident)
    except NoToken:
        return False
    return True


async def test_a_token_is_for_a_project_with_the_roles_and_those_implied(world: World) -> None:
    token = await world.log_in()
    assert token.project is not None
    assert token.project.name == "lab"
    assert token.roles == {"admin", "manager", "member", "reader"}
    assert len(token.id) < 400
    you = await world.log_in("you", scope="other")
    assert you.roles == {"reader"}


async def test_what_is_described(world: World) -> None:
    token = await world.log_in("you")
    answer = await world.ask("GET", "auth/tokens", token=token, subject=token.id)
    described = answer.body["token"]
    assert described["methods"] == ["password"]
    assert described["project"]["name"] == "lab"
    assert [role["name"] for role in described["roles"]] == ["member", "reader"]
    assert {entry["type"] for entry in described["catalog"]} == {"identity", "compute"}
    assert described["expires_at"] == "2027-01-15T09:00:00.000000Z"
    plain = await world.ask("GET", "auth/tokens?nocatalog", token=token, subject=token.id)
    assert "catalog" not in plain.body["token"]


async def test_it_expires(world: World) -> None:
    token = await world.log_in()
    world.clock.now += TOKEN_SECONDS - 1
    assert is_valid(world, token.id)
    world.clock.now += 1
    assert not is_valid(world, token.id)


async def test_unscoped_and_the_default_project(world: World) -> None:
    assert (await world.log_in(scope="unscoped")).project is None
    assert (await world.log_in(scope={"unscoped": {}})).project is None
    assert (await world.log_in(scope=None)).project is None
    default = (await world.log_in("you", scope=None)).project
    assert default is not None
    assert default.name == "lab"


@pytest.mark.parametrize(
    ("scope", "error"),
    [
        ({"project": {"name": "none", "domain": {"id": "default"}}}, Unauthorized),
        ({"project": {"name": "lab", "domain": {"id": "elsewhere"}}}, Unauthorized),
        ({"project": {"name": "other", "domain": {"id": "default"}}}, Unauthorized),
        ({"project": {"id": "0" * 32}}, Unauthorized),
        ({"domain": {"id": "default"}}, Unauthorized),
        ({"system": {"all": True}}, Unauthorized),
        ({"project": {"name": "lab"}}, BadRequest),
        ({"project": {}}, BadRequest),
        ({"project": {"id": "x"}, "system": {"all": True}}, BadRequest),
        ({}, BadRequest),
        ({"OS-TRUST:trust": {"id": "x"}}, NotFound),
    ],
)
async def test_scopes_that_there_are_not(world: World, scope: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await world.log_in(scope=scope)


async def test_a_token_of_a_token_keeps_its_end_and_the_chain(world: World) -> None:
    first = await world.log_in("you", scope="unscoped")
    world.clock.now += 100
    body = {"identity": {"methods": ["token"], "token": {"id": first.id}}, "scope": {"project": {}}}
    assert first.project is None
    other = world.identity.directory.project_named("other")
    assert other is not None
    body["scope"] = {"project": {"id": other.id}}
    second = world.of(await world.ask("POST", "auth/tokens", {"auth": body}))
    assert second.content.expires == first.content.expires
    assert second.content.methods == ("token", "password")
    assert second.audit_ids == [second.content.audit_id, first.content.audit_id]
    await world.ask("DELETE", "auth/tokens", token=first, subject=first.id)
    assert not is_valid(world, first.id)
    assert not is_valid(world, second.id)


async def test_a_revoked_token_takes_no_other_along_but_those_made_of_it(world: World) -> None:
    first, other = await world.log_in("you"), await world.log_in("you")
    body = {"identity": {"methods": ["token"], "token": {"id": first.id}}}
    second = world.of(await world.ask("POST", "auth/tokens", {"auth": body}))
    await world.ask("DELETE", "auth/tokens", token=second, subject=second.id)
    assert [is_valid(world, one.id) for one in (first, second, other)] == [True, False, True]


async def test_old_revocations_are_forgotten(world: World) -> None:
    token = await world.log_in()
    await world.identity.tokens.revoke(token)
    world.clock.now += TOKEN_SECONDS + 1
    later = await world.log_in()
    await world.identity.tokens.revoke(later)
    assert list(world.identity.registry.all(Revocation)) == [later.content.audit_id]


@pytest.mark.parametrize("change", ["password", "disabled", "removed", "revoked"])
async def test_what_ends_all_tokens_of_a_user(world: World, change: str) -> None:
    token, directory = await world.log_in("you"), world.identity.directory
    match change:
        case "password":
            await directory.update_user(token.user.id, "another")
        case "disabled":
            await directory.update_user(token.user.id, enabled=False)
            assert not is_valid(world, token.id)
            await directory.update_user(token.user.id, enabled=True)
        case "removed":
            await directory.remove_user(token.user.id)
        case "revoked":
            await directory.revoke_tokens(token.user.id)
    assert not is_valid(world, token.id)
    assert is_valid(world, (await world.log_in()).id)


async def test_a_disabled_project_ends_its_tokens(world: World) -> None:
    token, other = await world.log_in("you"), await world.log_in("you", scope="other")
    assert token.project is not None
    await world.identity.directory.update_project(token.project.id, enabled=False)
    await world.identity.directory.update_project(token.project.id, enabled=True)
    assert not is_valid(world, token.id)
    assert is_valid(world, other.id)


async def test_roles_are_those_of_now(world: World) -> None:
    token, directory = await world.log_in("you"), world.identity.directory
    assert token.project is not None
    await directory.assign(token.user.id, token.project.id, "manager")
    assert "manager" in world.identity.tokens.validate(token.id).roles
    for role in ("manager", "member"):
        await directory.unassign(token.user.id, token.project.id, role)
    assert not is_valid(world, token.id)


async def test_any_gateway_takes_any_gateways_tokens(world: World, another: Another) -> None:
    other: World = await another(world.clock)
    token = await world.log_in("you")
    assert is_valid(other, token.id)
    # A user that the other has not heard of yet.
    directory = world.identity.directory
    new = await directory.create_user("new", PASSWORD)
    await directory.assign(new.id, token.content.project_id, "member")
    fresh = await world.log_in("new")
    with pytest.raises(NoToken):
        other.identity.tokens.validate(fresh.id)
    assert (await other.identity.tokens.validate_freshly(fresh.id)).user.name == "new"
    # What one has revoked the other refuses as soon as it has looked.
    await world.identity.tokens.revoke(token)
    await other.identity.registry.load()
    assert not is_valid(other, token.id)


async def test_a_password_changed_elsewhere_counts_at_the_next_log_in(world: World, another: Another) -> None:
    other: World = await another(world.clock)
    you = world.identity.directory.user_named("you")
    assert you is not None
    await world.identity.directory.update_user(you.id, "another")
    with pytest.raises(Unauthorized):
        await other.log_in("you")
    assert (await other.log_in("you", "another")).user.id == you.id


async def test_a_new_key_is_used_when_all_have_seen_it_and_the_old_one_goes_last(
    world: World, another: Another
) -> None:
    keys = world.identity.registry
    await world.log_in()
    assert len(keys.all(TokenKey)) == 1
    other: World = await another(world.clock)
    world.clock.now += ROTATE_SECONDS + 1
    token = await world.log_in()
    assert len(keys.all(TokenKey)) == 2
    assert is_valid(other, token.id)  # made with the key that the other knows
    await other.identity.registry.load()
    world.clock.now += SEEN_SECONDS + 1
    after = await world.log_in()
    assert is_valid(other, token.id)
    assert is_valid(other, after.id)
    world.clock.now += ROTATE_SECONDS + 1
    await world.log_in()
    assert len(keys.all(TokenKey)) == 2
    assert not is_valid(world, token.id)


class Sealing:
    """Turns the bytes round, under a name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def seal(self, plain: bytes) -> str:
        return self.name + plain[::-1].decode()

    def unseal(self, sealed: str) -> bytes:
        if not sealed.startswith(self.name):
            raise ValueError("sealed by another")
        return sealed.removeprefix(self.name)[::-1].encode()


async def test_keys_can_be_sealed(another: Another) -> None:
    clock = Clock()
    one: World = await another(clock, sealing=Sealing("a"))
    await one.identity.directory.create_user("me", PASSWORD)
    token = await one.log_in(scope=None)
    (kept,) = one.identity.registry.all(TokenKey).values()
    assert kept.secret.startswith("a")
    same: World = await another(clock, sealing=Sealing("a"))
    assert is_valid(same, token.id)
    # A key that is lost costs the tokens made with it and nothing else.
    lost: World = await another(clock, sealing=Sealing("b"))
    assert not is_valid(lost, token.id)
    assert is_valid(lost, (await lost.log_in(scope=None)).id)


@pytest.mark.parametrize("ident", ["", "x", "gAAAAAB", "é" * 50, "gAAAAA" + "A" * 200, "x" * 10_000])
async def test_what_is_no_token(world: World, ident: str) -> None:
    with pytest.raises(NoToken) as refused:
        world.identity.tokens.validate(ident)
    assert not refused.value.known


async def test_a_user_that_is_gone_and_made_again_is_another(world: World) -> None:
    token = await world.log_in("you")
    await world.identity.directory.remove_user(token.user.id)
    await world.identity.directory.create_user("you", PASSWORD)
    assert not is_valid(world, token.id)
    assert token.user.id not in world.identity.registry.all(User)


async def test_others_tokens_are_for_administrators_and_services(world: World) -> None:
    me, you = await world.log_in(), await world.log_in("you")
    assert (await world.ask("GET", "auth/tokens", token=me, subject=you.id)).status == 200
    for method in ("GET", "HEAD", "DELETE"):
        with pytest.raises(Forbidden):
            await world.ask(method, "auth/tokens", token=you, subject=me.id)
    with pytest.raises(NotFound, match="No token in the request"):
        await world.ask("GET", "auth/tokens", token=me)
    with pytest.raises(NotFound, match="Could not recognize Fernet token"):
        await world.ask("GET", "auth/tokens", token=you, subject="bad")
