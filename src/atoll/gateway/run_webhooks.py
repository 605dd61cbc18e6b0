"""Webhooks that are told what happens to runs: an event for each line of a log, in JSON arrays."""

from collections.abc import Sequence
from typing import Final

import msgspec

from atoll.core.errors import BadRequest
from atoll.gateway.run_events_out import event_of
from atoll.gateway.webhook import Webhook
from atoll.store.run_outbox import News
from atoll.worker.relay import Untold

_ENCODE: Final = msgspec.json.Encoder().encode


class RunWebhook:
    """A webhook that is told of runs."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook
        self.name = webhook.name

    async def tell(self, news: Sequence[News]) -> None:
        """Send lines, those of a run in their order. Raises `Untold`."""
        events = [event_of(one, line) for one in news for line in one.lines]
        try:
            await self._webhook.post(_ENCODE(events))
        except (OSError, ValueError, BadRequest) as error:
            raise Untold(str(error)) from error
