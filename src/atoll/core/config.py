"""The configuration: TOML in, frozen Structs out, or every fault with its place. Reads no files.

Each value is converted by itself, so that one fault does not hide the next. What single values cannot know
(sites that do not exist, one endpoint twice) is in `config_checks`; what may be said, in `settings`.
"""

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from atoll.core import config_checks
from atoll.core.settings import (
    TABLES,
    Cloud,
    Config,
    ConfigError,
    Equivalents,
    Fault,
    FileReference,
    Gateway,
    Identity,
    Limits,
    Placement,
    Secret,
    Secrets,
    Site,
    Store,
    Tls,
    Zone,
)

__all__ = [
    "Config",
    "ConfigError",
    "Equivalents",
    "Fault",
    "FileReference",
    "Gateway",
    "Identity",
    "Limits",
    "Placement",
    "Secret",
    "Site",
    "Store",
    "Tls",
    "Zone",
    "file_references",
    "load",
]

_SINGLE: Final = ("gateway", "identity", "store", "limits", "placement", "audit", "secrets", "runs")
_BY_NAME: Final = ("sites", "zones", "clouds")
_ARRAYS: Final = ("equivalents", "credentials")
_LISTS: Final = {(Gateway, "listen"), (Gateway, "admin_roles"), (Secrets, "key")}
"""Where one text stands for a list of it."""
_FILLED_IN: Final = {(Site, "name"), (Zone, "name"), (Cloud, "name")}
"""Fields that the file gives elsewhere, and that are unknown keys when it does so here."""

_WORDS: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "array": "a list",
    "object": "a table",
}
"""The words of TOML for those of msgspec."""


def load(text: str | bytes, *, source: str, env: Mapping[str, str]) -> Config:
    """Read a configuration.

    `source` names it in messages; `env` is the environment, for the default of the store and `env:`
    references. Raises `ConfigError` with every fault.
    """
    document = _parse(text, source)
    reader = _Reader()
    tables = {name: reader.table(TABLES[name], document.get(name, {}), name) for name in _SINGLE}
    named = {name: reader.tables(TABLES[name], document.get(name, {}), name) for name in _BY_NAME}
    rest: dict[str, Any] = {
        table: {name: msgspec.structs.replace(one, name=name) for name, one in content.items()}
        for table, content in named.items()
    }
    rest |= {name: reader.array(TABLES[name], document.get(name, []), name) for name in _ARRAYS}
    reader.unknown_keys(document, TABLES, "")
    fixed = config_checks.Draft(
        **tables,
        **rest,
        broken=frozenset(fault.place for fault in reader.faults),
    )
    faults = reader.faults + config_checks.check(fixed, env)
    if faults:
        raise ConfigError(source, faults)
    return config_checks.finish(fixed, env)


def file_references(config: Config) -> list[FileReference]:
    """Give the files that the configuration names and that have to be there."""
    tls = config.gateway.tls
    named = [("identity.cacert", config.identity.cacert, False)]
    if tls is not None:
        named += [
            ("gateway.tls.cert_file", tls.cert_file, False),
            ("gateway.tls.key_file", tls.key_file, True),
        ]
    for name, cloud in config.clouds.items():
        # A certificate may have its key beside it.
        named += [
            (f"clouds.{name}.cacert", cloud.cacert, False),
            (f"clouds.{name}.cert", cloud.cert, not cloud.key),
            (f"clouds.{name}.key", cloud.key, True),
        ]
    for name in ("transport_url", "coordination_url"):
        form, _, path = getattr(config.runs, name).partition(":")
        named += [(f"runs.{name}", path, True)] if form == "file" else []
    return [FileReference(place, path, secret=secret) for place, path, secret in named if path]


def _parse(text: str | bytes, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode() if isinstance(text, bytes) else text)
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise ConfigError(source, [Fault(f"line {line}", "is not UTF-8 text")]) from exc
    except tomllib.TOMLDecodeError as exc:
        match = re.fullmatch(r"(.*) \(at (.*)\)", str(exc), re.DOTALL)
        message, place = match.groups() if match else (str(exc), "end of document")
        raise ConfigError(source, [Fault(place, f"is no TOML: {message}")]) from exc


class _Reader:
    """Converts table by table and value by value, and keeps every fault."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def array(self, kind: type[msgspec.Struct], content: Any, path: str) -> tuple[Any, ...]:
        """Read `[[path]]`; what has faults is left out."""
        if not isinstance(content, list):
            self._fault(path, f"is an array of tables: write [[{path}]]")
            return ()
        read = (self.table(kind, entry, f"{path}[{place}]") for place, entry in enumerate(content))
        return tuple(entry for entry in read if entry is not None)

    def tables(self, kind: type[msgspec.Struct], content: Any, path: str) -> dict[str, Any]:
        """Read `[path.NAME]` tables; what has faults is left out."""
        if not isinstance(content, dict):
            self._fault(path, f"is a table of tables: write [{path}.NAME]")
            return {}
        read = {name: self.table(kind, entry, _join(path, name)) for name, entry in content.items()}
        return {name: entry for name, entry in read.items() if entry is not None}

    def table(self, kind: type[msgspec.Struct], content: Any, path: str) -> Any:
        """Read one table; None if anything in it is wrong."""
        if not isinstance(content, dict):
            self._fault(path, f"is a table, not {_shown(content)}")
            return None
        fields = {
            field.name: field
            for field in msgspec.structs.fields(kind)
            if (kind, field.name) not in _FILLED_IN
        }
        before = len(self.faults)
        self.unknown_keys(content, fields, path)
        values = {}
        for name, field in fields.items():
            if name in content:
                values[name] = self._value(kind, field, content[name], _join(path, name))
            elif field.required:
                self._fault(_join(path, name), "is missing")
        return kind(**values) if len(self.faults) == before else None

    def unknown_keys(self, content: Mapping[str, Any], known: Iterable[str], path: str) -> None:
        """Put down the keys nobody reads, with what was probably meant."""
        names = list(known)
        for key in content:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
                self._fault(_join(path, key), f"is not known: {hint}")

    def _value(self, kind: type[msgspec.Struct], field: Any, content: Any, path: str) -> Any:
        if field.name == "tls":
            return self.table(Tls, content, path)
        wanted = str if field.type is Secret else field.type
        if (kind, field.name) in _LISTS and isinstance(content, str):
            content = [content]
        try:
            value = msgspec.convert(content, wanted)
        except msgspec.ValidationError as exc:
            self._fault(path, _explained(str(exc), wanted, content))
            return None
        if field.type is Secret:
            return Secret(value)
        return MappingProxyType(value) if isinstance(value, dict) else value

    def _fault(self, place: str, message: str) -> None:
        self.faults.append(Fault(place, message))


def _join(path: str, key: str) -> str:
    shown = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{key}"'
    return f"{path}.{shown}" if path else shown


def _explained(message: str, wanted: Any, content: Any) -> str:
    """Say what msgspec says, with the value in question and in the words of TOML."""
    if get_origin(wanted) is Literal:
        return f"expected {' or '.join(get_args(wanted))}, not {_shown(content)}"
    message, _, inner = message.partition(" - at ")
    message = re.sub(r", got .*", "", message)
    for theirs, ours in _WORDS.items():
        message = message.replace(f"`{theirs}`", ours)
    where = f" (in {inner.strip('`$')})" if inner else ""
    return f"{message[0].lower()}{message[1:].replace('`', '')}{where}, not {_shown(content)}"


def _shown(content: Any) -> str:
    text = repr(content)
    return text if len(text) <= 60 else text[:57] + "..."
