"""Version documents: the sites' own, with the range of microversions that all of them share.

    GET /{service}/   GET /{service}/versions   GET /{service}/{version}[/]

Which of these a client may read without a token, and with which status they are answered, is the services'
own; the documents of a site that answers are used, so that it stays so.
"""

import re

from atoll.core.errors import AtollError
from atoll.core.microversions import Range, Version, intersection
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered
from atoll.gateway.forward import SiteAnswer, read_json, rewrite
from atoll.gateway.parts import Parts
from atoll.sites.site import Sites

# The pair in a version document, in either order of its services.
_RANGE = re.compile(rb'"(version|min_version)":\s*"(\d+\.\d+)"')


def shared_range(sites: Sites, service_type: str) -> Range | None:
    """The microversions that every enabled site of a service has; None when not all are known."""
    ranges = []
    for site in sites.with_service(service_type):
        if not site.accepts_creates:
            continue
        versions = site.endpoints[service_type].versions
        if versions is not None:
            ranges.append(Range(Version(*versions[0]), Version(*versions[1])))
    return intersection(ranges)


def narrowed(text: bytes, shared: Range | None) -> bytes:
    """A version document that claims no more than all sites have."""
    if shared is None:
        return text

    def one(found: re.Match[bytes]) -> bytes:
        value = shared.maximum if found.group(1) == b"version" else shared.minimum
        return b'"%b": "%b"' % (found.group(1), str(value).encode())

    return _RANGE.sub(one, text)


class Discovery:
    """Answers from the first site that answers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def handle(self, call: Call) -> None:
        """Pass on a version document, narrowed."""
        parts = self._parts
        sites = parts.sites.with_service(call.service_type)
        failed: dict[str, AtollError] = {}
        for site in sorted(sites, key=lambda one: not one.healthy(call.service_type)):
            endpoint = parts.endpoint(site, call)
            try:
                response = await parts.forward.send(call, endpoint)
                if b"json" not in response.index.get(b"content-type", b""):
                    await parts.forward.pass_on(call, endpoint, response)
                    return
                answer = SiteAnswer(
                    response.status, response, await read_json(site.endpoints[call.service_type], response)
                )
            except AtollError as error:
                failed[site.name] = error
                continue
            text = narrowed(answer.text, shared_range(parts.sites, call.service_type))
            parts.forward.answer(call, endpoint, answer, rewrite(endpoint, text, call))
            return
        raise none_answered("its versions", failed)
