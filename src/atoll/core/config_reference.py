"""The reference of the configuration: the settings and the docstrings under them. For documentation only."""

import ast
import inspect
import re
import textwrap
from typing import Any, NamedTuple

import msgspec

from atoll.core.settings import TABLES, Gateway, Tls


class Option(NamedTuple):
    """One setting."""

    path: str
    type: str
    default: str
    """As written in TOML, or `required`, or empty where the text says it."""
    doc: str


_SEVERAL = {
    "sites": ".NAME", "zones": ".NAME", "clouds": ".NAME", "equivalents": "[]", "credentials": "[]",
}  # fmt: skip


def reference() -> list[Option]:
    """Give every setting, in the order of the tables."""
    options = []
    for table, kind in TABLES.items():
        path = f"{table}{_SEVERAL.get(table, '')}"
        options += _options(kind, path)
        if kind is Gateway:
            options += _options(Tls, f"{path}.tls")
    return options


def _options(kind: type[msgspec.Struct], path: str) -> list[Option]:
    texts = _docs(kind)
    return [
        Option(f"{path}.{field.name}", texts[field.name][0], _default(field), texts[field.name][1])
        for field in msgspec.structs.fields(kind)
        if not (path.endswith("NAME") and field.name == "name")
    ]


def _docs(kind: type[msgspec.Struct]) -> dict[str, tuple[str, str]]:
    """Give (type, docstring) of each field as they stand in the source: nothing keeps them at run time."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - the source of a class
    docs = {}
    pairs = zip(definition.body, definition.body[1:], strict=False)
    for statement, text in pairs:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            assert isinstance(text, ast.Expr), statement.target.id  # noqa: S101 - a field without docstring
            assert isinstance(text.value, ast.Constant), statement.target.id  # noqa: S101
            plain = " ".join(str(text.value.value).split())
            docs[statement.target.id] = (_type(ast.unparse(statement.annotation)), plain)
    return docs


def _type(annotation: str) -> str:
    """Write an annotation in the words of TOML, bounds included."""
    bounds = dict(re.findall(r"\b(ge|gt|le)=([\d.e_]+)", annotation))
    if "Literal" in annotation:
        return " | ".join(re.findall(r"'([^']*)'", annotation))
    words = {"str": "text", "int": "whole number", "float": "number", "Seconds": "seconds", "Count": "count"}
    words |= {"tuple": "list of texts", "Mapping": "table", "Secret": "text", "Tls": "table"}
    words["ZoneName"] = "text"
    found = [
        next((words[name] for name in re.findall(r"\w+", part) if name in words), "")
        for part in annotation.split(" | ")
    ]
    word = " or ".join(dict.fromkeys(filter(None, found)))
    least = f"more than {bounds['gt']}" if "gt" in bounds else f"at least {bounds.get('ge')}"
    limits = [least] if {"ge", "gt"} & bounds.keys() else []
    limits += [f"at most {bounds['le']}"] if "le" in bounds else []
    return f"{word} ({', '.join(limits)})" if limits else word


def _default(field: Any) -> str:
    if field.required:
        return "required"
    value = field.default
    if value in ("", None, -1) or value is msgspec.NODEFAULT:  # the last one: an empty table
        return ""
    return msgspec.json.encode(value).decode()
