"""An identity over a store in memory, with clocks of the test's own."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from tests.identities import CHEAP

from atoll.identity.asked import Answer, Asked
from atoll.identity.passwords import Passwords
from atoll.identity.service import Identity
from atoll.identity.tokens import Token
from atoll.store import Registry, Store, open_store

TOKEN_SECONDS = 3600.0
URL = "http://atoll/v3"
PASSWORD = "correct horse"


@dataclass(slots=True)
class Clock:
    """Seconds that pass when the test says so."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True, kw_only=True)
class World:
    """One gateway's identity."""

    identity: Identity
    clock: Clock
    store: Store
    ids: dict[str, str] = field(default_factory=dict)  # of the users and projects, by name

    async def ask(
        self, method: str, path: str, body: Any = None, *, token: Token | None = None, **more: Any
    ) -> Answer:
        """Ask as the gateway would; `more` are fields of `Asked`."""
        path, _, search = path.partition("?")
        sent = body if isinstance(body, bytes) else msgspec.json.encode(body) if body is not None else b""
        return await self.identity.answer(
            Asked(
                method=method, path=path, search=search, body=sent, token=token, url="http://atoll/v3", **more
            )
        )

    async def log_in(
        self, user: str = "me", password: str = PASSWORD, *, scope: Any = "lab", address: str = ""
    ) -> Token:
        """A token by name and password, for a project or with a scope as it stands in the body."""
        given = {"name": user, "domain": {"id": "default"}, "password": password}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": given}}}
        if isinstance(scope, str) and scope != "unscoped":
            scope = {"project": {"name": scope, "domain": {"name": "Default"}}}
        if scope is not None:
            auth["scope"] = scope
        return self.of(await self.ask("POST", "auth/tokens", {"auth": auth}, address=address))

    def of(self, answer: Answer) -> Token:
        """The token of an answer."""
        assert answer.status in {200, 201}
        return self.identity.tokens.validate(dict(answer.headers)["X-Subject-Token"])


StartWorld = Callable[[], Any]


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    opened = await open_store("sqlite://")
    yield opened
    await opened.close()


@pytest.fixture
async def another(store: Store) -> AsyncIterator[Callable[..., Any]]:
    """Start identities over one store, as several gateways have them: called with a clock."""
    made: list[Identity] = []

    async def start(clock: Clock, **more: Any) -> World:
        registry = Registry(store.intent)
        endpoints: Mapping[str, str] = {
            "identity": "http://atoll/identity/v3", "compute": "http://atoll/compute/v2.1"
        }  # fmt: skip
        identity = Identity(
            registry, region="Atoll", endpoints=lambda: endpoints, token_seconds=TOKEN_SECONDS, clock=clock,
            passwords=Passwords(now=clock, cost=CHEAP), **more,
        )  # fmt: skip
        made.append(identity)
        await identity.start()
        return World(identity=identity, clock=clock, store=store)

    yield start
    for one in made:
        one.close()


@pytest.fixture
async def world(another: Callable[..., Any]) -> World:
    """An identity with `me` (admin of lab) and `you` (member of lab and other)."""
    made: World = await another(Clock())
    directory = made.identity.directory
    lab, other = await directory.create_project("lab"), await directory.create_project("other")
    me = await directory.create_user("me", PASSWORD)
    you = await directory.create_user("you", PASSWORD, default_project_id=lab.id)
    await directory.assign(me.id, lab.id, "admin")
    await directory.assign(you.id, lab.id, "member")
    await directory.assign(you.id, other.id, "reader")
    made.ids = {one.name: one.id for one in (lab, other, me, you)}
    return made
