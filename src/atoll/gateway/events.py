"""Nova's external events: each for the site of its own server, the answers rejoined in the order asked.

POST /compute/v2.1/os-server-external-events

Nova refuses a batch with one malformed event whole, before it does anything. What is malformed depends on
the version and the release, so it is not judged here: a batch for several sites is first rehearsed at each,
with other servers' ids, which Nova judges like any and then drops as those of servers it does not know.
"""

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from atoll.core.errors import NotFound, SiteUnavailable
from atoll.core.spans import find, splice
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.fanout import Gathered, scatter
from atoll.gateway.forward import SiteAnswer
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
        any_site = parts.reach.sites(call)[0].name
        if not isinstance(events, list) or not all(
            isinstance(event, dict) and isinstance(event.get("server_uuid"), str) for event in events
        ):
            await self._at_one(call, any_site, text)
            return
        by_site, lost = await self._located(call, events)
        if len(by_site) <= 1 and 503 not in lost.values():
            # That site refuses what is malformed, and says of servers that nobody knows what Nova says.
            await self._at_one(call, next(iter(by_site), any_site), text)
            return
        rehearsed = await self._rehearsed(call, text, list(by_site) or [any_site])
        for name, answer in rehearsed.answered.items():
            if 400 <= answer.status < 500:
                parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), answer)
                return
        fit = {name for name, answer in rehearsed.answered.items() if answer.status < 400}
        lost |= {index: 503 for name, indexes in by_site.items() if name not in fit for index in indexes}
        await self._send(call, events, {name: by_site[name] for name in by_site if name in fit}, lost)

    async def _at_one(self, call: Call, name: str, text: bytes) -> None:
        """The whole batch, as it came, at one site."""
        parts = self._parts
        endpoint = parts.endpoint(parts.sites.by_name[name], call)
        await parts.forward.pass_on(call, endpoint, await parts.forward.send(call, endpoint, body=text))

    async def _located(
        self, call: Call, events: Sequence[Event]
    ) -> tuple[dict[str, list[int]], dict[int, int]]:
        """(the events of each site, by their place in the batch; the status of those without one)."""
        by_site: dict[str, list[int]] = defaultdict(list)
        lost: dict[int, int] = {}
        for index, event in enumerate(events):
            try:
                site = await self._parts.locator.site_of(call, "server", event["server_uuid"])
                by_site[site.name].append(index)
            except NotFound:
                lost[index] = 404
            except SiteUnavailable:
                lost[index] = 503
        return by_site, lost

    async def _rehearsed(self, call: Call, text: bytes, names: Sequence[str]) -> Gathered[SiteAnswer]:
        """What sites say of the batch as if its servers were others, in words about the servers given."""
        given: dict[bytes, bytes] = {}
        changes = []
        for start, end in find(text, ("events", "*", "server_uuid")):
            ident = msgspec.json.decode(text[start:end])
            if isinstance(ident, str) and bodies.is_id(ident):
                other = str(uuid.uuid4()).encode()
                given[other] = ident.encode()
                changes.append(((start, end), b'"%b"' % other))
        gathered = await self._posted(call, dict.fromkeys(names, splice(text, changes)))
        for name, answer in gathered.answered.items():
            said = answer.text
            for other, ident in given.items():
                said = said.replace(other, ident)
            gathered.answered[name] = replace(answer, text=said)
        return gathered

    async def _posted(self, call: Call, texts: Mapping[str, bytes]) -> Gathered[SiteAnswer]:
        parts = self._parts
        return await scatter(
            {
                name: parts.forward.ask(
                    call, parts.endpoint(parts.sites.by_name[name], call), b"POST", call.path, body=text
                )
                for name, text in texts.items()
            }
        )

    async def _send(
        self, call: Call, events: Sequence[Event], by_site: Mapping[str, list[int]], lost: Mapping[int, int]
    ) -> None:
        texts = {
            name: msgspec.json.encode({"events": [events[index] for index in indexes]})
            for name, indexes in by_site.items()
        }
        gathered = await self._posted(call, texts)
        done: list[Event] = [{**event, "status": "failed", "code": 503} for event in events]
        for index, code in lost.items():
            done[index]["code"] = code
        for name, answer in gathered.answered.items():
            said = (bodies.decoded(answer.text) or {}).get("events")
            for place, index in enumerate(by_site[name]):
                if isinstance(said, list) and place < len(said):
                    done[index] = said[place]
                else:
                    done[index]["code"] = answer.status
        codes = {int(event.get("code", 200)) for event in done}
        status = 200 if codes == {200} else 207  # as Nova, also when no event was for a server it knows
        call.reply.send(
            status,
            [b"Content-Type: application/json\r\n", b"x-openstack-request-id: %b\r\n" % call.id.encode()],
            msgspec.json.encode({"events": done}),
        )
