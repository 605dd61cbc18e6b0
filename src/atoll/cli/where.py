"""`atoll where`: what the location table says, read without a gateway."""

import asyncio
import re
import sys
from collections.abc import Iterable
from typing import Any, Final

import click

from atoll.cli.files import config_option, read_config
from atoll.cli.output import format_option, show
from atoll.core.settings import Config

NO_ID: Final = "it is no id, and names are not looked up here (`openstack server show NAME -c id` gives it)"


def is_id(text: str) -> bool:
    """Whether this can be the id of what is at a site."""
    return re.fullmatch(r"[0-9a-fA-F-]{32,36}|[0-9]+", text) is not None


@click.command()
@config_option
@format_option
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def where(config_path: str, form: str, ids: tuple[str, ...]) -> None:
    """Say at which site the resources with these IDs are, as far as is on record.

    Exit status 1 where one is not: it may exist all the same, and is found when somebody asks for it.
    """
    settings = read_config(config_path)
    rows = asyncio.run(_where(settings, ids))
    show(rows, form, empty="None of them is on record.")
    unknown = set(ids) - {row["id"] for row in rows}
    for ident in sorted(unknown):
        why = "ask for it through Atoll and it is looked for" if is_id(ident) else NO_ID
        click.echo(f"{ident}: not on record; {why}.", err=True)
    sys.exit(1 if unknown else 0)


async def _where(settings: Config, ids: Iterable[str]) -> list[dict[str, Any]]:
    from atoll.services.catalog import HOMES  # noqa: PLC0415 - slow to import
    from atoll.store import StoreError, open_store  # noqa: PLC0415

    try:
        store = await open_store(settings.store.url)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    try:
        found = [await store.locate(resource, ident) for ident in ids for resource in HOMES]
        return [
            {
                "id": one.id,
                "type": one.resource_type,
                "site": one.site,
                "project_id": one.project_id,
                "deleted": one.deleted,
                "also_claimed_by": [name for name in one.conflicting if name != one.site],
            }
            for one in found
            if one is not None
        ]
    finally:
        await store.close()
