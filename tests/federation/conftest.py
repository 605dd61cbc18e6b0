"""Two real Keystones, one of which believes the other, and Atoll before a site of each."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.federation.keystones import Keystones, installed, keystones
from tests.running import Atoll, atoll_before

from atoll.sandbox.real.api import Refused, send
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.federation import SERVICE_PROVIDER, require_packages
from atoll.sandbox.real.model import Keystone as RealKeystone
from atoll.sandbox.simulated import Keystone, Site
from atoll.sandbox.simulated.tokens import Token


class Asking(Keystone):
    """What a simulated site asks about tokens: a real Keystone, each time."""

    def __init__(self, real: RealKeystone) -> None:
        super().__init__(real.region)
        self.real = real
        self.refused: set[str] = set()

    def validate(self, token_id: str | None) -> Token | None:
        """Who a token of the real one is of, None where it knows none."""
        if not token_id:
            return None
        headers = {"X-Auth-Token": token_id, "X-Subject-Token": token_id}
        try:
            said = send("GET", f"{self.real.url}/auth/tokens", headers)[1]["token"]
        except Refused:
            self.refused.add(token_id)
            return None
        return Token(
            id=token_id,
            user_id=said["user"]["id"],
            user_name=said["user"]["name"],
            roles=frozenset(role["name"] for role in said["roles"]),
            methods=said["methods"],
            issued_at=0.0,
            expires_at=float("inf"),
            project_id=said["project"]["id"],
            project_name=said["project"]["name"],
        )


@pytest.fixture(scope="session")
def pair() -> Iterator[Keystones]:
    """The Keystones, for all tests: a minute to start them."""
    if why := installed():
        pytest.skip(why)
    try:
        require_packages(install=True, say=print)
    except SandboxError as error:
        pytest.skip(str(error))
    home = Path(tempfile.mkdtemp(prefix="atoll-k2k-"))
    try:
        with keystones(home) as running:
            yield running
    finally:
        shutil.rmtree(home, ignore_errors=True)


@dataclass(slots=True)
class Federated:
    """Atoll before a site of the clients' cloud (`site1`) and one of the other (`site2`)."""

    pair: Keystones
    atoll: Atoll
    here: Site
    there: Site


@pytest.fixture
async def federated(pair: Keystones, database: Path) -> AsyncIterator[Federated]:
    """Anew for each test, with nothing remembered."""
    async with _site("site1", pair.idp) as here, _site("site2", pair.federation.sp) as there:
        sites = {
            site.name: {"region": site.region, "endpoints": {"compute": site.endpoints["compute"]}}
            for site in (here, there)
        }
        cloud = {
            "auth_url": pair.federation.url,
            "trust": "federated",
            "service_provider": SERVICE_PROVIDER,
        }
        sites["site2"]["cloud"] = "older"
        tables = {
            "clouds": {"older": cloud},
            "zones": {site.name: {"site": site.name, "zone": "nova"} for site in (here, there)},
        }
        async with atoll_before(pair.idp.url, sites, database, tables) as atoll:
            await atoll.settled()
            yield Federated(pair, atoll, here, there)


@asynccontextmanager
async def _site(name: str, keystone: RealKeystone) -> AsyncIterator[Site]:
    site = Site(name, Asking(keystone))
    await site.start()
    try:
        yield site
    finally:
        await site.close()
