"""What became of a create whose answer was lost: its site is looked at until that shows, or the time is up.

The looks are made in the background with the caller's own token. Nothing is repeated, nothing is deleted, and
what could be another's is left alone. Each ends with one event, `outcome_found` or `outcome_not_found`.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import structlog

from atoll.core.errors import AtollError, SiteTimeout
from atoll.core.outcomes import Asked, asked, listed, told_apart
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.forward import Forward, SiteAnswer
from atoll.gateway.locate import Locator, show_target, shows
from atoll.gateway.reach import Reach
from atoll.services.table import Resource
from atoll.sites.site import Site
from atoll.store import Locations, Sighting

log = structlog.get_logger()

# The first look comes soon: most answers are lost after the work was done. Then twice as late each time.
FIRST_SECONDS = 0.25
LONGEST_SECONDS = 15.0
LOOK_SECONDS = 10.0
# Looks under way at once: a site that stalls under load is not to be loaded with looks.
AT_ONCE = 200
# Times are shown in whole seconds.
ROUNDED = 2.0
# How far a site's clock may be off where its answers do not say what it shows (seconds).
SKEW = 120.0
# Creates that were answered, so that what they made is not taken for what is looked for.
ANSWERED = 50_000
# Newest first where the service has an order; a page of the newest has what was made a moment ago.
NEWEST = {"compute": "limit=200", "block-storage": "limit=200&sort=created_at:desc"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A create whose answer was lost. `began` is in seconds since 1970, by our clock."""

    resource: Resource
    site: Site
    body: Mapping[str, Any]
    began: float


class Outcomes:
    """Looks for what was made."""

    def __init__(
        self, forward: Forward, reach: Reach, locator: Locator, locations: Locations, *, seconds: float
    ) -> None:
        self._forward = forward
        self._reach = reach
        self._locator = locator
        self._locations = locations
        self._seconds = seconds
        self._looks: set[asyncio.Task[None]] = set()
        self._answered: OrderedDict[tuple[str, str], None] = OrderedDict()

    def answered(self, resource: str, ident: str) -> None:
        """A create was answered: this id is its own."""
        self._answered[(resource, ident)] = None
        if len(self._answered) > ANSWERED:
            self._answered.popitem(last=False)

    def lost(self, call: Call, lost: Lost, error: AtollError) -> SiteTimeout:
        """Begin to look, and make the error that the client is told."""
        what = lost.resource.name.replace("_", " ")
        self.look(call, lost)
        # One that timed out names the request already.
        named = "" if isinstance(error, SiteTimeout) else f" The request id there is {call.id}."
        return SiteTimeout(
            f"{error}{named} Whether it has created the {what} is not known; that is being looked for.",
            resource=lost.resource.name,
            site=lost.site.name,
        )

    def look(self, call: Call, lost: Lost) -> None:
        """Begin to look for what a create may have made."""
        if len(self._looks) >= AT_ONCE:
            _not_found(call, lost, "too many are looked for")
            return
        task = asyncio.get_running_loop().create_task(self._until_found(call, lost))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def close(self) -> None:
        """End all looks, each with its event."""
        for task in list(self._looks):
            task.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)

    async def _until_found(self, call: Call, lost: Lost) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._seconds
        wait = FIRST_SECONDS
        reason = "it was not looked for"
        try:
            while loop.time() < end:
                await asyncio.sleep(min(wait, max(0.0, end - loop.time())))
                wait = min(2 * wait, LONGEST_SECONDS)
                found, reason = await self._look(
                    call.aside(loop.time() + LOOK_SECONDS, versioned=False), lost
                )
                if found:
                    await self._record(call, lost, found)
                    return
        except asyncio.CancelledError:
            _not_found(call, lost, f"Atoll is stopping; {reason}")
            raise
        _not_found(call, lost, reason)

    async def _look(self, call: Call, lost: Lost) -> tuple[list[str], str]:
        """The ids of what was made, or none and why."""
        service_type = call.service_type
        ident = lost.body.get("id")
        try:
            if isinstance(ident, str) and bodies.is_id(ident):
                shown, target = show_target(call, lost.resource.name, ident)
                answer = await self._forward.ask(
                    call, self._reach.endpoint(lost.site, call, shown), b"GET", target, why="check"
                )
                if answer.status == 200 and shows(lost.resource.name, ident, answer.text):
                    return [ident], ""
                return [], f"the site answered {answer.status}"
            target = _list_target(call, lost)
            endpoint = self._reach.endpoint(lost.site, call, service_type)
            answer = await self._forward.ask(call, endpoint, b"GET", target, why="check")
        except AtollError as error:
            return [], str(error)[:256]
        items = listed(answer.text, lost.resource.plural) if answer.status == 200 else None
        if items is None:
            return [], f"the site answered {answer.status} and no list"
        others = {ident for kind, ident in self._answered if kind == lost.resource.name}
        return told_apart(items, _asked(call, lost, answer), others)

    async def _record(self, call: Call, lost: Lost, found: list[str]) -> None:
        for ident in found:
            kind = lost.resource.name
            self.answered(kind, ident)
            self._locator.created(kind, ident)
            await self._locations.created(
                Sighting(resource_type=kind, id=ident, site=lost.site.name, project_id=call.caller.project_id)
            )
            log.info("outcome_found", request_id=call.id, site=lost.site.name, resource=kind, id=ident)


def _not_found(call: Call, lost: Lost, reason: str) -> None:
    log.warning(
        "outcome_not_found",
        request_id=call.id,
        site=lost.site.name,
        resource=lost.resource.name,
        id=None,
        reason=reason,
    )


def _list_target(call: Call, lost: Lost) -> bytes:
    """The list that shows when things were made; by name where the service takes a name as it is."""
    resource, service = lost.resource, call.service
    assert service is not None  # noqa: S101 - a create of a service
    project = f"/{call.caller.project_id}" if service.service_type == "block-storage" else ""
    query = [NEWEST[service.service_type]] if service.service_type in NEWEST and resource.detail else []
    name = next((one.get("name") for one in asked(lost.body, resource.envelope, resource.plural)), None)
    # Nova takes a name for a regular expression, which each database reads in its own way.
    if isinstance(name, str) and name and service.service_type in {"block-storage", "network"}:
        query.append(f"name={quote(name, safe='')}")
    path = f"/{service.versions[0]}{project}/{resource.detail or resource.path}"
    return (path + ("?" + "&".join(query) if query else "")).encode()


def _asked(call: Call, lost: Lost, answer: SiteAnswer) -> Asked:
    """What is looked for, with its time by the site's clock: its answers say what that shows."""
    now = time.time()
    ahead, slack = 0.0, SKEW
    if (date := answer.response.index.get(b"date")) is not None:
        try:
            ahead = parsedate_to_datetime(date.decode("latin-1")).timestamp() - now
            slack = ROUNDED
        except ValueError:
            pass  # no date at all: as if it said nothing
    return Asked(
        bodies=asked(lost.body, lost.resource.envelope, lost.resource.plural),
        project_id=call.caller.project_id,
        user_id=call.caller.user_id,
        since=lost.began + ahead - slack,
        until=now + ahead + slack,
    )
