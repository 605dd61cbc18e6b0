"""What the tools that write facts of a service's routes share: least roles, and the policies of a method.

Imported by `nova-routes`, `cinder-routes` and `glance-routes`, which the Python of an installed service runs:
it imports oslo's libraries and nothing of Atoll, and of no one service.
"""

import ast
import inspect
import json
import re
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from types import FunctionType, MethodType
from typing import Any

from oslo_config import cfg
from oslo_policy import opts, policy

PROJECT, USER = "p" * 32, "u" * 32
RANKS = {
    "any": [],
    "reader": ["reader"],
    "member": ["reader", "member"],
    "manager": ["reader", "member", "manager"],
    "service": ["service"],
    "admin": ["reader", "member", "manager", "admin"],
}
TARGET = {"project_id": PROJECT, "user_id": USER, "owner": PROJECT, "member_id": PROJECT}


class Policies:
    """A service's default policies, and who passes them."""

    def __init__(self, rules: Iterable[Any]) -> None:
        conf = cfg.ConfigOpts()
        opts.set_defaults(conf)
        conf([], default_config_files=[], default_config_dirs=[])
        conf.set_override("enforce_new_defaults", True, group="oslo_policy")
        self.enforcer = policy.Enforcer(conf, policy_file="none.yaml", fallback_to_json_file=False)
        self.rules = {rule.name: rule for rule in rules}
        self.enforcer.register_defaults(list(self.rules.values()))

    def least(self, name: str) -> str:
        """The weakest role that passes a policy; `nobody` where none does."""
        for rank, roles in RANKS.items():
            who = {"roles": roles, "project_id": PROJECT, "user_id": USER, "is_admin": "admin" in roles}
            if self.enforcer.enforce(name, TARGET, who):
                return rank
        return "nobody"

    def documented(self) -> dict[tuple[str, str, str], set[str]]:
        """(method, template, action) to the policies that the service documents for it."""
        found: dict[tuple[str, str, str], set[str]] = {}
        for rule in self.rules.values():
            for operation in getattr(rule, "operations", ()):
                path, _, action = operation["path"].partition(" ")
                methods = operation["method"]
                for method in [methods] if isinstance(methods, str) else methods:
                    key = (method, template(path), action.strip(" ()"))
                    found.setdefault(key, set()).add(rule.name)
        return found

    def facts(
        self, always: list[tuple[str, ...]], sometimes: Iterable[str], documented: Iterable[str] = ()
    ) -> dict[str, Any]:
        """The least role, the policies checked whatever is asked, and those for some requests only."""
        names = list(dict.fromkeys(name for one in always for name in one))
        also = sorted({*sometimes, *documented} - {*names})
        least = {name: self.least(name) for name in (*names, *also)}
        weakest = [min((least[name] for name in one), key=list(RANKS).index) for one in always]
        return {
            "role": max(weakest, key=list(RANKS).index, default="any"),
            "policies": {name: least[name] for name in names},
            "also": {name: least[name] for name in also},
        }


def template(path: str) -> str:
    """A path as the tables write it: every parameter is `{id}`, no slash at its ends."""
    return re.sub(r"\{[^}]*\}", "{id}", path.partition("?")[0]).strip("/")


# -- what a method checks -----------------------------------------------------------------------------


def statements(function: FunctionType) -> list[ast.stmt]:
    """The body of a function."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return next(one for one in tree.body if isinstance(one, ast.FunctionDef)).body


class Checks(ast.NodeVisitor, ABC):
    """The policies that a function checks (each of `always` with its alternatives), and what it calls.

    `owner` is what `self` is there, a class or an object. Subclasses say what a check looks like.
    """

    within: tuple[str, ...] = ()  # modules whose functions are read, too
    deep = 3  # calls followed from a controller's method

    def __init__(self, function: FunctionType, owner: Any) -> None:
        self.owner = owner
        self.names = {**function.__globals__, "self": owner}
        self.always: list[tuple[str, ...]] = []
        self.sometimes: list[str] = []
        self.calls: list[tuple[bool, FunctionType, Any]] = []
        self.conditions = 0
        for statement in statements(function):
            self.visit(statement)

    def visit_If(self, node: ast.If) -> None:
        """What is below an `if` is checked for some requests only, unless both ways check."""
        self.visit(node.test)
        before, branches = self.always, []
        for branch in (node.body, node.orelse):
            self.always = []
            for one in branch:
                self.visit(one)
            branches.append([name for names in self.always for name in names])
        self.always = before
        if all(branches):
            self.always.append(tuple(branches[0] + branches[1]))
        else:
            self.sometimes += branches[0] + branches[1]

    def visit_For(self, node: ast.For) -> None:
        """So is what is in a loop."""
        self.visit(node.iter)
        self._below(node.body)

    def visit_Try(self, node: ast.Try) -> None:
        """And what happens after an error."""
        for one in node.body:
            self.visit(one)
        self._below([*node.handlers, *node.orelse])

    def _below(self, nodes: list[Any]) -> None:
        self.conditions += 1
        for one in nodes:
            self.visit(one)
        self.conditions -= 1

    def visit_Call(self, node: ast.Call) -> None:
        """A check, or a call of something that may check."""
        policies = self.checked(node)
        if policies is None:
            self._follow(node)
        elif self.conditions or any(one.arg == "fatal" for one in node.keywords):
            self.sometimes += policies
        else:
            self.always += [(name,) for name in policies]
        self.generic_visit(node)

    def _follow(self, node: ast.Call) -> None:
        found = self.named(node.func)
        owner = found.__self__ if isinstance(found, MethodType) else self.owner
        called = inspect.unwrap(getattr(found, "__func__", found) or len)
        if isinstance(called, FunctionType) and called.__module__.startswith(self.within):
            self.calls.append((self.conditions > 0, called, owner))

    @abstractmethod
    def checked(self, node: ast.Call) -> list[str] | None:
        """The policies that a call checks; None where it is no check."""

    def named(self, node: ast.expr) -> Any:
        """What `name`, `name.attribute` or `super(…).attribute` is; None where it is something else."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if not isinstance(node, ast.Attribute):
            return None
        if ast.unparse(node.value).startswith("super("):
            owner = self.owner if isinstance(self.owner, type) else type(self.owner)
            return getattr(super(owner, self.owner), node.attr, None)
        return getattr(self.named(node.value), node.attr, None)

    def constant(self, node: ast.expr) -> Any:
        """A policy's name: a word, a name for one, or `pattern % word`."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            pattern, word = self.constant(node.left), self.constant(node.right)
            return pattern % word if isinstance(pattern, str) and isinstance(word, str) else None
        return self.named(node)


def checked(
    read: type[Checks], function: FunctionType, owner: Any, depth: int = 0
) -> tuple[list[tuple[str, ...]], list[str]]:
    """The policies a method checks: (whatever is asked, each with its alternatives; for some requests)."""
    found = read(function, owner)
    always, sometimes = found.always, found.sometimes
    for conditional, called, its_owner in found.calls if depth < read.deep else []:
        more, maybe = checked(read, called, its_owner, depth + 1)
        if conditional:
            sometimes += [name for names in more for name in names]
        else:
            always += more
        sometimes += maybe
    return always, sometimes


# -- what is written ----------------------------------------------------------------------------------


def _order(one: Mapping[str, Any]) -> tuple[str, str, str]:
    return one["path"], one["method"], one.get("action", "")


def said(found: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of an operation without those that are empty."""
    return {key: value for key, value in found.items() if value}


def write(service: str, releases: Mapping[str, str], head: Mapping[str, Any], facts: list[Any]) -> None:
    """Print the facts, one operation a line."""
    release = version(service)
    head = {
        "about": f"facts of an installed {service}, by tools/{service}-routes; do not edit",
        service: release,
        **head,
        "release": releases.get(release.partition(".")[0], ""),
    }
    lines = ",\n".join(" " + json.dumps(one) for one in sorted(facts, key=_order))
    print(json.dumps(head)[:-1] + f', "operations": [\n{lines}\n]}}')
