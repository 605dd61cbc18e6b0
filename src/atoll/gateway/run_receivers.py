"""Who is told of runs, by the configuration."""

from functools import partial

from atoll.core.settings import Config
from atoll.gateway.run_notifications import Notifications
from atoll.gateway.run_webhooks import RunWebhook
from atoll.gateway.secret_files import secret_text
from atoll.gateway.webhook import Webhook
from atoll.store import Store
from atoll.worker.relay import Receiver, Relay


def somebody_is_told(config: Config) -> bool:
    """Whether there is anybody, so that what happens has to be put down for them."""
    return bool(config.runs.webhooks or config.runs.transport_url)


async def tell_of_runs(config: Config, store: Store) -> None:
    """Tell them for as long as it runs; nothing where there is nobody."""
    made = partial(Webhook, secret=config.runs.webhook_secret, private=config.limits.private_addresses)
    receivers: list[Receiver] = [RunWebhook(made(url)) for url in config.runs.webhooks]
    bus = None
    if config.runs.transport_url:
        bus = Notifications(partial(secret_text, config.runs.transport_url), config.runs.notification_topics)
        receivers.append(bus)
    if not receivers:
        return
    try:
        await Relay(store.run_outbox, store.leases, receivers).run()
    finally:
        if bus is not None:
            await bus.close()
