"""What can go wrong, as kinds with data. Never a status code: `gateway.faults` turns a kind into an answer.

A site's own error is not one of these: it passes through as the site wrote it.
"""

from collections.abc import Sequence
from typing import ClassVar


class AtollError(Exception):
    """An error Atoll itself decided on.

    `kind` names the fault; `safe` says whether `str(error)` may be shown to a client. `retry_after` is in
    seconds, for the kinds that a client may usefully try again. `headers` are lines of the answer: services
    repeat some.
    """

    kind: ClassVar[str] = "internal"
    safe: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        resource: str | None = None,
        id: str | None = None,  # noqa: A002 - OpenStack's own word
        site: str | None = None,
        retry_after: float | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.resource = resource
        self.id = id
        self.site = site
        self.retry_after = retry_after
        self.headers = headers


class Internal(AtollError):
    """A bug of ours; the message stays in the log."""

    kind, safe = "internal", False


class BadRequest(AtollError):
    """The request is malformed or contradicts itself."""

    kind = "bad_request"


class Unauthorized(AtollError):
    """No token, or one that is not valid (any more)."""

    kind = "unauthorized"


class Forbidden(AtollError):
    """The token is good and its roles are not enough."""

    kind = "forbidden"


class NotFound(AtollError):
    """No site that could have it has it, and every one of them answered."""

    kind = "not_found"


class MethodNotAllowed(AtollError):
    """The URL exists and does not know this method."""

    kind = "method_not_allowed"


class NotAcceptable(AtollError):
    """No site that would have to answer speaks the version asked for."""

    kind = "not_acceptable"


class RequestTimeout(AtollError):
    """The client did not send its body in time."""

    kind = "request_timeout"


class Conflict(AtollError):
    """What was named cannot be served together, or two sites claim one id."""

    kind = "conflict"


class TooLarge(AtollError):
    """The body is over the bound of its route."""

    kind = "too_large"


class UnsupportedMediaType(AtollError):
    """A body of another type than the route takes."""

    kind = "unsupported_media_type"


class TooManyRequests(AtollError):
    """Over the caller's share of searches and fan-outs."""

    kind = "too_many_requests"


class NotImplementedHere(AtollError):
    """A thing the API has and Atoll does not do; never answered with a 200."""

    kind = "not_implemented"


class SiteUnavailable(AtollError):
    """The site that has to answer is away; nothing was done there."""

    kind = "site_unavailable"


class SiteTimeout(AtollError):
    """The request went out and no answer came: the outcome is not known."""

    kind = "site_timeout"


class BadSiteAnswer(AtollError):
    """The site answered what cannot be an answer of its API."""

    kind = "bad_site_answer"
