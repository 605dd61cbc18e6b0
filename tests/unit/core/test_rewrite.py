"""Links and zone names are rewritten where the API defines them and nowhere else."""

import json

from atoll.core.rewrite import Links, Names

SITE = b"http://127.0.0.1:20174"
OURS = b"http://127.0.0.1:8774/compute"
LINKS = Links(((SITE, OURS),))
ZONES = Names(("OS-EXT-AZ:availability_zone",), {"nova": "paris"}, None)


def server(**extra: object):
    url = SITE.decode()
    return {
        "server": {
            "id": "1",
            "links": [
                {"rel": "self", "href": f"{url}/v2.1/servers/1"},
                {"rel": "bookmark", "href": f"{url}/servers/1"},
            ],
            "flavor": {"id": "42", "links": [{"rel": "bookmark", "href": f"{url}/flavors/42"}]},
            "OS-EXT-AZ:availability_zone": "nova",
            **extra,
        }
    }


def test_links_point_at_atoll():
    got = json.loads(LINKS.rewrite(json.dumps(server()).encode()))
    hrefs = [link["href"] for link in got["server"]["links"] + got["server"]["flavor"]["links"]]
    assert hrefs == [f"{OURS.decode()}{path}" for path in ("/v2.1/servers/1", "/servers/1", "/flavors/42")]


def test_metadata_that_holds_a_url_or_looks_like_a_link_is_untouched():
    metadata = {"href": f"{SITE.decode()}/x", "rel": "self", "text": json.dumps(server())}
    got = json.loads(LINKS.rewrite(json.dumps(server(metadata=metadata)).encode()))
    assert got["server"]["metadata"] == metadata


def test_metadata_with_rel_before_href_is_untouched():
    metadata = {"rel": "self", "href": f"{SITE.decode()}/x"}
    got = json.loads(LINKS.rewrite(json.dumps(server(metadata=metadata)).encode()))
    assert got["server"]["metadata"] == metadata


def test_another_port_is_another_site():
    text = json.dumps({"links": [{"rel": "self", "href": SITE.decode() + "5/v2.1"}]}).encode()
    assert LINKS.rewrite(text) == text


def test_neutron_writes_the_href_first():
    text = b'{"ports_links": [{"href": "http://127.0.0.1:20174/v2.0/ports?marker=1", "rel": "next"}]}'
    assert b'"href": "http://127.0.0.1:8774/compute/v2.0/ports?marker=1"' in LINKS.rewrite(text)


def test_a_zone_is_translated_and_a_metadata_key_of_that_name_is_not():
    plain = json.dumps(server()).encode()
    assert ZONES.rewrite(plain, ("server",)) == plain.replace(b'"nova"', b'"paris"')
    tricky = json.dumps(server(metadata={"OS-EXT-AZ:availability_zone": "nova"})).encode()
    got = json.loads(ZONES.rewrite(tricky, ("server",)))["server"]
    assert got["OS-EXT-AZ:availability_zone"] == "paris"
    assert got["metadata"] == {"OS-EXT-AZ:availability_zone": "nova"}


def test_lists_of_zones_and_unknown_zones():
    hints = Names(("availability_zone_hints",), {"nova": "paris"}, "elsewhere")
    assert hints.rewrite(b'{"availability_zone_hints": ["nova", "b"]}') == (
        b'{"availability_zone_hints": ["paris", "elsewhere"]}'
    )
    assert hints.rewrite(b'{"availability_zone_hints": []}') == b'{"availability_zone_hints": []}'


def test_every_other_byte_stays():
    text = json.dumps(server(name='é\\u00e9 "q"'), ensure_ascii=False).encode()
    assert LINKS.rewrite(text).replace(OURS, SITE) == text
