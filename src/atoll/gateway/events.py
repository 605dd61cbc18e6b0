"""Nova's external events: each for the site of its own server, the answers rejoined in the order asked.

POST /compute/v2.1/os-server-external-events
"""

from collections import defaultdict
from typing import Any

import msgspec

from atoll.core.errors import NotFound, SiteUnavailable
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.parts import Parts

Event = dict[str, Any]


class Events:
    """Splits a batch by site."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def handle(self, call: Call) -> None:
        """Send each event to the site of its server; 207 when they fared differently."""
        parts = self._parts
        text = await call.read_body(parts.body_limit)
        events = (bodies.decoded(text) or {}).get("events")
        if not isinstance(events, list) or not all(
            isinstance(event, dict) and isinstance(event.get("server_uuid"), str) for event in events
        ):
            endpoint = parts.endpoint(parts.reach.default(call), call)
            response = await parts.forward.send(call, endpoint, body=text)
            await parts.forward.pass_on(call, endpoint, response)
            return
        by_site: dict[str, list[int]] = defaultdict(list)
        lost: dict[int, int] = {}  # events without a site -> the status of each
        for index, event in enumerate(events):
            try:
                site = await parts.locator.site_of(call, "server", event["server_uuid"])
                by_site[site.name].append(index)
            except NotFound:
                lost[index] = 404
            except SiteUnavailable:
                lost[index] = 503
        if not by_site and 503 not in lost.values():
            # Nobody knows any of them: one site says so in its own words.
            by_site[parts.reach.default(call).name] = list(lost)
            lost = {}
        await self._send(call, events, by_site, lost)

    async def _send(
        self, call: Call, events: list[Event], by_site: dict[str, list[int]], lost: dict[int, int]
    ) -> None:
        parts = self._parts
        gathered = await scatter(
            {
                name: parts.forward.ask(
                    call,
                    parts.endpoint(parts.sites.by_name[name], call),
                    b"POST",
                    call.path,
                    body=msgspec.json.encode({"events": [events[index] for index in indexes]}),
                )
                for name, indexes in by_site.items()
            }
        )
        if not gathered.answered and not lost:
            raise none_answered("events", gathered.failed)
        refused = all(one.status >= 400 for one in gathered.answered.values())
        if len(gathered.answered) == len(by_site) and not lost and (refused or len(by_site) == 1):
            # One answer, or one refusal by all: in the site's own words.
            name, first = next(iter(gathered.answered.items()))
            parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), first)
            return
        done: list[Event | None] = [None] * len(events)
        for name, indexes in by_site.items():
            answer = gathered.answered.get(name)
            said = (bodies.decoded(answer.text) or {}).get("events") if answer is not None else None
            for place, index in enumerate(indexes):
                if isinstance(said, list) and place < len(said):
                    done[index] = said[place]
                else:
                    code = 503 if answer is None else answer.status
                    done[index] = {**events[index], "status": "failed", "code": code}
        for index, code in lost.items():
            done[index] = {**events[index], "status": "failed", "code": code}
        codes = {int(event.get("code", 200)) for event in done if event is not None}
        status = 200 if codes == {200} else 207  # as Nova, also when no event was for a server it knows
        call.reply.send(
            status,
            [b"Content-Type: application/json\r\n", b"x-openstack-request-id: %b\r\n" % call.id.encode()],
            msgspec.json.encode({"events": done}),
        )
