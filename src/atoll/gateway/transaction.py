"""The steps of a transaction: each creates something, deletes something, or takes the marks off.

Everything is asked of Atoll itself, as the run's user.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from atoll.gateway.transaction_kinds import KINDS, Ask, Item, Kind
from atoll.worker.actions import Action, Doing
from atoll.workflow.outcomes import Absent, Done, Failed, Refused, Unavailable

RESULT: Final = 32 * 1024
"""Bytes of a result that is kept whole; of a longer one only plain values are."""

POLL_SECONDS: Final = (0.5, 5.0)
"""How often it is looked whether something is ready, or gone: the first time, and at most."""


class Asks(Protocol):
    """`Inside`."""

    async def ask(
        self, doing: Doing, method: str, target: str, body: object = None, *, version: str = ""
    ) -> tuple[int, Any]:
        """Ask Atoll something as the run's user."""


class Transaction:
    """The actions. `input` of a create: `kind`, `body`, `version`; of a delete: `kind`, `id`."""

    def __init__(self, inside: Asks) -> None:
        self._inside = inside

    def actions(self) -> Sequence[Action]:
        """All of them."""
        return (
            Action(
                name="transaction.create@1",
                do=self.create,
                undo=self.uncreate,
                verify=self.created,
                left=self.left,
            ),
            Action(name="transaction.keep@1", do=self.keep),
            Action(name="transaction.nothing@1", do=_nothing),
            Action(name="transaction.finish@1", do=self.finish),
            Action(name="transaction.delete@1", do=self.delete, verify=self.deleted, left=self.not_deleted),
        )

    def _asking(self, doing: Doing) -> Ask:
        async def ask(method: str, target: str, body: object = None, *, version: str = "") -> tuple[int, Any]:
            doing.check()
            return await self._inside.ask(doing, method, target, body, version=version)

        return ask

    def _of(self, doing: Doing) -> tuple[Kind, Ask]:
        return KINDS[doing.input["kind"]], self._asking(doing)

    async def create(self, doing: Doing) -> Any:
        """Create it unless an earlier try has, and wait until it can be used."""
        kind, ask = self._of(doing)
        body = doing.input["body"]
        made = next(iter(await kind.find(ask, body, doing.mark)), None) if doing.again else None
        if made is None:
            made = await kind.create(ask, doing.opened(body), doing.mark, doing.input["version"])
        seconds, longest = POLL_SECONDS
        while (there := await kind.ready(ask, str(made["id"]))) is None:
            doing.stop()
            await asyncio.sleep(seconds)
            seconds = min(seconds * 1.5, longest)
        return _small({**made, **there})

    async def keep(self, doing: Doing) -> Any:
        """Look once more at what was there already."""
        kind, ask = self._of(doing)
        item = await kind.ready(ask, doing.input["id"])
        if item is None:
            raise Unavailable(f"the {kind.word} {doing.input['id']} cannot be used yet")
        return _small({**item, "id": doing.input["id"]})

    async def created(self, doing: Doing) -> Done | Absent:
        """Look for it. What is there and cannot be used yet is waited for by `create`."""
        kind, ask = self._of(doing)
        made = next(iter(await kind.find(ask, doing.input["body"], doing.mark)), None)
        if made is None:
            return Absent()
        there = await kind.ready(ask, str(made["id"]))
        return Absent() if there is None else Done(_small({**made, **there}))

    async def left(self, doing: Doing) -> str:
        """What was created, as far as it is there."""
        kind, ask = self._of(doing)
        if doing.result is not None:
            found = [] if await kind.gone(ask, str(doing.result["id"])) else [doing.result]
        else:
            found = list(await kind.find(ask, doing.input["body"], doing.mark))
        return ", ".join(f"{kind.word} {one['id']}" for one in found)

    async def uncreate(self, doing: Doing) -> None:
        """Delete what was created, and wait until it is gone: what it needed goes next."""
        kind, ask = self._of(doing)
        made = doing.result
        found = [made] if made is not None else await kind.find(ask, doing.input["body"], doing.mark)
        for one in found:
            await self._remove(kind, ask, str(one["id"]))

    @staticmethod
    async def _remove(kind: Kind, ask: Ask, ident: str) -> None:
        if await kind.gone(ask, ident):
            return
        await kind.delete(ask, ident)
        await _until_gone(kind, ask, ident)

    async def finish(self, doing: Doing) -> None:
        """Take the marks off all that was created."""
        ask = self._asking(doing)
        for one in doing.input["made"]:
            await KINDS[one["kind"]].unmark(ask, one, one["body"])

    async def delete(self, doing: Doing) -> None:
        """Delete it, and wait until it is gone."""
        kind, ask = self._of(doing)
        ident = doing.input["id"]
        await kind.delete(ask, ident)
        try:
            await _until_gone(kind, ask, ident)
        except Refused as error:
            raise Failed(str(error)) from error

    async def not_deleted(self, doing: Doing) -> str:
        """What was to be deleted, where it is there still."""
        kind, ask = self._of(doing)
        return "" if await kind.gone(ask, doing.input["id"]) else f"{kind.word} {doing.input['id']}"

    async def deleted(self, doing: Doing) -> Done | Absent:
        """Look whether it is gone."""
        kind, ask = self._of(doing)
        return Done() if await kind.gone(ask, doing.input["id"]) else Absent()


async def _nothing(doing: Doing) -> None:
    """All is as it is to be."""
    del doing


async def _until_gone(kind: Kind, ask: Ask, ident: str) -> None:
    seconds, longest = POLL_SECONDS
    while not await kind.gone(ask, ident):
        await asyncio.sleep(seconds)
        seconds = min(seconds * 1.5, longest)


def _small(item: Item) -> Item:
    if len(msgspec.json.encode(item)) <= RESULT:
        return item
    return {key: value for key, value in item.items() if isinstance(value, str | int | float)}
