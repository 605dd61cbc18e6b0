"""The steps by which a volume goes to another site through a store of backups that both have."""

from atoll.gateway.volume_look import Found
from atoll.gateway.volume_steps import deleted, given_by, long, snapshot_read
from atoll.workflow.plan import Step


def backed_up(found: Found, *, moves: bool) -> list[Step]:
    """The steps: an empty volume, a backup, restored into it; what was there for a while deleted.

    The empty volume comes first: where the site makes none, nothing else is done. Of a move the source is
    deleted before the last step, which takes the mark off.
    """
    blank = long(
        "blank", "volume.blank@1", found.target, volume=found.body, type_required=found.type_required
    )
    look = long("look", "volume.look@1", found.source, after=("blank",), volume=found.volume)
    read = snapshot_read(found, after=("look",) if moves else ("blank",))
    backup = long("backup", "volume.backup@1", found.source, volume=given_by("clone.id"))
    take = long(
        "import",
        "volume.import@1",
        found.target,
        backup=given_by("backup.id"),
        source=found.source,
        volume=given_by("clone.id"),
        size=found.size,
    )
    restore = long(
        "restore",
        "volume.restore@1",
        found.target,
        backup=given_by("import.id"),
        source=found.source,
        id=given_by("blank.id"),
        bootable=found.bootable,
        image_metadata=found.image_metadata,
    )
    before = [blank, look, *read] if moves else [blank, *read]
    return [*before, backup, take, restore, *_last(found, moves=moves)]


def _last(found: Found, *, moves: bool) -> list[Step]:
    """The steps once the new volume is whole."""
    forget = long(
        "forget",
        "volume.forget@1",
        found.target,
        after=("restore",),
        backup=given_by("backup.id"),
        source=found.source,
    )
    tidy = long(
        "tidy-source",
        "volume.tidy@1",
        found.source,
        after=("restore",),
        volumes=[given_by("clone.id")],
        snapshots=[given_by("snapshot.id")],
    )
    last = [forget, tidy]
    if moves:
        last += deleted(found, "look.changed", "restore", after=("forget", "tidy-source"))
    settle = Step(
        name="finish",
        action="volume.settle@1",
        site=found.target,
        input={"id": given_by("blank.id"), "name": given_by("blank.name"), "volume": found.body},
        after=tuple(step.name for step in last),
    )
    return [*last, settle]
