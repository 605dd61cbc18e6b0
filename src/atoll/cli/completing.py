"""What a shell offers at a TAB where only the gateway knows it: names of sites, zones and definitions, runs.

A gateway that does not answer, or refuses, offers nothing: who types is neither kept waiting nor told.
"""

import contextlib
import io
import threading
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from atoll.cli.api import Api

SECONDS: Final = 3.0
"""How long a shell waits for what to offer, the login included."""

MOST: Final = 200
"""How many are looked through: of runs the newest."""

Offer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
_Item = Mapping[str, Any]


def offered(path: str, plural: str, told: Callable[[_Item], CompletionItem | None]) -> Offer:
    """Offer the items of a list of the own API, each as `told` has it (None: not this one)."""

    def offer(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        found: dict[str, CompletionItem] = {}
        url, os_cloud = context.params.get("url"), context.params.get("os_cloud")

        def look() -> None:
            with contextlib.suppress(Exception):
                every = islice(Api(url, os_cloud).all(path, plural), MOST)
                found.update((one.value, one) for one in map(told, every) if one is not None)

        looking = threading.Thread(target=look, daemon=True)
        with contextlib.redirect_stderr(io.StringIO()):  # not into the line that is being typed
            looking.start()
            looking.join(SECONDS)
        return [one for one in list(found.values()) if one.value.startswith(begun)]

    return offer


def _run(one: _Item, states: Collection[str]) -> CompletionItem | None:
    if states and one["state"] not in states:
        return None
    return CompletionItem(one["id"], help=f"{one['definition']} {one['state']}: {one['purpose']}"[:80])


def runs(*states: str) -> Offer:
    """Offer the newest runs; only those in some states where any is given."""
    return offered("/runs", "runs", lambda one: _run(one, states))


sites: Final = offered("/sites", "sites", lambda one: CompletionItem(one["name"], help=one["state"]))
zoned_sites: Final = offered("/zones", "zones", lambda one: CompletionItem(one["site"]))
"""The sites that have zones: those may be listed by everybody."""
zones: Final = offered("/zones", "zones", lambda one: CompletionItem(one["name"], help=one["site"]))
clouds: Final = offered("/clouds", "clouds", lambda one: CompletionItem(one["name"]))
definitions: Final = offered(
    "/runs/definitions", "definitions", lambda one: CompletionItem(one["name"], help=one["summary"])
)
