"""The outbox of runs: the log in a run's row, of which `sent` is the last line that was published.

It is written with what it tells of, in one commit, so nothing is told that did not happen, or the other way
round. Whoever publishes marks it after the fact: what dies between leads to lines that are told twice.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from atoll.store.database import Access, Database
from atoll.workflow.journal import Entry, Journal, State
from atoll.workflow.plan import Plan, Step

LOST: Final = "lost"
"""What a line says that stands for lines which are not kept any more."""

_PLAN: Final = msgspec.json.Decoder(Plan)
_JOURNAL: Final = msgspec.json.Decoder(Journal)

_WAITING: Final = """
    SELECT id, number, sent FROM runs WHERE unsent = 1 AND id > :after ORDER BY id LIMIT :most"""
_NEWS: Final = """
    SELECT definition, project_id, state, number, plan, journal FROM runs WHERE id = :id"""
# A line that was written meanwhile has made `number` more than what was sent: there is more to be sent.
_SENT: Final = """
    UPDATE runs SET unsent = CASE WHEN number = :sent THEN NULL ELSE unsent END, sent = :sent
    WHERE id = :id AND (sent IS NULL OR sent <= :sent)"""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A run whose log may have lines that were not published: those from `sent` on, up to `number`."""

    id: str
    number: int
    sent: int


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a log. `step` and `site` are "" for the run itself; `time` is the database's."""

    number: int
    time: float
    what: str
    step: str = ""
    site: str = ""
    text: str = ""


class News(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of one run that follow each other. `state` is where it stands now."""

    run_id: str
    definition: str
    project_id: str
    state: State
    lines: Sequence[Line]
    upto: int
    """When these are told, all lines up to this number are."""


class RunOutbox:
    """Reads what is to be published, and takes in that it was. All raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self, after: str, most: int) -> list[Waiting]:
        """Give runs with lines that were not published, by id, after the one with the id `after`.

        Ids are in the order of acceptance. By last change would need an index that every commit writes.
        """
        values = {"after": after, "most": most}
        rows = await self._database.run(Access.READ, lambda it: it.rows(_WAITING, values))
        return [Waiting(id=row[0], number=int(row[1]), sent=int(row[2] or 0)) for row in rows]

    async def news(self, run_id: str, after: int, most: int) -> News | None:
        """Give the next lines of a run, after the one with the number `after`; None where it is gone."""
        rows = await self._database.run(Access.READ, lambda it: it.rows(_NEWS, {"id": run_id}))
        if not rows:
            return None
        definition, project_id, state, number, plan, journal = rows[0]
        log = _JOURNAL.decode(journal).log
        new = [one for one in log if one.number > after]
        steps = _PLAN.decode(plan).steps if new else ()
        lines = [_line(one, steps) for one in new[:most]]
        # Where the log begins after what was sent. A gap within it was never to be told of.
        if new and new[0] is log[0] and new[0].number > after + 1:
            lines.insert(0, _lost(after + 1, new[0]))
        return News(
            run_id=run_id,
            definition=definition,
            project_id=project_id,
            state=State(state),
            lines=lines,
            upto=lines[-1].number if len(new) > most else int(number),
        )

    async def sent(self, run_id: str, number: int) -> None:
        """Take in that the lines up to a number were published."""
        values = {"id": run_id, "sent": number}
        await self._database.run(Access.WRITE, lambda it: it.change(_SENT, values))


def _line(entry: Entry, steps: Sequence[Step]) -> Line:
    step = steps[entry.step] if 0 <= entry.step < len(steps) else None
    return Line(
        number=entry.number,
        time=entry.time,
        what=entry.what,
        step=step.name if step else "",
        site=step.site if step else "",
        text=entry.text,
    )


def _lost(first: int, kept: Entry) -> Line:
    last = kept.number - 1
    return Line(number=last, time=kept.time, what=LOST, text=f"lines {first} to {last} are not kept any more")
