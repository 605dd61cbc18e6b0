"""`atoll site`, `atoll zone`, `atoll where`: what the configuration and the location table say."""

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

import click

from atoll.cli.files import config_option, read_config
from atoll.cli.output import format_option, show
from atoll.core.settings import Config


@click.group()
def site() -> None:
    """The sites behind the endpoint."""


@click.group()
def zone() -> None:
    """The availability zones users pick from."""


@site.command("list")
@config_option
@format_option
def list_sites(config_path: str, form: str) -> None:
    """List the sites, each asked now whether it answers."""
    settings = read_config(config_path)
    probed = asyncio.run(_probe(settings, settings.sites))
    rows = []
    for name, one in settings.sites.items():
        services = [f"{key}{'' if known['healthy'] else ' (away)'}" for key, known in probed[name].items()]
        rows.append(
            {
                "number": one.number,
                "name": name,
                "region": one.region,
                "state": one.state,
                "services": services,
            }
        )
    show(rows, form)


@site.command("show")
@config_option
@format_option
@click.argument("name")
def show_site(config_path: str, form: str, name: str) -> None:
    """Show the endpoints of the site NAME with versions and health."""
    settings = read_config(config_path)
    if name not in settings.sites:
        raise click.ClickException(f"there is no site {name}; there are {', '.join(settings.sites)}")
    probed = asyncio.run(_probe(settings, [name]))
    show([{"service": service, **known} for service, known in probed[name].items()], form)


async def _probe(settings: Config, names: Iterable[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Each site's services as the gateway's API describes them, by asking each once."""
    from atoll.gateway.build import build_sites  # noqa: PLC0415 - slow to import
    from atoll.gateway.own import describe  # noqa: PLC0415
    from atoll.sites.health import Health  # noqa: PLC0415
    from atoll.sites.pool import Watch  # noqa: PLC0415

    watch = Watch()
    try:
        sites = build_sites(settings, watch)
        sites.by_name = {name: sites.by_name[name] for name in names}
        # A site is away for good after three misses: three looks say so.
        for _ in range(3):
            await Health(sites).probe_all()
        return {one.name: describe(one)["endpoints"] for one in sites}  # type: ignore[misc]
    finally:
        watch.close()


@zone.command("list")
@config_option
@format_option
def list_zones(config_path: str, form: str) -> None:
    """List the zones with the site, and the zone in it, that each stands for."""
    settings = read_config(config_path)
    show(
        [{"name": name, "site": one.site, "zone_of_site": one.zone} for name, one in settings.zones.items()],
        form,
    )


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
        click.echo(f"{ident}: not on record; ask for it through Atoll and it is looked for.", err=True)
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
