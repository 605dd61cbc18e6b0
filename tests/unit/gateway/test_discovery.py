"""Version documents that claim no more than all sites have."""

import pytest

from atoll.core.microversions import Range, Version
from atoll.gateway.discovery import narrowed

SHARED = Range(Version(1, 2), Version(1, 30))


@pytest.mark.parametrize("newest", ["version", "max_version"])
def test_both_ends_are_those_of_all_sites(newest: str) -> None:
    text = b'{"id": "v1.0", "%b": "1.39", "min_version": "1.0"}' % newest.encode()
    assert narrowed(text, SHARED) == b'{"id": "v1.0", "%b": "1.30", "min_version": "1.2"}' % newest.encode()


def test_what_is_not_known_is_left() -> None:
    text = b'{"max_version": "1.39", "min_version": "1.0"}'
    assert narrowed(text, None) == text
