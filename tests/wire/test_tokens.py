"""Tokens: validated once however many ask, remembered shortly, nobody's when the identity service is away."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.origin import Exchange, Origin, Script

from atoll.core.errors import SiteUnavailable, Unauthorized
from atoll.core.rewrite import Links
from atoll.gateway.tokens import Tokens
from atoll.sites.pool import Origin as Pool
from atoll.sites.pool import Watch
from atoll.sites.site import Endpoint, Learnt

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def answer(**more: Any) -> bytes:
    token = {
        "user": {"id": "u"},
        "project": {"id": "p"},
        "roles": [{"id": "r", "name": "member"}],
        "expires_at": (NOW + timedelta(hours=1)).isoformat(),
    }
    return json.dumps({"token": token | more}).encode()


def says(status: int, body: bytes, *, wait: float = 0.0) -> Script:
    async def script(exchange: Exchange) -> None:
        await asyncio.sleep(wait)
        await exchange.answer(status, body)

    return script


async def tokens_of(origin: Origin, watch: Watch, *, seconds: float = 60.0) -> Tokens:
    url = f"http://127.0.0.1:{origin.port}"
    endpoint = Endpoint(
        site="identity", service_type="identity", origin=Pool(url, site="identity", watch=watch), root=b"",
        url=url, learnt=Learnt(links=Links(())),
    )  # fmt: skip
    return Tokens(endpoint, cache_seconds=seconds, admin_roles=frozenset({"admin"}), wall=lambda: NOW)


async def test_many_requests_at_once_ask_once() -> None:
    async with Origin(says(200, answer(), wait=0.05)) as origin:
        watch = Watch()
        tokens = await tokens_of(origin, watch)
        callers = await asyncio.gather(*(tokens.caller(b"t") for _ in range(50)))
        assert {caller.project_id for caller in callers} == {"p"}
        assert len(origin.seen) == 1
        await tokens.caller(b"t")
        assert len(origin.seen) == 1
        tokens.forget(b"t")
        await tokens.caller(b"t")
        assert len(origin.seen) == 2
        watch.close()


async def test_one_who_gives_up_does_not_take_the_answer_from_the_others() -> None:
    async with Origin(says(200, answer(), wait=0.05)) as origin:
        watch = Watch()
        tokens = await tokens_of(origin, watch)
        first, second = (asyncio.create_task(tokens.caller(b"t")) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        assert (await second).user_id == "u"
        assert len(origin.seen) == 1
        watch.close()


async def test_a_refused_token_is_not_asked_about_again_and_again() -> None:
    async with Origin(says(404, b"{}")) as origin:
        watch = Watch()
        tokens = await tokens_of(origin, watch)
        for _ in range(3):
            with pytest.raises(Unauthorized):
                await tokens.caller(b"t")
        assert len(origin.seen) == 1
        watch.close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (503, b"<html>"),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"token": {}}'),
        (200, answer(expires_at="soon")),
    ],
)
async def test_an_answer_that_is_none_condemns_no_token(status: int, body: bytes) -> None:
    """The client is told to come again: it must not throw a good token away."""
    async with Origin(says(status, body)) as origin:
        watch = Watch()
        tokens = await tokens_of(origin, watch)
        for asked in (1, 2):
            with pytest.raises(SiteUnavailable):
                await tokens.caller(b"t")
            assert len(origin.seen) == asked
        watch.close()


async def test_a_token_is_not_remembered_beyond_its_own_end() -> None:
    soon = (NOW + timedelta(seconds=0.2)).isoformat()
    async with Origin(says(200, answer(expires_at=soon))) as origin:
        watch = Watch()
        tokens = await tokens_of(origin, watch)
        now = asyncio.get_running_loop().time()
        caller = await tokens.caller(b"t")
        assert caller.until <= now + 1.0
        assert tokens.known(b"t", caller.until - 0.01) is caller
        assert tokens.known(b"t", caller.until) is None
        watch.close()


async def test_what_has_ended_is_nobodys() -> None:
    past = (NOW - timedelta(seconds=1)).isoformat()
    async with Origin(says(200, answer(expires_at=past))) as origin:
        watch = Watch()
        tokens = await tokens_of(origin, watch)
        with pytest.raises(Unauthorized):
            await tokens.caller(b"t")
        watch.close()


@pytest.mark.parametrize("token", [None, b"", b"x" * 8193])
async def test_what_can_be_no_token_is_not_asked_about(token: bytes | None) -> None:
    async with Origin(says(200, answer())) as origin:
        watch = Watch()
        tokens = await tokens_of(origin, watch)
        with pytest.raises(Unauthorized):
            await tokens.caller(token)
        assert not origin.seen
        watch.close()


async def test_what_the_token_says_is_what_the_caller_may() -> None:
    rules: dict[str, Any] = {"application_credential": {"access_rules": []}}
    for more, plain in (({}, True), ({"system": {"all": True}, "project": None}, False), (rules, False)):
        async with Origin(says(200, answer(**more))) as origin:
            watch = Watch()
            tokens = await tokens_of(origin, watch)
            assert (await tokens.caller(b"t")).plain is plain
            watch.close()
