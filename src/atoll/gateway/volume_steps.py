"""What the plans of volumes that go to another site have in common, whichever way they go."""

from collections.abc import Mapping
from typing import Any, Final

from atoll.gateway.volume_look import Found
from atoll.workflow.plan import FROM, Step

TRIES: Final = 6
SECONDS: Final = 2 * 86400.0
"""How long one try may take of what moves all bytes of a volume."""


def long(name: str, action: str, site: str, after: tuple[str, ...] = (), **given: Any) -> Step:
    """A step that takes as long as the bytes of a volume take."""
    return Step(name=name, action=action, site=site, input=given, after=after, tries=TRIES, seconds=SECONDS)


def given_by(path: str) -> Mapping[str, str]:
    """What stands for something that a step gives: `upload.image`."""
    return {FROM: path}


def snapshot_read(found: Found, after: tuple[str, ...] = ()) -> list[Step]:
    """The steps that make a volume of what one holds at one moment: `clone.id`."""
    snapshot = long("snapshot", "volume.snapshot@1", found.source, after=after, volume=found.volume)
    clone = long("clone", "volume.clone@1", found.source, snapshot=given_by("snapshot.id"), size=found.size)
    return [snapshot, clone]


def deleted(found: Found, seen: str, made: str, after: tuple[str, ...]) -> list[Step]:
    """The steps that end a move: the source is looked at while there is a way back, then deleted.

    `seen`: what says when it was changed last. `made`: the step by which the new volume is whole.
    """
    asked = {"volume": found.volume, "changed": given_by(seen)}
    check = Step(name="check", action="volume.check@1", site=found.source, input=asked, after=(made,))
    delete = Step(
        name="delete",
        action="volume.delete@1",
        site=found.source,
        input=asked,
        after=(*after, "check"),
        seconds=SECONDS,
        pivot=True,
    )
    return [check, delete]
