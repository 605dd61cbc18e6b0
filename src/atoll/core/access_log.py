"""The lines of the access log, as the gateway writes them and `atoll explain` reads them.

`time` is of the wall clock, in seconds since 1970, when the line was written; `ms` are the milliseconds that
it took until then. No token, no body and no query value has a place here.
"""

import msgspec

from atoll.core.choose import Reason

REQUEST = "request_answered"
SITE = "site_answered"

# The characters of a site's request id that are written as they are, and how many: any other could end the
# text that it stands in.
_KEPT = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:")
PLAIN = bytes(byte if byte in _KEPT else ord("_") for byte in range(256))
LONGEST_ID = 64


class SiteLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request that was sent to a site, when the head of its answer was there; status 0 is no answer."""

    time: float
    event: str
    request_id: str
    service: str
    method: str
    path: str
    """Below the service, as the site got it, without its query."""
    status: int
    ms: float
    site: str
    site_request_id: str
    """What the site calls this request, "" where it does not say."""
    why: str = ""
    """`search`: where something is; `undo`: takes it back; `check`: how it stands, before a change or
    after a lost answer; "": it is the request itself, or the site's part of it."""
    repeated: bool = False
    """A kept connection turned out to be dead: with status 0 this is what was lost with it, else it is what
    was sent again."""


class RequestLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request of a client, at its end; status 499 is a client that went away."""

    time: float
    event: str
    request_id: str
    service: str
    method: str
    path: str
    status: int
    ms: float
    project_id: str = ""
    user_id: str = ""
    client: str = ""
    sites: list[str] = []
    """The sites that were asked, in order, as often as they were."""
    reasons: list[Reason] = []
    """Creates: all that was considered in choosing a site."""
    missing: dict[str, str] = {}
    """The sites that the answer lacks, with the reason."""
    token_ms: float | None = None
    """How long it took to have the token validated; not written where it was known."""
    fault: str = ""
    """The kind of a fault of Atoll's own, with its message; a site's own fault is not repeated here."""
    message: str = ""
    bytes: int = 0


def request_id_of(value: bytes) -> str:
    """A site's request id as it stands in a line."""
    return value.translate(PLAIN)[:LONGEST_ID].decode("ascii")
