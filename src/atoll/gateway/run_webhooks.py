"""Webhooks that are told what happens to runs: an event for each line of a log, in JSON arrays."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from atoll.core.errors import BadRequest
from atoll.core.settings import Config
from atoll.gateway.run_shown import moment
from atoll.gateway.webhook import Webhook
from atoll.store import Store
from atoll.store.run_outbox import Line, News
from atoll.worker.relay import Relay, Untold

_ENCODE: Final = msgspec.json.Encoder().encode


class RunEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a run's log as webhooks get it. `state`: where the run stood when this was sent."""

    run_id: str
    number: int
    """Of the line. One that is sent again has the same."""
    at: str
    what: str
    step: str | None
    """null: of the run itself."""
    site: str | None
    text: str
    definition: str
    project_id: str
    state: str


class RunWebhook:
    """A webhook that is told of runs."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook
        self.name = webhook.name

    async def tell(self, news: Sequence[News]) -> None:
        """Send lines, those of a run in their order. Raises `Untold`."""
        events = [_event(one, line) for one in news for line in one.lines]
        try:
            await self._webhook.post(_ENCODE(events))
        except (OSError, ValueError, BadRequest) as error:
            raise Untold(str(error)) from error


async def tell_webhooks(config: Config, store: Store) -> None:
    """Tell the webhooks of the configuration for as long as it runs; nothing where there are none."""
    made = partial(Webhook, secret=config.runs.webhook_secret, private=config.limits.private_addresses)
    receivers = [RunWebhook(made(url)) for url in config.runs.webhooks]
    if receivers:
        await Relay(store.run_outbox, store.leases, receivers).run()


def _event(news: News, line: Line) -> RunEvent:
    return RunEvent(
        run_id=news.run_id,
        number=line.number,
        at=moment(line.time),
        what=line.what,
        step=line.step or None,
        site=line.site or None,
        text=line.text,
        definition=news.definition,
        project_id=news.project_id,
        state=news.state.value,
    )
