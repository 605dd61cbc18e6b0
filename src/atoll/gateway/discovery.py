"""Version documents: the sites' own, with the range of microversions that all of them share.

    GET /{service}/   GET /{service}/versions   GET /{service}/{version}[/]

Which of these a client may read without a token, and with which status they are answered, is the services'
own; the documents of a site that answers are used, so that it stays so.
"""

import contextlib
import re

from atoll.core.errors import AtollError, Unauthorized
from atoll.core.microversions import Range, Version, intersection
from atoll.gateway.call import NOBODY, Call
from atoll.gateway.fanout import none_answered
from atoll.gateway.forward import SiteAnswer, read_json, rewrite
from atoll.gateway.parts import Parts
from atoll.sites.site import Endpoint, Site, Sites

# The pair in a version document, in either order; placement's newest is `max_version`.
_RANGE = re.compile(rb'"(version|max_version|min_version)":\s*"(\d+\.\d+)"')


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
        value = shared.minimum if found.group(1) == b"min_version" else shared.maximum
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
            try:
                endpoint = await self._endpoint(call, site)
                response = await parts.forward.send(call, endpoint)
                if b"json" not in response.index.get(b"content-type", b""):
                    await parts.forward.pass_on(call, endpoint, response)
                    return
                answer = SiteAnswer(response.status, response, await read_json(endpoint, response))
            except AtollError as error:
                failed[site.name] = error
                continue
            text = narrowed(answer.text, shared_range(parts.sites, call.service_type))
            parts.forward.answer(call, endpoint, answer, rewrite(endpoint, text, call))
            return
        raise none_answered("its versions", failed)

    async def _endpoint(self, call: Call, site: Site) -> Endpoint:
        """The endpoint as whoever asks uses it, who need not be anybody."""
        reach = self._parts.reach
        token = call.request.index.get(b"x-auth-token")
        if site.cloud is not None and token is not None and call.caller is NOBODY:
            with contextlib.suppress(Unauthorized):
                call.caller = await self._parts.tokens.caller(token)
        if call.caller is NOBODY or not reach.reaches(call, site):
            return reach.anybody(site, call.service_type)
        return reach.endpoint(site, call)
