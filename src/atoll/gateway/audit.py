"""Telling who did what: one CADF event for each request that changes something, to a file and to a webhook.

The file is written before the client has its answer's end, and is the record; the webhook is told soon after,
in batches, again and again while it does not take them, and what it missed is counted.
"""

import asyncio
import hashlib
import hmac
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import structlog

from atoll.core.addresses import checked_url, is_public
from atoll.core.audit import Deed, event
from atoll.core.errors import BadRequest
from atoll.core.settings import Audit as Settings
from atoll.gateway import bodies
from atoll.gateway.call import Call

log = structlog.get_logger()

READS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
# Events that wait for a webhook, and how many go in one request.
QUEUE = 10_000
BATCH = 100
# How long a webhook may take, and how long it is left alone after a failure (seconds).
ANSWER_SECONDS = 10.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0


class Audit:
    """Writes events. `missed` is called with how many events a webhook will never get.

    `private` says whether the webhook may be at an address that is not of the public net.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        observer: str,
        secret: str = "",
        private: bool = False,
        missed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._observer = observer
        self._secret = secret.encode()
        self._private = private
        self._missed = missed
        self._encode = msgspec.json.Encoder().encode
        self._file = -1
        self._waiting: deque[bytes] = deque()
        self._there = asyncio.Event()
        if settings.file:
            self._open()

    def answered(self, call: Call) -> None:
        """Write down a request at its end, if it is one of those that count."""
        if not (self._settings.file or self._settings.webhook):
            return
        if call.request.method in READS and not self._settings.reads:
            return
        line = self._encode(event(deed_of(call), self._observer))
        if self._settings.file:
            self._write(line + b"\n")
        if self._settings.webhook:
            if len(self._waiting) >= QUEUE:
                self._waiting.popleft()
                self._missed(1)
            self._waiting.append(line)
            self._there.set()

    def close(self) -> None:
        """Close the file; what a webhook has not got is counted as missed."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._waiting:
            log.warning("audit_not_sent", events=len(self._waiting))
            self._missed(len(self._waiting))

    async def run(self) -> None:
        """Tell the webhook, for as long as it runs."""
        wait = FIRST_WAIT
        while self._settings.webhook:
            await self._there.wait()
            batch = list(self._waiting)[:BATCH]
            try:
                await asyncio.to_thread(self._post, b"[" + b",".join(batch) + b"]")
            except (OSError, ValueError, BadRequest) as error:
                log.warning("audit_webhook_failed", reason=str(error)[:256], waiting=len(self._waiting))
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            wait = FIRST_WAIT
            for line in batch:
                if self._waiting and self._waiting[0] is line:
                    self._waiting.popleft()
            if not self._waiting:
                self._there.clear()

    def _open(self) -> None:
        self._file = os.open(
            self._settings.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )

    def _write(self, line: bytes) -> None:
        try:
            if not _same(self._settings.file, self._file):  # renamed: how logs are rotated
                os.close(self._file)
                self._open()
            os.write(self._file, line)
        except OSError as error:
            # Better in the log than nowhere.
            log.exception("audit_not_written", reason=error.strerror, record=line.decode())

    def _post(self, body: bytes) -> None:
        """Send a batch. Raises OSError, ValueError or BadRequest where it was not taken."""
        import urllib3  # noqa: PLC0415 - most deployments have no webhook

        url = self._settings.webhook
        scheme, host, port = checked_url(url)
        address = resolved(host, port, private=self._private)
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Content-Type": "application/json", "Host": parts.netloc, "User-Agent": "atoll"}
        if self._secret:
            headers["X-Atoll-Signature"] = (
                f"sha256={hmac.new(self._secret, body, hashlib.sha256).hexdigest()}"
            )
        # To the very address that was looked at: another look-up might say another.
        pool: urllib3.HTTPConnectionPool
        if scheme == "https":
            pool = urllib3.HTTPSConnectionPool(address, port, server_hostname=host, assert_hostname=host)
        else:
            pool = urllib3.HTTPConnectionPool(address, port)
        try:
            answer = pool.urlopen(
                "POST",
                target,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                timeout=ANSWER_SECONDS,
            )
        except urllib3.exceptions.HTTPError as error:
            raise OSError(str(error)) from error
        finally:
            pool.close()
        if not 200 <= answer.status < 300:
            raise ValueError(f"it answered {answer.status}")


def deed_of(call: Call) -> Deed:
    """What was done, from a call at its end."""
    route = call.match.route
    action = ""
    if route is not None and route.template.endswith("/action") and call.text is not None:
        body = bodies.decoded(call.text)
        action = next(iter(body), "") if body else ""
    return Deed(
        request_id=call.id,
        time=time.time(),
        method=call.request.method.decode("latin-1"),
        service=call.service_type,
        path=call.request.path.decode("latin-1"),
        status=call.reply.status,
        resource=route.resource if route is not None else "",
        resource_id=call.match.id.decode("latin-1"),
        action=action,
        made=call.made,
        user_id=call.caller.user_id,
        project_id=call.caller.project_id,
        client=call.request.peer,
        sites=call.sites,
        error=str(call.error)[:512] if call.error is not None else "",
    )


def _same(path: str, descriptor: int) -> bool:
    try:
        return Path(path).stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def resolved(host: str, port: int, *, private: bool) -> str:
    """An address of a host that may be gone to. Raises BadRequest, and OSError where it has none."""
    found: Sequence[str] = [str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in found:
        if private or is_public(address):
            return address
    raise BadRequest(f"{host} is {', '.join(found)}: not an address of the public net.")
