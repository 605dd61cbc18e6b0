"""The first user, made by whoever starts Atoll."""

from tests.unit.identity.conftest import PASSWORD, World

from atoll.identity.setup import ensure_account


async def test_made_once_and_then_left_alone(world: World) -> None:
    directory = world.identity.directory
    first = await ensure_account(directory, "first", "new")
    assert len(first.password) >= 32
    assert first.password not in repr(first)
    token = await world.log_in("first", first.password, scope="new")
    assert "admin" in token.roles
    again = await ensure_account(directory, "first", "new", known=first.password)
    assert again.password == first.password
    assert world.identity.tokens.validate(token.id).user.id == first.user.id


async def test_a_password_that_is_not_known_is_replaced(world: World) -> None:
    made = await ensure_account(world.identity.directory, "you", "lab", role="member", known="wrong")
    assert made.password not in {PASSWORD, "wrong"}
    assert (await world.log_in("you", made.password)).user.id == made.user.id


async def test_a_disabled_one_is_enabled(world: World) -> None:
    directory = world.identity.directory
    you = directory.user_named("you")
    assert you is not None
    await directory.update_user(you.id, enabled=False)
    made = await ensure_account(directory, "you", "lab", known=PASSWORD)
    assert made.password == PASSWORD
    await world.log_in("you")
