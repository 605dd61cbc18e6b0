"""What can be run: /atoll/v1/runs/definitions. Which there are stands in `definition_table`."""

from typing import Any

import msgspec

from atoll.gateway.definition_table import DEFINITIONS
from atoll.gateway.definitions import Definition
from atoll.gateway.own_route import Asked, NoBody, NoQuery, Out, Route, Who
from atoll.gateway.run_diagram import mermaid


class DefinitionView(Out, frozen=True, kw_only=True):
    """What can be run. `input` is a JSON schema."""

    name: str
    version: int
    summary: str
    who: str
    input: dict[str, Any]


class DefinitionPage(Out, frozen=True, kw_only=True):
    """All that the caller can have run, in the newest versions."""

    definitions: list[DefinitionView]


class ExampleStep(Out, frozen=True, kw_only=True):
    """A step of an example of a plan."""

    name: str
    action: str
    after: list[str]
    pivot: bool


class WholeDefinitionView(DefinitionView, frozen=True, kw_only=True):
    """What can be run, with an example of its steps. `diagram` is Mermaid."""

    steps: list[ExampleStep]
    diagram: str


class DefinitionAnswer(Out, frozen=True, kw_only=True):
    """One definition."""

    definition: WholeDefinitionView


async def list_definitions(asked: Asked[NoQuery, NoBody]) -> DefinitionPage:
    """List what can be run."""
    return DefinitionPage(
        definitions=[
            DefinitionView(**_definition(one)) for one in DEFINITIONS.latest(admin=asked.caller.is_admin)
        ]
    )


async def show_definition(asked: Asked[NoQuery, NoBody]) -> DefinitionAnswer:
    """Show what can be run, `name` or `name@version`, with its steps as a diagram."""
    one = DEFINITIONS.find(asked.names[0], admin=asked.caller.is_admin)
    steps = [
        ExampleStep(name=step.name, action=step.action, after=list(step.after), pivot=step.pivot)
        for step in one.example.steps
    ]
    view = WholeDefinitionView(**_definition(one), steps=steps, diagram=mermaid(one.example))
    return DefinitionAnswer(definition=view)


def _definition(one: Definition[Any]) -> dict[str, Any]:
    return {
        "name": one.name,
        "version": one.version,
        "summary": one.summary,
        "who": one.who.value,
        "input": msgspec.json.schema(one.input),
    }


ROUTES = (
    Route(
        method="GET", path="/runs/definitions", who=Who.ANYONE, handle=list_definitions, answer=DefinitionPage
    ),
    Route(
        method="GET", path="/runs/definitions/{name}", who=Who.ANYONE, handle=show_definition,
        answer=DefinitionAnswer,
    ),
)  # fmt: skip
