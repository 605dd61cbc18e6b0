"""Sending something to a URL that an operator named: signed, never redirected, to no private address.

What becomes of an answer's body does not matter, so none is read; whatever the other side does, it is over
when the time is.
"""

import asyncio
import hashlib
import hmac
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

from atoll.core.addresses import checked_url, is_public
from atoll.core.errors import BadRequest

ANSWER_SECONDS: Final = 10.0
"""How long a webhook may take, from the look-up of its name to the first line of its answer."""

LINE_BYTES: Final = 8192
"""The longest line of an answer's head."""

INTERIM: Final = 10
"""Answers before the answer (1xx)."""


class Webhook:
    """A URL that JSON is sent to. `private`: it may be at an address that is not of the public net."""

    def __init__(self, url: str, *, secret: str = "", private: bool = False) -> None:
        self._url = url
        self._secret = secret.encode()
        self._private = private
        self._tls: ssl.SSLContext | None = None

    @property
    def name(self) -> str:
        """What may be said of it in a log: paths and queries of such URLs are secrets at times."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc}"

    async def post(self, body: bytes) -> None:
        """Send a body. Raises OSError, ValueError or BadRequest where it was not taken."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status = await self._post(body)
        except TimeoutError as error:
            raise OSError(f"it took more than {ANSWER_SECONDS:g} s") from error
        if not 200 <= status < 300:
            raise ValueError(f"it answered {status}")

    async def _post(self, body: bytes) -> int:
        scheme, host, port = checked_url(self._url)
        # To the very address that is looked at: another look-up might say another.
        address = await resolved(host, port, private=self._private)
        tls = await self._context() if scheme == "https" else None
        reader, writer = await asyncio.open_connection(
            address, port, ssl=tls, server_hostname=host if tls else None, limit=LINE_BYTES
        )
        try:
            writer.write(self._head(body) + body)
            await writer.drain()
            return await _status(reader)
        finally:
            writer.transport.abort()

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:  # it reads the machine's certificates
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls

    def _head(self, body: bytes) -> bytes:
        parts = urlsplit(self._url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [
            f"POST {target} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "User-Agent: atoll",
            "Connection: close",
        ]
        if self._secret:
            digest = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
            lines.append(f"X-Atoll-Signature: sha256={digest}")
        return "\r\n".join([*lines, "", ""]).encode()


async def resolved(host: str, port: int, *, private: bool) -> str:
    """An address of a host that may be gone to. Raises BadRequest, and OSError where it has none."""
    loop = asyncio.get_running_loop()
    found = [str(one[4][0]) for one in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in found:
        if private or is_public(address):
            return address
    raise BadRequest(f"{host} is {', '.join(found)}: not an address of the public net.")


async def _status(reader: asyncio.StreamReader) -> int:
    """The status of an answer. Raises ValueError where it is none."""
    for _ in range(1 + INTERIM):
        line = await reader.readline()
        parts = line.split(None, 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
            raise ValueError("it gave no HTTP answer")
        if (status := int(parts[1])) >= 200:
            return status
        while (await reader.readline()).strip():  # the head of an answer before the answer
            pass
    raise ValueError("it gave no end of an answer")
