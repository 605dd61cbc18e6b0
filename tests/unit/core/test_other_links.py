"""Links of services beside the five."""

from atoll.core.other_links import OtherLinks, inward, links_of

SITE, OURS = b"http://site:9311", b"http://atoll/key-manager"
LINKS = OtherLinks(((SITE, OURS),))


def test_links_are_known_by_their_key() -> None:
    text = b'{"secret_ref": "http://site:9311/v1/secrets/1", "next":"http://site:9311/v1?x"}'
    assert LINKS.rewrite(text) == text.replace(SITE, OURS)


def test_what_a_user_wrote_stays() -> None:
    text = b'{"name": "http://site:9311/v1", "self": "http://site:93111/v1", "note": "\\"href\\": \\"x\\""}'
    assert LINKS.rewrite(text) == text


def test_links_that_are_paths_get_atolls_path() -> None:
    links = OtherLinks(((b"http://site/placement", b"http://atoll/at/placement"),), root=b"/placement")
    text = b'{"href": "/placement/traits/X"}, {"href": "/other/traits/X"}'
    assert links.rewrite(text) == text.replace(b'"/placement/', b'"/at/placement/')
    assert links.at(b"http://atoll/p@s").rewrite(b'"href": "/placement/a"') == b'"href": "/p@s/a"'


def test_bodies_are_turned_back() -> None:
    text = b'{"ref": "http://atoll/key-manager@one/v1/secrets/1", "other": "http://atoll/dns/v2"}'
    found = inward(text, b"http://atoll", {b"key-manager": SITE})
    assert found == b'{"ref": "http://site:9311/v1/secrets/1", "other": "http://atoll/dns/v2"}'
    assert links_of(text, b"http://atoll") == [("key-manager", b"v1/secrets/1"), ("dns", b"v2")]
