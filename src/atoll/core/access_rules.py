"""Access rules of application credentials: what a token may be used for, as keystonemiddleware has it."""

import re
from collections.abc import Collection
from functools import lru_cache

import msgspec

_PARTS = re.compile(r"\{[^}]*\}|\*\*|\*|[^{}*]")
# Patterns kept in their compiled form: tokens come again.
_KEPT = 2000


class AccessRule(msgspec.Struct, frozen=True, kw_only=True):
    """One call that is allowed: `*` or `{name}` in the path is one segment, `**` any number."""

    service: str
    path: str
    method: str

    def __str__(self) -> str:
        """In a line: `compute GET /v2.1/servers`."""
        return f"{self.service} {self.method} {self.path}"


def allowed(rules: Collection[AccessRule], services: Collection[str], method: str, path: str) -> bool:
    """Whether one of the rules allows a call; `services` are the type of the service and its aliases."""
    return any(
        rule.method == method and rule.service in services and _pattern(rule.path).match(path) is not None
        for rule in rules
    )


@lru_cache(_KEPT)
def _pattern(path: str) -> re.Pattern[str]:
    parts = []
    for part in _PARTS.findall(path):
        if part == "**":
            parts.append(".*")
        elif part == "*" or part[0] == "{":
            parts.append("[^/]+")
        else:
            parts.append(re.escape(part))
    return re.compile("".join(parts) + r"\Z")
