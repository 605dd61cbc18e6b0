"""Answers that lack a site: who allows them, and how they say so."""

from collections.abc import Mapping

from atoll.core.errors import BadRequest
from atoll.gateway.call import Call

HEADER = b"x-atoll-partial"


def allows_partial(call: Call, *, default: bool) -> bool:
    """Whether an answer without some sites will do: the client's word, else the default.

    Raises BadRequest for a word that is neither.
    """
    said = call.header(HEADER).strip().lower()
    if not said:
        return default
    if said not in {"allow", "refuse"}:
        raise BadRequest(f"X-Atoll-Partial is allow or refuse, not {said[:32]}.")
    return said == "allow"


def missing_line(missing: Mapping[str, str]) -> bytes:
    """The header that names each missing site with the reason."""
    text = "; ".join(f"{site} ({_ascii(reason)})" for site, reason in missing.items())
    return b"X-Atoll-Missing-Sites: %b\r\n" % text.encode("latin-1", "replace")


def add_missing(call: Call, missing: Mapping[str, str]) -> None:
    """Say with the answer which sites it lacks."""
    call.missing.update(missing)
    call.extra_lines.append(missing_line(missing))


def _ascii(reason: str) -> str:
    cleaned = "".join(char if " " <= char <= "~" and char not in ";()" else " " for char in reason)
    return cleaned[:160]
