"""What of a transaction is there already: things told by their names, compared with what is wanted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from atoll.core.errors import BadRequest, Conflict
from atoll.gateway.transaction_kinds import KINDS, Ask, Item, Keypair, Kind, Ordinary
from atoll.workflow.plan import references, resolved

_BY: Final = "description"
"""By which something is told that has no name: a floating IP."""

_ELSEWHERE: Final[Mapping[tuple[str, str], str]] = {
    ("server", "imageRef"): "image.id",
    ("server", "flavorRef"): "flavor.id",
    ("server", "availability_zone"): "OS-EXT-AZ:availability_zone",
    ("volume", "imageRef"): "volume_image_metadata.image_id",
}
"""Where what was given for a create stands in what is shown."""

Named = Ordinary | Keypair
"""The kinds that are told by a name."""

_PARTS: Final = frozenset({"metadata"})
"""Of which more may be there than was given."""

_ONLY_GIVEN: Final = frozenset({"networks", "security_groups", "user_data", "min_count", "max_count"})
"""What is shown in another form, or not at all: not compared."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is to be there, by its name in the transaction."""

    name: str
    kind: str
    body: Mapping[str, Any]


async def there(ask: Ask, wanted: Sequence[Wanted], project_id: str) -> dict[str, Item]:
    """What a project has of the things wanted, by their names in the transaction.

    They stand in an order in which none comes before one that it refers to. Raises `Conflict` with all that
    is there and is different, or there several times, `BadRequest` for what cannot be told.
    """
    found: dict[str, Item] = {}
    wrong: list[str] = []
    for one in wanted:
        missing = {path.partition(".")[0] for path in references(one.body)} - found.keys()
        items = _of(project_id, await _found(ask, one, found, known=not missing))
        if len(items) > 1:
            wrong.append(f"{one.name}: there are {len(items)} {one.kind}s of that name")
        elif items:
            found[one.name] = items[0]
            wrong += [f"{one.name}: {text}" for text in _differences(one, items[0], found)]
    if wrong:
        raise Conflict(f"What is there is not what is wanted: {'; '.join(wrong)}. Nothing was changed.")
    return found


async def sole(ask: Ask, kind: str, name: str, project_id: str) -> str:
    """The id of what has a name, "" where nothing has. Raises `Conflict` where several have."""
    items = _of(project_id, await _called(ask, KINDS[kind], {"name": name, _BY: name}))
    if len(items) > 1:
        raise Conflict(f"There are {len(items)} {kind}s called {name}: one is deleted by its id.")
    return str(items[0]["id"]) if items else ""


def _of(project_id: str, items: Sequence[Item]) -> Sequence[Item]:
    """Those of a project: networks and groups of others are seen too."""
    return [one for one in items if one.get("project_id", one.get("tenant_id", project_id)) == project_id]


async def _found(ask: Ask, one: Wanted, found: Mapping[str, Item], *, known: bool) -> Sequence[Item]:
    kind = KINDS[one.kind]
    if not isinstance(kind, Named) or (isinstance(kind, Ordinary) and kind.by_content):
        # Told by what it joins: not there where that is not.
        return await kind.find(ask, resolved(one.body, found), "") if known else []
    return await _called(ask, kind, one.body)


async def _called(ask: Ask, kind: Kind, body: Mapping[str, Any]) -> Sequence[Item]:
    if not isinstance(kind, Named):
        raise BadRequest(f"A {kind.word} is told by what it joins, not by a name.")
    key = "name" if kind.word != "floatingip" else _BY
    name = body.get(key)
    if not isinstance(name, str) or not name:
        raise BadRequest(f"A {kind.word} that may be there already needs a {key}.")
    return await kind.called(ask, key, name)


def _differences(one: Wanted, item: Item, found: Mapping[str, Item]) -> Iterator[str]:
    for key, given in one.body.items():
        if key in _ONLY_GIVEN:
            continue
        where = _ELSEWHERE.get((one.kind, key), key)
        shown, is_shown = _at(item, where)
        if not is_shown:
            continue
        absent = [path for path in references(given) if path.partition(".")[0] not in found]
        if absent:
            yield f"{key} is {shown}, and {absent[0].partition('.')[0]} is not there yet"
            continue
        wanted = resolved(given, found)
        if not _same(key, wanted, shown):
            yield f"{key} is {shown!r}, wanted is {wanted!r}"


def _at(item: Any, path: str) -> tuple[Any, bool]:
    for key in path.split(".") if ":" not in path else [path]:
        if not isinstance(item, Mapping) or key not in item:
            return None, False
        item = item[key]
    return item, True


def _same(key: str, wanted: Any, shown: Any) -> bool:
    if key in _PARTS and isinstance(wanted, Mapping) and isinstance(shown, Mapping):
        return wanted.items() <= shown.items()
    if key == "public_key":
        return str(wanted).split()[:2] == str(shown).split()[:2]
    if isinstance(wanted, list) and isinstance(shown, list):
        return sorted(map(str, wanted)) == sorted(map(str, shown))
    return bool(wanted == shown) or str(wanted) == str(shown)
