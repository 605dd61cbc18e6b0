"""What a version document says of a site: its microversions, and the URL it calls itself by."""

import json

import pytest

from atoll.core.rewrite import Links
from atoll.sites.health import learn
from atoll.sites.pool import Origin, Watch
from atoll.sites.site import Endpoint, Learnt

URL, OURS = "http://10.0.0.1:8774", b"https://atoll/compute"


@pytest.fixture
async def endpoint():
    watch = Watch()
    yield Endpoint(
        site="paris",
        service_type="compute",
        origin=Origin(URL, site="paris", watch=watch),
        root=b"",
        url=URL,
        learnt=Learnt(links=Links(((URL.encode(), OURS),))),
    )
    watch.close()


def document(href: str, **more: str) -> bytes:
    return json.dumps({"version": {"id": "v2.1", "links": [{"rel": "self", "href": href}], **more}}).encode()


async def test_the_range_is_learnt(endpoint):
    learn(endpoint, document(f"{URL}/v2.1/", min_version="2.1", version="2.96"))
    assert endpoint.versions == ((2, 1), (2, 96))
    assert endpoint.links.bases == ((URL.encode(), OURS),)


async def test_a_document_without_a_range_changes_nothing(endpoint):
    learn(endpoint, document(f"{URL}/v2.1/", min_version="2.1", version="2.96"))
    for text in (b"", b"<html>", b"{}", document(f"{URL}/v2.1/"), b"\xff\xfe"):
        learn(endpoint, text)
    assert endpoint.versions == ((2, 1), (2, 96))


async def test_links_by_another_name_of_the_site_are_rewritten_too(endpoint):
    """A site behind a proxy of its own names itself by another URL than it is reached by."""
    for _ in range(2):
        learn(endpoint, document("https://nova.paris.example/compute/v2.1/"))
    assert endpoint.links.bases[1:] == ((b"https://nova.paris.example/compute", OURS),)
    text = b'{"servers": [{"links": [{"rel": "self", "href": "https://nova.paris.example/compute/v2.1/servers/1"}]}]}'
    assert b'"https://atoll/compute/v2.1/servers/1"' in endpoint.links.rewrite(text)


async def test_the_documentation_is_no_name_of_the_site(endpoint):
    learn(endpoint, document("https://docs.openstack.org/api/v2.1/"))
    assert len(endpoint.links.bases) == 1
