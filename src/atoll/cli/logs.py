"""How log lines look: columns on a terminal, JSON elsewhere; secrets never."""

import contextlib
import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any, Literal


@contextlib.contextmanager
def _absent(name: str) -> Iterator[None]:
    """Let imports go as if a package was not installed."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # how Python says so
    try:
        yield
    finally:
        del sys.modules[name]


# structlog takes rich where it finds it, and a fifth of a second for it: for tracebacks we do not print.
with _absent("rich"):
    import structlog

# Keys whose values are secrets, whatever their case or spelling.
SECRET = re.compile(
    r"token|password|passwd|secret|admin_?pass|user_?data|private_?key|authorization|cookie|credential",
    re.IGNORECASE,
)
_SIGNED = re.compile(r"(?i)([?&](?:sig|signature|temp_url_sig|x-amz-signature|token)=)[^&\s]+")
_FERNET = re.compile(r"gAAAA[\w-]{40,}={0,2}")
LONGEST = 1024


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take secrets out of an event: by key, and what looks like a token in any text."""
    return {key: _clean(key, value) for key, value in event.items()}


def _clean(key: str, value: Any) -> Any:
    if SECRET.search(key):
        return "***"
    if isinstance(value, dict):
        return {name: _clean(str(name), one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(key, one) for one in value]
    if isinstance(value, str):
        value = _FERNET.sub("***", _SIGNED.sub(r"\1***", value))
        return value if len(value) <= LONGEST or key == "exception" else value[:LONGEST] + "…"
    return value


def configure(form: Literal["auto", "json", "console"] = "auto", level: int = logging.INFO) -> None:
    """Set up structlog for this process."""
    if form == "auto":
        form = "console" if sys.stderr.isatty() else "json"
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Without the values of local variables, which may be bodies and secrets.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    last: list[Any] = (
        [structlog.processors.ExceptionRenderer(tracebacks), redact, structlog.processors.JSONRenderer()]
        if form == "json"
        else [structlog.processors.format_exc_info, redact, structlog.dev.ConsoleRenderer()]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
