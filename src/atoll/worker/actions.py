"""What steps do: `do`, `undo` and `verify`, by name and version.

An action keeps to these, since a worker may die between any two lines of it:

- What is secret in `doing.input` is opened (`doing.opened`) where a request to a site is made, nowhere else.
- `do` is found again: what it makes bears `doing.mark`, or an id of its input.
- `undo` undoes what `do` made, also where there is no result, and does nothing where there is nothing.
- `verify` looks whether `do` was done. Without one, `do` may be repeated.
- `undo` None: there is nothing to undo.
- `left` says what is there of what `do` made, and changes nothing; None where that is nothing worth a look.

They raise what `workflow.outcomes` has, and nothing else; anything else is a fault of Atoll's.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from atoll.store.run_records import Acting
from atoll.workflow.outcomes import Absent, Done, Stopped, Withheld
from atoll.workflow.plan import action_name
from atoll.workflow.sealed import changed, texts, veiled


class Fenced(Exception):
    """This worker may not act any more: its lease is over, or the run another's."""


class Secrets(Protocol):
    """What opens sealed values."""

    def open(self, under: str, text: str) -> Any:
        """Give one. Raises `Withheld`."""

    def renewed(self, value: Any) -> Any:
        """Give a value with all in it sealed under the newest key."""


class NoSecrets:
    """Opens nothing."""

    def open(self, under: str, text: str) -> Any:
        """Refuse to."""
        del text
        raise Withheld(f"a value is sealed under the key {under}, and there is no key here")

    def renewed(self, value: Any) -> Any:
        """Leave it."""
        return value


NO_SECRETS: Final = NoSecrets()


@dataclass(slots=True, kw_only=True)
class Doing:
    """One try of a step: what it acts on, and for whom."""

    run_id: str
    mark: str
    """To be put on what is made: the same for every try, another one after a redo."""
    site: str
    input: Mapping[str, Any]
    """With what the steps before gave in the place of references; what is secret is sealed (`opened`)."""
    result: Any
    """What `do` gave, in `undo`; None where that is not known."""
    project_id: str
    user_id: str
    acting: Acting
    lease: Callable[[], float]
    """The seconds for which this worker certainly has the run."""
    progress: Callable[[float, float | None, str], None]
    """(done, of how much if known, unit): told as it goes."""
    again: bool = False
    """Something of this try may have been done before, by this worker or another one."""
    reason: str = ""
    """Why the run is undone, where it is."""
    token: bytes = b""
    """Of somebody of the project, who asks for a look where the run cannot act as its user any more."""
    stopping: bool = False
    """The run is to be undone: a step that takes long may end with `stop`."""
    secrets: Secrets = NO_SECRETS
    seen: set[str] = field(default_factory=set)
    """What was opened: not to be said in any message."""

    def opened(self, value: Any) -> Any:
        """Give a part of the input with all in it opened, to be sent to a site. Raises `Withheld`."""

        def opening(under: str, text: str) -> Any:
            found = self.secrets.open(under, text)
            self.seen.update(texts(found))
            return found

        return changed(value, opening)

    def veiled(self, text: str) -> str:
        """Give a text without what was opened."""
        return veiled(text, self.seen) if self.seen else text

    def check(self, seconds: float = 0.0) -> None:
        """Raise `Fenced` where the lease does not last so long. To be called before each call to a site."""
        if self.lease() <= seconds:
            raise Fenced

    def stop(self) -> None:
        """End early where the run is to be undone. Raises `Stopped`."""
        if self.stopping:
            raise Stopped("it was stopped before its end")


Do = Callable[[Doing], Awaitable[Any]]
Undo = Callable[[Doing], Awaitable[None]]
Left = Callable[[Doing], Awaitable[str]]
"""In words, "" where nothing is left."""
Verify = Callable[[Doing], Awaitable[Done | Absent]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What a kind of step does. `name` with its version: `image.upload@1`."""

    name: str
    do: Do
    undo: Undo | None = None
    verify: Verify | None = None
    left: Left | None = None

    def __post_init__(self) -> None:
        action_name(self.name)


@dataclass(slots=True)
class Actions:
    """All actions that this release knows, of former versions those that open runs may name."""

    by_name: dict[str, Action] = field(default_factory=dict)

    def add(self, actions: Iterable[Action]) -> None:
        """Know some more. Raises ValueError for a name that is taken."""
        for action in actions:
            if action.name in self.by_name:
                raise ValueError(f"{action.name} is there twice")
            self.by_name[action.name] = action
