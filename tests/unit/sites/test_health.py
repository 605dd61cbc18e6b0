"""What is learnt from a version document."""

import pytest

from atoll.sites.site import root_of


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://site:8774/v2.1", "http://site:8774"),
        ("http://site:8774/v2.1/", "http://site:8774"),
        ("http://site/compute/v2.1/$(project_id)s", "http://site/compute"),
        ("http://site:8776/v3/0123456789abcdef0123456789abcdef", "http://site:8776"),
        ("http://site:9292", "http://site:9292"),
        ("http://site/image/", "http://site/image"),
        ("https://v2.example.org/network", "https://v2.example.org/network"),
        ("https://site/volume-v3/v3/x", "https://site/volume-v3"),
    ],
)
def test_the_root_of_an_endpoint_is_what_stands_before_its_version(url: str, root: str) -> None:
    assert root_of(url) == root
