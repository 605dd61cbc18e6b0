"""What of a plan may be secret, and how it is written down: sealed, by whoever is given here for that. Pure.

`{"$sealed": [UNDER, TEXT]}` stands for a value; UNDER says which key opens TEXT. Values are secret by the
name under which they stand, since what is in them nobody knows: users of cloud-init have passwords there.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from atoll.workflow.plan import FROM, references

SEALED: Final = "$sealed"

SECRET: Final = frozenset({"user_data", "personality", "adminPass"})
"""Of a server. They may stand anywhere but in metadata, which is shown to everybody who sees the server."""

HIDDEN: Final = "(sealed)"
"""What is shown instead."""

_PARTS: Final = 2
_SHORTEST: Final = 4
_BEGINNING: Final = 12
"""Characters by which a secret is known that a text has only the beginning of."""


def form(under: str, text: str) -> dict[str, list[str]]:
    """How a sealed value is written."""
    return {SEALED: [under, text]}


def _parts(value: object) -> tuple[str, str] | None:
    """(under, text) of a sealed value, None for any other."""
    if not isinstance(value, Mapping) or len(value) != 1 or SEALED not in value:
        return None
    parts = value[SEALED]
    if not isinstance(parts, list | tuple) or len(parts) != _PARTS:
        return None
    under, text = parts
    return (under, text) if isinstance(under, str) and isinstance(text, str) else None


def sealed(value: Any, seal: Callable[[Any], dict[str, list[str]]]) -> Any:
    """The same with all sealed that is secret and is not yet. References to other steps stay."""
    if isinstance(value, Mapping):
        if _parts(value):
            return value
        return {key: _sealed(key, one, seal) for key, one in value.items()}
    return [sealed(one, seal) for one in value] if isinstance(value, list | tuple) else value


def _sealed(key: Any, value: Any, seal: Callable[[Any], dict[str, list[str]]]) -> Any:
    if key in SECRET and value:
        return _whole(value, seal)
    return value if key == "metadata" else sealed(value, seal)


def _whole(value: Any, seal: Callable[[Any], dict[str, list[str]]]) -> Any:
    """A secret sealed as a whole; where it refers to other steps, all but that."""
    if _parts(value) or (isinstance(value, Mapping) and FROM in value):
        return value
    if not any(references(value)):
        return seal(value)
    if isinstance(value, Mapping):
        return {key: _whole(one, seal) for key, one in value.items()}
    return [_whole(one, seal) for one in value]


def carries(value: Any) -> bool:
    """Whether there is something secret in it that is not sealed."""
    found: list[Any] = []

    def note(secret: Any) -> dict[str, list[str]]:
        found.append(secret)
        return {}

    sealed(value, note)
    return bool(found)


def changed(value: Any, change: Callable[[str, str], Any]) -> Any:
    """The same with what `change` gives, of key and text, in the place of every sealed value."""
    if isinstance(value, Mapping):
        parts = _parts(value)
        return change(*parts) if parts else {key: changed(one, change) for key, one in value.items()}
    return [changed(one, change) for one in value] if isinstance(value, list | tuple) else value


def unders(value: Any) -> Iterator[str]:
    """The keys of all that is sealed in it."""
    if isinstance(value, Mapping):
        parts = _parts(value)
        if parts:
            yield parts[0]
        for one in () if parts else value.values():
            yield from unders(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from unders(one)


def without(value: Any, under: str) -> Any:
    """The same without what is sealed under a key."""
    if isinstance(value, Mapping):
        return {key: without(one, under) for key, one in value.items() if (_parts(one) or [""])[0] != under}
    return [without(one, under) for one in value] if isinstance(value, list | tuple) else value


def hidden(value: Any) -> Any:
    """The same as others may see it."""
    return changed(value, lambda _under, _text: HIDDEN)


def texts(value: Any) -> Iterator[str]:
    """All texts of an opened value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts(one)


def veiled(text: str, secrets: Iterable[str]) -> str:
    """A text without secrets, nor the beginning of one: sites repeat what they refuse, and cut it."""
    written = {one for secret in secrets for one in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1])}
    for secret in sorted(written, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
        if len(secret) > _BEGINNING:
            while (at := text.find(secret[:_BEGINNING])) >= 0:
                end = at + _BEGINNING
                while end < len(text) and end - at < len(secret) and text[end] == secret[end - at]:
                    end += 1
                text = text[:at] + HIDDEN + text[end:]
    return text
