"""The end of a server that has accepted a connection this very moment: it is ended, not lost."""

import asyncio
import gc
import socket
import sys
import warnings

import pytest
from tests.origin import Origin

from atoll.sandbox.simulated.server import Request, Response, Server


async def nothing(_request: Request) -> Response:
    """Answer nothing of interest."""
    return Response(204)


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was told of things that were never closed."""
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: told.append(one.exc_value))
    return told


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("kind", ["simulated", "origin"])
async def test_what_was_just_accepted_is_ended(kind: str, turns: int, unraisable: list[object]) -> None:
    server = Server(nothing)
    origin = Origin()
    if kind == "simulated":
        await server.start()
        port = server.port
    else:
        await origin.__aenter__()
        port = origin.port
    client = socket.create_connection(("127.0.0.1", port))
    for _ in range(turns):
        await asyncio.sleep(0)
    if kind == "simulated":
        server.refuse()
        await server.close()
    else:
        origin.refuse()
        await origin.__aexit__()
    with client, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        gc.collect()
    assert unraisable == []
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not server.connections


async def test_it_listens_again_at_once_where_it_did() -> None:
    server = Server(nothing)
    await server.start()
    port = server.port
    for _ in range(3):
        server.refuse()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        await server.start()
        assert server.port == port
        socket.create_connection(("127.0.0.1", port)).close()
    await server.close()
