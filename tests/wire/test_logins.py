"""Logging in at Keystones that mean harm, or are broken: no secret gets out, nobody is made anybody."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.origin import Exchange, Origin

from atoll.trust.login import CloudAway, Login, LoginError, LoginRefused, Options, login
from atoll.trust.records import CloudRecord

SECRET = "a very secret secret"
AUTH = {
    "username": "demo", "password": SECRET, "project_name": "demo",
    "user_domain_id": "default", "project_domain_id": "default",
}  # fmt: skip
TOKEN: dict[str, Any] = {
    "methods": ["password"],
    "user": {"id": "2" * 32, "name": "demo", "domain": {"id": "default", "name": "Default"}},
    "project": {"id": "1" * 32, "name": "demo", "domain": {"id": "default", "name": "Default"}},
    "roles": [{"id": "3", "name": "member"}],
    "issued_at": "2001-01-01T00:00:00.000000Z",
    "expires_at": "2001-01-01T01:00:00.000000Z",
}

Script = Callable[[Exchange], Awaitable[None]]


def answers(status: int, content: object = None, *lines: bytes, subject: bytes = b"gAAAA-token") -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.body()
        text = json.dumps(content).encode()
        await exchange.answer(status, text, b"X-Subject-Token: " + subject, *lines)

    return script


async def logged_in(script: Script, *, private: bool = True, **auth: object) -> tuple[Login, Origin]:
    async with Origin(script) as origin:
        cloud = CloudRecord(name="tokyo", auth_url=f"{origin.url}/v3")
        options = Options(auth_type="password", auth={**AUTH, **auth})
        try:
            found = await asyncio.to_thread(login, cloud, options, private=private)
        except LoginError as error:
            error.seen = [one.target for one in origin.seen]  # type: ignore[attr-defined]
            raise
        return found, origin


async def test_the_times_are_those_of_the_keystones_own_clock():
    found, origin = await logged_in(answers(201, {"token": TOKEN}))
    assert (found.life, found.project_id, found.roles) == (3600.0, "1" * 32, ("member",))
    assert len(origin.seen) == 1, "one request, and no look for versions before"
    assert "gAAAA" not in repr(found)


async def test_the_url_is_the_clouds_whatever_the_credential_says():
    found, _ = await logged_in(answers(201, {"token": TOKEN}), auth_url="http://127.0.0.1:1/v3")
    assert found.token == b"gAAAA-token"


async def test_a_domain_that_is_not_named_is_the_default_one_as_for_the_openstack_command():
    _, origin = await logged_in(answers(201, {"token": TOKEN}), user_domain_id="", project_domain_id="")
    (asked,) = (json.loads(one.body)["auth"] for one in origin.seen)
    assert asked["identity"]["password"]["user"]["domain"] == {"id": "default"}
    assert asked["scope"]["project"]["domain"] == {"id": "default"}


async def test_a_redirect_is_not_followed():
    async with Origin(answers(201, {"token": TOKEN})) as elsewhere:
        with pytest.raises(LoginError):
            await logged_in(answers(302, {}, b"Location: " + f"{elsewhere.url}/v3/auth/tokens".encode()))
        assert elsewhere.seen == []


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503, 429])
async def test_what_is_sent_back_is_not_repeated(status):
    said = {"error": {"message": f"no: {SECRET}", "code": status}}
    with pytest.raises(LoginError) as refused:
        await logged_in(answers(status, said))
    assert SECRET not in str(refused.value)
    assert str(status) in str(refused.value)
    assert isinstance(refused.value, CloudAway) == (status in {429, 500, 503})


@pytest.mark.parametrize(
    "token",
    [
        {"project": {**TOKEN["project"], "id": '1"\r\nX-Roles: admin'}},
        {"user": {**TOKEN["user"], "id": "../admin"}},
        {"project": None},
        {"expires_at": TOKEN["issued_at"]},
        {"expires_at": "whenever"},
        {"user": None},
    ],
)
async def test_a_token_that_is_none_makes_nobody_anybody(token):
    with pytest.raises(LoginError) as refused:
        await logged_in(answers(201, {"token": {**TOKEN, **token}}))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("content", [None, [], {}, {"token": []}, "text", {"token": {}}])
async def test_what_is_no_answer_is_none(content):
    with pytest.raises(LoginError):
        await logged_in(answers(201, content))


async def test_a_token_that_is_no_header_is_not_used():
    with pytest.raises(LoginError):
        await logged_in(answers(201, {"token": TOKEN}, subject=b"a" * 9000))


async def test_an_answer_without_end_is_not_read_to_its_end():
    async def endless(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.send(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                await exchange.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        except ConnectionError:
            return

    with pytest.raises(CloudAway):
        await logged_in(endless)


async def test_nothing_is_said_to_an_address_that_is_not_public():
    with pytest.raises(LoginRefused, match="private_addresses") as refused:
        await logged_in(answers(201, {"token": TOKEN}), private=False)
    assert refused.value.seen == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "word"), [("none", "Keystone"), ("v3websso", "browser"), ("v2password", "v2"), ("v9", "no type")]
)
async def test_types_that_nobody_can_be_logged_in_with(kind, word):
    cloud = CloudRecord(name="tokyo", auth_url="http://127.0.0.1:1/v3")
    with pytest.raises(LoginRefused, match=word):
        await asyncio.to_thread(login, cloud, Options(auth_type=kind, auth=AUTH), private=True)


async def test_what_is_missing_is_named():
    cloud = CloudRecord(name="tokyo", auth_url="http://127.0.0.1:1/v3")
    given = Options(auth_type="v3applicationcredential", auth={"application_credential_id": "1"})
    with pytest.raises(LoginRefused, match="auth secret"):
        await asyncio.to_thread(login, cloud, given, private=True)
    assert SECRET not in repr(Options(auth_type="password", auth=AUTH))
