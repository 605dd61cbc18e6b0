"""Microversions: what a request asks for, what the sites together have, what the answer says.

Parses as the services themselves do, quirks included (nova/api/openstack/wsgi.py,
cinder/api/openstack/wsgi.py, the microversion_parse library), so that the same header gets the same answer.
Decides for no site.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from atoll.core.errors import AtollError, BadRequest, Internal, NotAcceptable

STANDARD_HEADER: Final = "OpenStack-API-Version"
LEGACY_COMPUTE_HEADER: Final = "X-OpenStack-Nova-API-Version"

_FORMAT: Final = re.compile(r"([1-9]\d*)\.([1-9]\d*|0)", re.ASCII)
_LONGEST: Final = 32  # digits beyond this are no version; int() of a megabyte of digits is no fun either
_WEBOB_400: Final = (
    "The server could not comply with the request since it is either malformed or otherwise incorrect."
)


class Version(NamedTuple):
    """A microversion; ordered."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


class Range(NamedTuple):
    """What a site speaks of a service, both ends included."""

    minimum: Version
    maximum: Version

    def __contains__(self, version: object) -> bool:
        return isinstance(version, Version) and self.minimum <= version <= self.maximum


class Requested(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks for: a number, `latest`, or neither (then the service's minimum is meant)."""

    version: Version | None = None
    latest: bool = False


class _Dialect(NamedTuple):
    word: str  # how the service calls itself in the header
    default: Version  # what it takes when nothing is asked for
    legacy: str | None = None


_DIALECTS: Final = {
    "compute": _Dialect("compute", Version(2, 1), LEGACY_COMPUTE_HEADER),
    "block-storage": _Dialect("volume", Version(3, 0)),
    "placement": _Dialect("placement", Version(1, 0)),
}


def has_microversions(service: str) -> bool:
    """Say whether the service knows microversions; image, network and identity do not."""
    return service in _DIALECTS


def parse(text: str) -> Version:
    """Parse `2.10`; raises `BadRequest` with the message of Nova and Cinder."""
    match = _FORMAT.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise BadRequest(
            f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
        )
    return Version(int(match[1]), int(match[2]))


def requested(service: str, headers: Iterable[tuple[str, str]]) -> Requested:
    """Say which version the headers of a request ask for; names of headers in any case, repeated or not.

    Raises `BadRequest` (and, where Cinder answers 500, `Internal`) as the service would.
    """
    dialect = _DIALECTS.get(service)
    if dialect is None:
        return Requested()
    folded = _folded(headers, (STANDARD_HEADER, LEGACY_COMPUTE_HEADER))
    find = _find_volume if service == "block-storage" else _find_last
    text = find(dialect, folded)
    if text is None:
        return Requested()
    if text == "latest":
        return Requested(latest=True)
    return Requested(version=_parse_placement(text) if service == "placement" else parse(text))


def resolve(service: str, asked: Requested, available: Range) -> Version:
    """Turn what is asked for into the number that is used; raises `NotAcceptable` as the service would."""
    if asked.latest:
        return available.maximum
    if asked.version is None:
        return max(available.minimum, default_version(service))
    if asked.version not in available:
        raise unsupported(service, asked.version, available)
    return asked.version


def unsupported(service: str, version: Version, available: Range) -> AtollError:
    """Make the 406 of the service for a version out of its range, with the headers it sends."""
    if service == "placement":
        return NotAcceptable(f"Invalid microversion: Unacceptable version header: {version}")
    return NotAcceptable(
        f"Version {version} is not supported by the API. "
        f"Minimum is {available.minimum} and maximum is {available.maximum}.",
        headers=response_headers(service, version) if _is_told(service, version) else (),
    )


def default_version(service: str) -> Version:
    """Give the version that a request without the header means."""
    return _DIALECTS[service].default


def intersection(ranges: Iterable[Range]) -> Range | None:
    """Give the versions that all ranges share, None if there is none (or no range)."""
    known = list(ranges)
    if not known:
        return None
    low, high = max(r.minimum for r in known), min(r.maximum for r in known)
    return Range(low, high) if low <= high else None


def response_headers(service: str, version: Version) -> list[tuple[str, str]]:
    """Give the headers with which the service says which version it answered in, `Vary` included."""
    if service == "compute":
        return [
            (STANDARD_HEADER, f"compute {version}"),
            (LEGACY_COMPUTE_HEADER, str(version)),
            ("Vary", STANDARD_HEADER),
            ("Vary", LEGACY_COMPUTE_HEADER),
        ]
    if service == "block-storage":
        return [(STANDARD_HEADER, f"volume {version}"), ("Vary", STANDARD_HEADER)]
    if service == "placement":
        return [
            (STANDARD_HEADER.lower(), f"placement {version}"),
            ("Vary", STANDARD_HEADER.lower()),
        ]
    return []


def request_headers(
    service: str, version: Version, headers: Sequence[tuple[str, str]] = ()
) -> list[tuple[str, str]]:
    """Give `headers` with the service's version replaced by a number, as is sent to a site.

    Both of Nova's headers are sent, so that the oldest sites understand.
    """
    dialect = _DIALECTS[service]
    names = {STANDARD_HEADER.lower(), (dialect.legacy or STANDARD_HEADER).lower()}
    kept = [(name, value) for name, value in headers if name.lower() not in names]
    kept.append((STANDARD_HEADER, f"{dialect.word} {version}"))
    if dialect.legacy:
        kept.append((dialect.legacy, str(version)))
    return kept


def _folded(headers: Iterable[tuple[str, str]], wanted: Iterable[str]) -> dict[str, str]:
    names = {name.lower(): name for name in wanted}
    folded: dict[str, str] = {}
    for name, value in headers:
        known = names.get(name.lower())
        if known is not None:
            folded[known] = f"{folded[known]},{value.strip()}" if known in folded else value.strip()
    return folded


def _find_last(dialect: _Dialect, folded: dict[str, str]) -> str | None:
    """Nova and Placement: the last entry for the service counts, the old header only without one."""
    for entry in reversed(folded.get(STANDARD_HEADER, "").split(",")):
        words = entry.strip().split(None, 1)
        if len(words) == 2 and words[0].lower() == dialect.word:
            return words[1].strip()
    if dialect.legacy in folded:
        return folded[dialect.legacy].split(",")[-1].strip()
    return None


def _find_volume(dialect: _Dialect, folded: dict[str, str]) -> str | None:
    """Cinder: the first entry in which `volume` occurs; none at all is an error, a third word a crash."""
    if STANDARD_HEADER not in folded:
        return None
    entries = (entry for entry in folded[STANDARD_HEADER].split(",") if dialect.word in entry)
    entry = next(entries, None)
    if entry is None:
        raise BadRequest(_WEBOB_400)
    words = entry.split()
    if len(words) != 2:
        raise Internal(f"Cinder answers 500 to the version header {entry[:80]!r}")
    return words[1]


def _parse_placement(text: str) -> Version:
    try:
        major, minor = (int(part) for part in text[:_LONGEST].split(".", 1))
    except ValueError as exc:
        raise BadRequest(f"Invalid microversion: invalid version string: {text}; {exc}") from exc
    return Version(major, minor)


def _is_told(service: str, version: Version) -> bool:
    """Cinder takes every version with 1.0 or 2.0 in it for its old endpoints, which say no version."""
    return service == "compute" or not ("1.0" in str(version) or "2.0" in str(version))
