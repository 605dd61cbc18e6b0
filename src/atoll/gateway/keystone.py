"""Keystone behind Atoll: passed on as it is; where an answer carries the catalogue, it names only Atoll.

*  /identity/v3/auth/tokens   *  /identity/v3/auth/catalog   *  /identity/**
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from atoll.core.spans import find, splice
from atoll.gateway.call import Call
from atoll.gateway.forward import SiteAnswer, read_json
from atoll.gateway.parts import Parts

INTERFACES = ("public", "internal", "admin")


def endpoint_url(public_url: str, service_type: str) -> str:
    """Atoll's own endpoint of a service, as the catalogue gives it."""
    path = {"compute": "/v2.1", "block-storage": "/v3", "image": "", "network": "", "identity": "/v3"}
    return f"{public_url}/{service_type}{path.get(service_type, '')}"


def catalog(
    sites_catalog: Sequence[dict[str, Any]], services: Sequence[str], url: str, region: str
) -> list[Any]:
    """The catalogue with Atoll's endpoints for what it serves, and with nothing else.

    Names and ids of the services are kept: clients select by them. Endpoint ids are stable.
    """
    ours = []
    seen = set()
    for entry in sites_catalog:
        service_type = _official(entry.get("type", ""))
        if service_type not in {*services, "identity"} or service_type in seen:
            continue
        seen.add(service_type)
        address = endpoint_url(url, service_type)
        ours.append(
            {
                **entry,
                "endpoints": [
                    {
                        "id": f"{entry.get('id', service_type)}{index}",
                        "interface": interface,
                        "region": region,
                        "region_id": region,
                        "url": address,
                    }
                    for index, interface in enumerate(INTERFACES)
                ],
            }
        )
    return ours


def _official(service_type: str) -> str:
    return "block-storage" if service_type in {"volumev3", "volume", "block-store"} else service_type


class Keystone:
    """Passes identity calls on."""

    def __init__(self, parts: Parts, services: Sequence[str]) -> None:
        self._parts = parts
        self._services = services

    async def pass_on(self, call: Call) -> None:
        """Pass a call on as it is."""
        parts = self._parts
        response = await parts.forward.send(call, parts.identity)
        await parts.forward.pass_on(call, parts.identity, response)

    async def with_catalog(self, call: Call) -> None:
        """Pass a call on and put Atoll's catalogue in the answer."""
        parts = self._parts
        request = call.request
        response = await parts.forward.send(call, parts.identity)
        if request.method == b"DELETE" and (revoked := request.index.get(b"x-subject-token")):
            parts.tokens.forget(revoked)
        if request.method == b"HEAD" or response.status >= 300 or response.status == 204:
            await parts.forward.pass_on(call, parts.identity, response)
            return
        text = await read_json(parts.identity, response)
        answer = SiteAnswer(response.status, response, text)
        parts.forward.answer(call, parts.identity, answer, self._rewritten(text))

    def _rewritten(self, text: bytes) -> bytes:
        text = self._parts.identity.links.rewrite(text)
        changes = []
        for path in (("token", "catalog"), ("catalog",)):
            for start, end in find(text, path):
                theirs = msgspec.json.decode(text[start:end])
                if isinstance(theirs, list):
                    parts = self._parts
                    new = catalog(theirs, self._services, parts.public_url, parts.region)
                    changes.append(((start, end), msgspec.json.encode(new)))
        return splice(text, changes)
