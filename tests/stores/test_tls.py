"""TLS between Atoll and its database, by the options that the drivers have for it."""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stores.contract import OPEN
from tests.stores.servers import Server, open_server

from atoll.store import StoreError
from atoll.store.database import Access
from atoll.store.opening import open_database

SECURE = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
CIPHER = "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'"


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    """Certificates of authorities that have nothing to do with the server."""
    path = tmp_path / "others.pem"
    path.write_text(
        "".join(map(ssl.DER_cert_to_PEM_cert, ssl.create_default_context().get_ca_certs(binary_form=True)))
    )
    return path


async def asked(url: str, query: str) -> object:
    database = await open_database(url)
    try:
        return (await database.run(Access.WRITE, lambda connection: connection.rows(query)))[0][0]
    finally:
        await database.close()


@pytest.fixture
def secure(server: Server) -> Iterator[Server]:
    """One more of the same kind, that speaks TLS: the others need not, which is quicker."""
    other = open_server(server.kind, tls=True)
    yield other
    other.close()


@pytest.mark.parametrize("server", ["postgresql"], indirect=True)
async def test_postgresql(secure: Server, strangers: Path) -> None:
    """Its driver takes the authorities from the environment, so a process for each."""
    url = secure.create("atoll")
    assert await asked(f"{url}?ssl=disable", SECURE) is False
    assert await asked(f"{url}?ssl=require", SECURE) is True
    assert opened(f"{url}?ssl=verify-full", secure.certificate) == ""
    assert "CERTIFICATE_VERIFY_FAILED" in opened(f"{url}?ssl=verify-full", strangers)


def opened(url: str, authorities: Path) -> str:
    """Open a database in another process; its standard error."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", OPEN, url, "a"],
        env={**os.environ, "PGSSLROOTCERT": str(authorities)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stderr


@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
async def test_mariadb(secure: Server, strangers: Path) -> None:
    url = secure.create("atoll")
    assert await asked(url, CIPHER) == ""
    assert str(await asked(f"{url}?ssl_ca={secure.certificate}", CIPHER)).startswith("TLS_")
    with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
        await asked(f"{url}?ssl_ca={strangers}", CIPHER)
