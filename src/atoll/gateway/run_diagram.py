"""A plan as a picture: Mermaid, which GitHub, GitLab and many editors draw."""

from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter

from atoll.workflow.plan import Graph, Plan, Step


def mermaid(plan: Plan) -> str:
    """The steps from top to bottom, each below those that it needs; a hexagon has no way back."""
    return "\n".join(["flowchart TD", *_lines(plan)]) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    for place, step in enumerate(plan.steps):
        yield f"    s{place}{_box(step)}"
    for place, before in enumerate(_nearest(Graph(plan).needs)):
        for one in before:
            yield f"    s{one} --> s{place}"


def _nearest(needs: Sequence[Sequence[int]]) -> list[list[int]]:
    """What each needs, without what it needs through others anyway."""
    above: dict[int, set[int]] = {}
    nearest: list[list[int]] = [[] for _ in needs]
    for place in TopologicalSorter(dict(enumerate(needs))).static_order():
        further = {far for one in needs[place] for far in above[one]}
        above[place] = further.union(needs[place])
        nearest[place] = [one for one in needs[place] if one not in further]
    return nearest


def _box(step: Step) -> str:
    where = f" at {step.site}" if step.site else ""
    text = f'"{_plain(step.name)}<br/>{_plain(step.action)}{_plain(where)}"'
    return f"{{{{{text}}}}}" if step.pivot else f"[{text}]"


def _plain(text: str) -> str:
    """A text without what Mermaid reads as its own."""
    return text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
