"""Writing one entry of a `clouds.yaml`: the rest of the file, comments too, stays as it is."""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

_STEP: Final = "  "
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times faster where libyaml is there."""


class EntryError(Exception):
    """The file cannot be read or written, or is not laid out so that one entry can be put in; says why."""


def read_entry(path: Path, name: str) -> dict[str, Any]:
    """Give an entry, empty where there is none. Raises EntryError."""
    clouds = _parsed(_text(path), path).get("clouds") or {}
    entry = clouds.get(name) if isinstance(clouds, dict) else None
    return dict(entry) if isinstance(entry, dict) else {}


def write_entry(path: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Put an entry in the place of the one of its name, or behind the others.

    The file is replaced as a whole and then readable by its owner only: there is a password in it. Of a link
    the target is written. Raises EntryError, and has changed nothing then.
    """
    text = _text(path)
    before = _parsed(text, path)
    if (before.get("clouds") or {}).get(name) == entry and not path.stat().st_mode & 0o077:
        return
    changed = _with_entry(text, path, name, dict(entry))
    after = _parsed(changed, path)
    wanted = {**before, "clouds": {**(before.get("clouds") or {}), name: dict(entry)}}
    if after != wanted:
        raise EntryError(
            f"{path}: the entry {name} cannot be put in without changing others: write it yourself"
        )
    _replace(Path(os.path.realpath(path)), changed)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise EntryError(f"{path}: {reason}") from error


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe one
    except yaml.YAMLError as error:
        raise EntryError(f"{path} is no YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise EntryError(f"{path} is no clouds.yaml")
    return content


def _with_entry(text: str, path: Path, name: str, entry: dict[str, Any]) -> str:
    with contextlib.suppress(ValueError):  # some write it so: JSON is YAML
        content: dict[str, Any] = json.loads(text)
        others = content.get("clouds") or {}
        return json.dumps({**content, "clouds": {**others, name: entry}}, indent=1) + "\n"
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    clouds = _value_of(root, "clouds")
    if clouds is None:
        if isinstance(root, yaml.MappingNode) and root.flow_style:
            raise _not_block(path)
        return "".join([*lines, "clouds:\n", *_written({name: entry}, _STEP)])
    key, value = clouds
    if not isinstance(value, yaml.MappingNode) or not value.value:  # `clouds:` and nothing, or `{}`
        at = key.end_mark.line
        lines[at] = lines[at][: key.end_mark.column] + ":\n"
        return "".join([*lines[: at + 1], *_written({name: entry}, _STEP), *lines[at + 1 :]])
    if value.flow_style:
        raise _not_block(path)
    indent = " " * value.value[0][0].start_mark.column
    found = _value_of(value, name)
    start, end = _end(value), _end(value)
    if found is not None:
        start, end = found[0].start_mark.line, _end(found[1])
    return "".join([*lines[:start], *_written({name: entry}, indent), *lines[end:]])


def _value_of(node: Any, name: str) -> tuple[Any, Any] | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next(((key, value) for key, value in node.value if key.value == name), None)


def _end(node: Any) -> int:
    """The line after the last one that belongs to a node: comments and blanks behind it do not."""
    while isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.line) + (1 if node.end_mark.column else 0)


def _written(content: dict[str, Any], indent: str) -> list[str]:
    text = yaml.safe_dump(content, default_flow_style=False, sort_keys=False, allow_unicode=True)
    return [indent + line for line in text.splitlines(keepends=True)]


def _not_block(path: Path) -> EntryError:
    return EntryError(f"{path} is written with braces: write the entry yourself, or one setting a line")


def _replace(path: Path, text: str) -> None:
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkstemp makes it 0600.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise EntryError(f"{path} cannot be written: {error.strerror}") from error
