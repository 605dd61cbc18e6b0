"""What others are told of a run: an event for each line of its log. Pure."""

import msgspec

from atoll.gateway.run_shown import moment
from atoll.store.run_outbox import Line, News


class RunEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a run's log as others get it. `state`: where the run stood when this was sent."""

    run_id: str
    number: int
    """Of the line. One that is sent again has the same."""
    at: str
    what: str
    step: str | None
    """null: of the run itself."""
    site: str | None
    text: str
    definition: str
    project_id: str
    state: str


def event_of(news: News, line: Line) -> RunEvent:
    """The event of a line."""
    return RunEvent(
        run_id=news.run_id,
        number=line.number,
        at=moment(line.time),
        what=line.what,
        step=line.step or None,
        site=line.site or None,
        text=line.text,
        definition=news.definition,
        project_id=news.project_id,
        state=news.state.value,
    )
