"""What can be run: definitions, by name and version, each with what it takes and the plan it makes of that.

A plan is made when a run is accepted and never changes, so a definition may be replaced by its next version
at any time. Which there are stands in `definition_table`.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from atoll.core.errors import BadRequest, Forbidden, NotFound
from atoll.gateway.call import Call
from atoll.gateway.own_route import In, Who
from atoll.gateway.parts import Parts
from atoll.workflow.plan import Plan, check

Input = TypeVar("Input", bound=In)

_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,55}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition(Generic[Input]):
    """A kind of run. `input` is checked before `plan` sees it.

    `plan` looks at what there is and changes nothing; for a second request with the same key it has to give
    the same plan. It raises what a request raises. `who`: ANYONE or ADMIN.
    """

    name: str
    version: int
    summary: str
    """What it does, in a line."""
    input: type[Input]
    plan: Callable[[Parts, Call, Input], Awaitable[Plan]]
    example: Plan
    """A plan as it may be, for its diagram."""
    who: Who = Who.ANYONE
    internal: bool = False
    """Atoll begins it itself, where a request asks for something else."""
    as_user: bool = False
    """Whether its steps act as who asked for it: a trust is made when it is accepted."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or not 0 < self.version < 10_000_000:
            raise ValueError(f"{self.title} is not NAME@VERSION of at most 64 characters")

    @property
    def title(self) -> str:
        """`NAME@VERSION`."""
        return f"{self.name}@{self.version}"

    async def planned(self, parts: Parts, call: Call, given: object) -> Plan:
        """Make the plan of what came in. Raises `BadRequest`, and what `plan` raises."""
        try:
            checked = msgspec.convert(given, self.input)
        except msgspec.ValidationError as error:
            raise BadRequest(f"The input of {self.title} is refused: {error}.") from error
        plan = await self.plan(parts, call, checked)
        check(plan, parts.actions.by_name)
        return plan


class Definitions:
    """All that this release can run."""

    def __init__(self, every: Sequence[Definition[Any]]) -> None:
        self._by_name: dict[str, dict[int, Definition[Any]]] = {}
        for one in every:
            versions = self._by_name.setdefault(one.name, {})
            if one.version in versions:
                raise ValueError(f"{one.title} is there twice")
            versions[one.version] = one

    def check(self, actions: Collection[str]) -> None:
        """Raise `BadRequest` where the example of one cannot be run: its actions are not there."""
        for versions in self._by_name.values():
            for one in versions.values():
                check(one.example, actions)

    def latest(self, *, admin: bool) -> list[Definition[Any]]:
        """The newest version of each that a caller may use, by name."""
        newest = [versions[max(versions)] for _, versions in sorted(self._by_name.items())]
        return [one for one in newest if admin or one.who is not Who.ADMIN]

    def find(self, title: str, *, admin: bool) -> Definition[Any]:
        """The one of a name (the newest), or of `name@version`. Raises `NotFound`, `Forbidden`."""
        name, at, version = title.partition("@")
        versions = self._by_name.get(name)
        if versions is None:
            there = ", ".join(one.name for one in self.latest(admin=admin)) or "none"
            text = f"There is no definition {name}: there are {there}."
            raise NotFound(text, resource="definition", id=name)
        known = {str(number): one for number, one in sorted(versions.items())}
        found = known.get(version) if at else versions[max(versions)]
        if found is None:
            raise NotFound(
                f"There is no version {version} of the definition {name}: there are {', '.join(known)}.",
                resource="definition",
                id=title,
            )
        if found.who is Who.ADMIN and not admin:
            raise Forbidden(f"The definition {name} is for administrators.")
        return found
