"""What an answer says of the pages after and before it, in the words of its service."""

from collections.abc import Mapping

import msgspec

from atoll.core.image_sites import with_properties
from atoll.gateway import queries
from atoll.gateway.call import Call
from atoll.gateway.forward import SiteAnswer
from atoll.services.table import Resource


def link(call: Call, resource: Resource, last: str, public_url: str) -> bytes:
    """The member that leads to the page after the item `last`, with the comma before it."""
    query = queries.next_query(call.service_type, call.request.query, last)
    if call.service_type == "image":
        path = call.path.decode("latin-1")
        return b', "next": %b' % msgspec.json.encode(f"{path}?{query}")
    url = f"{public_url}{call.request.path.decode('latin-1')}?{query}"
    links = [{"rel": "next", "href": url}]
    return b', "%b": %b' % (resource.links_key.encode(), msgspec.json.encode(links))


def images(
    call: Call, first: SiteAnswer, texts: list[bytes], copies: Mapping[int, Mapping[str, str]]
) -> bytes:
    """What Glance's lists have besides, with the comma before it.

    Each of `texts` that is at several sites gets further properties: `copies` has them by place.
    """
    for at, told in copies.items():
        texts[at] = with_properties(texts[at], told)
    content = msgspec.json.decode(first.text, type=dict[str, msgspec.Raw])
    path = call.path.decode("latin-1")
    kept = queries.first_query(call.request.query)
    extras = b', "first": %b' % msgspec.json.encode(f"{path}?{kept}" if kept else path)
    if "schema" in content:
        extras += b', "schema": %b' % bytes(content["schema"])
    return extras
