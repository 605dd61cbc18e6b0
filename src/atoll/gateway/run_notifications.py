"""Notifications of what happens to runs, on the message bus of OpenStack's services (oslo.messaging).

oslo.messaging blocks, so it has a thread of its own, one at a time. Its `Notifier` is passed by: that logs
what it could not deliver and says nothing, and what is not known to be delivered could not be sent again.
"""

import asyncio
import importlib
import logging
import re
import socket
import threading
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

from atoll.gateway.run_events_out import event_of
from atoll.store.run_outbox import Line, News
from atoll.worker.relay import Untold

SEND_SECONDS: Final = 60.0
"""How long it may take to send an array; what takes longer goes on, and nothing else is sent meanwhile."""

CLOSE_SECONDS: Final = 2.0
"""How long the end waits for a broker to be told of it."""

RETRIES: Final = 1
"""Tries of its own after the first, on a new connection. Without a number it would go on for ever."""

_NAMESPACE: Final = uuid.UUID("6f1d2c8e-3a5b-4e0d-9a51-1d0c7b9f4e21")
_LOGIN: Final = re.compile(r"(?<=//)[^/\s]*@")


class Bus(Protocol):
    """A message bus. Both block."""

    def send(self, topic: str, message: Mapping[str, Any]) -> None:
        """Send, and return when the broker has it. Raises whatever it does where that is not so."""

    def close(self) -> None:
        """Close every connection."""


class OsloBus:
    """A transport of oslo.messaging. Connects when something is sent first."""

    def __init__(self, url: str) -> None:
        self._library = library()
        conf = importlib.import_module("oslo_config.cfg").ConfigOpts()
        conf([], project="atoll", default_config_files=[], default_config_dirs=[])
        self._transport = self._library.get_notification_transport(conf, url=url)

    def send(self, topic: str, message: Mapping[str, Any]) -> None:
        """Send as `Notifier` with the driver messagingv2 does, but for what that does with errors."""
        target = self._library.Target(topic=topic)
        self._transport._send_notification(  # noqa: SLF001 - there is no public way that tells of errors
            target, {}, message, version=2.0, retry=RETRIES
        )

    def close(self) -> None:
        """Close every connection."""
        self._transport.cleanup()


def library() -> Any:
    """oslo.messaging, by threads. It loads eventlet all the same, which warns of itself and does nothing."""
    warnings.filterwarnings("ignore", message=r"\s*eventlet")
    for name in ("oslo.messaging", "amqp", "kombu"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the rest is in what it raises, which is logged
    backend = importlib.import_module("oslo_service.backend")
    backend.register_backend_default_hook(lambda: backend.BackendType.THREADING)
    return importlib.import_module("oslo_messaging")


class Notifications:
    """A message bus. Needs the extra `notifications`.

    `read_url` gives its transport URL whenever it is connected to, from the thread; it may raise OSError.
    """

    def __init__(
        self,
        read_url: Callable[[], str],
        topics: Sequence[str],
        connect: Callable[[str], Bus] = OsloBus,
    ) -> None:
        self.name = "oslo.messaging"
        self._read_url = read_url
        self._topics = topics
        self._connect = connect
        self._publisher = f"atoll.{socket.gethostname()}"
        self._bus: Bus | None = None
        self._sending: asyncio.Future[None] | None = None

    async def tell(self, news: Sequence[News]) -> None:
        """Send lines, those of a run in their order. Raises `Untold`."""
        if self._sending is not None and not self._sending.done():
            raise Untold("it is still at what it was told before")
        messages = [self._message(one, line) for one in news for line in one.lines]
        stop = threading.Event()
        self._sending = _in_thread(lambda: self._send(messages, stop))
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await asyncio.shield(self._sending)
        except TimeoutError as error:
            raise Untold(f"it took more than {SEND_SECONDS:g} s") from error
        except Exception as error:
            raise Untold(_LOGIN.sub("", f"{type(error).__name__}: {error}")) from error
        finally:
            stop.set()

    async def close(self) -> None:
        """Give up what is being sent, and close the connections, as far as that does not take long."""
        before, bus = self._sending, self._bus
        if bus is None:
            return

        async def closed() -> None:
            if before is not None:
                await asyncio.wait({before})
            await _in_thread(bus.close)

        self._bus = None
        await asyncio.wait({asyncio.ensure_future(closed())}, timeout=CLOSE_SECONDS)

    def _send(self, messages: Sequence[Mapping[str, Any]], stop: threading.Event) -> None:
        """Send in order, up to the first that was not taken or until told to stop. Raises as the driver."""
        bus = self._bus
        if bus is None:
            bus = self._bus = self._connect(self._read_url())
        for message in messages:
            for topic in self._topics:
                if stop.is_set():
                    return
                bus.send(f"{topic}.info", message)

    def _message(self, news: News, line: Line) -> dict[str, Any]:
        at = datetime.fromtimestamp(line.time, UTC).replace(tzinfo=None)
        return {
            "message_id": str(uuid.uuid5(_NAMESPACE, f"{news.run_id}/{line.number}")),
            "publisher_id": self._publisher,
            "event_type": f"run.{line.what}",
            "priority": "INFO",
            "payload": msgspec.to_builtins(event_of(news, line)),
            "timestamp": at.isoformat(sep=" ", timespec="microseconds"),
        }


def _in_thread(work: Callable[[], None]) -> "asyncio.Future[None]":
    """Do some work in a thread that the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    done.add_done_callback(lambda it: it.cancelled() or it.exception())  # it may be nobody's by then

    def settle(error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failed: BaseException | None = None
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told to who waits
            failed = error
        try:
            loop.call_soon_threadsafe(settle, failed)
        except RuntimeError:  # the loop has ended meanwhile: nobody waits
            return

    threading.Thread(target=run, name="atoll-notifications", daemon=True).start()
    return done
