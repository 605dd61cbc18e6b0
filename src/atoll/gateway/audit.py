"""Telling who did what: one CADF event for each request that changes something, to a file and to a webhook.

The file is written before the client has its answer's end, and is the record; the webhook is told soon after,
in batches, again and again while it does not take them, and what it missed is counted.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from atoll.core.audit import Deed, event
from atoll.core.errors import BadRequest
from atoll.core.settings import Audit as Settings
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.webhook import Webhook

log = structlog.get_logger()

READS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
# Events that wait for a webhook, and how many go in one request.
QUEUE = 10_000
BATCH = 100
# How long a webhook is left alone after a failure (seconds).
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
        self._webhook = Webhook(settings.webhook, secret=secret, private=private)
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
                await self._webhook.post(b"[" + b",".join(batch) + b"]")
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
