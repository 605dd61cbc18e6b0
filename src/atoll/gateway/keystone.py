"""Keystone behind Atoll: passed on as it is; where an answer carries the catalogue, it names only Atoll.

*  /identity/v3/auth/tokens   *  /identity/v3/auth/catalog   *  /identity/**
"""

from collections.abc import Sequence

import msgspec

from atoll.core.spans import find, splice
from atoll.gateway.call import Call
from atoll.gateway.catalog import catalog
from atoll.gateway.forward import SiteAnswer, read_json
from atoll.gateway.parts import Parts
from atoll.sites.site import Endpoint


class Keystone:
    """Passes identity calls on."""

    def __init__(self, parts: Parts, endpoint: Endpoint, services: Sequence[str]) -> None:
        self._parts = parts
        self._endpoint = endpoint
        self._services = services

    async def pass_on(self, call: Call) -> None:
        """Pass a call on as it is."""
        parts = self._parts
        response = await parts.forward.send(call, self._endpoint)
        await parts.forward.pass_on(call, self._endpoint, response)

    async def with_catalog(self, call: Call) -> None:
        """Pass a call on and put Atoll's catalogue in the answer."""
        parts = self._parts
        request = call.request
        response = await parts.forward.send(call, self._endpoint)
        if request.method == b"DELETE" and (revoked := request.index.get(b"x-subject-token")):
            parts.tokens.forget(revoked)
        if request.method == b"HEAD" or response.status >= 300 or response.status == 204:
            await parts.forward.pass_on(call, self._endpoint, response)
            return
        text = await read_json(self._endpoint, response)
        answer = SiteAnswer(response.status, response, text)
        parts.forward.answer(call, self._endpoint, answer, self._rewritten(text))

    def _rewritten(self, text: bytes) -> bytes:
        text = self._endpoint.links.rewrite(text)
        changes = []
        for path in (("token", "catalog"), ("catalog",)):
            for start, end in find(text, path):
                theirs = msgspec.json.decode(text[start:end])
                if isinstance(theirs, list):
                    parts = self._parts
                    new = catalog(theirs, self._services, parts.public_url, parts.region)
                    changes.append(((start, end), msgspec.json.encode(new)))
        return splice(text, changes)
