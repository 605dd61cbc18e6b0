"""What may be gone to that others name: every way to write an address that is not of the public net."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.addresses import checked_url, is_public
from atoll.core.errors import BadRequest

INSIDE = (
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "192.88.99.1", "168.63.129.16", "224.0.0.1",
    "239.1.1.1", "240.0.0.1", "255.255.255.255",
)  # fmt: skip
INSIDE_V6 = (
    "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1",
    "2001:db8::1", "3fff::1", "5f00::1", "64:ff9b:1::1", "2001::1", "4000::1",
)  # fmt: skip
OUTSIDE = ("1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::1")


@pytest.mark.parametrize("address", INSIDE + INSIDE_V6)
def test_what_is_not_of_the_public_net(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_what_is(address):
    assert is_public(address)


def around(address: str) -> list[str]:
    """The IPv6 addresses that have an IPv4 address in them."""
    bits = int(ipaddress.IPv4Address(address))
    high, low = bits >> 16, bits & 0xFFFF
    return [
        f"::ffff:{address}", f"::ffff:{high:x}:{low:x}", f"::{address}", f"::ffff:0:{address}",
        f"64:ff9b::{address}", f"64:ff9b:1::{address}", f"2002:{high:x}:{low:x}::1",
    ]  # fmt: skip


@given(st.sampled_from(INSIDE))
def test_nor_does_it_become_so_in_an_ipv6_address(address):
    assert [one for one in around(address) if is_public(one)] == []


def test_a_public_one_is_reached_through_a_translator():
    assert is_public("64:ff9b::8.8.8.8")
    assert is_public("::ffff:8.8.8.8")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/", "file:///etc/passwd", "gopher://h/", "javascript:alert(1)", "//h/", "h:80", "", "http://",
        "http:///v3", "http://u@h/", "http://u:p@h/", "http://@h/", "http://:@h/", "http://h@127.0.0.1/",
        "http://h\\@127.0.0.1/", "http://h\\.example/", "http://h\t.example/", "http://h\r\n/", " http://h/",
        "http://h/\x00", "http://h/ x", "http://[::1/", "http://h:99999/", "http://h:x/", "http+unix://h/",
    ],
)  # fmt: skip
def test_what_is_no_url_to_go_to(url):
    with pytest.raises(BadRequest):
        checked_url(url)


def test_what_is_a_url():
    assert checked_url("https://cloud.example/v3") == ("https", "cloud.example", 443)
    assert checked_url("http://cloud.example:5000/v3?a=b") == ("http", "cloud.example", 5000)
