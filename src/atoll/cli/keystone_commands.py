"""`atoll keystone`: Atoll as a region of a real Keystone."""

import sys
from typing import Any

import click

from atoll.cli.files import config_option, read_config
from atoll.cli.output import format_option, show
from atoll.core.settings import Config

cloud_option = click.option(
    "--cloud", envvar="OS_CLOUD", required=True,
    help="The entry of clouds.yaml of an administrator of the shared Keystone (or OS_CLOUD).",
)  # fmt: skip


@click.group()
def keystone() -> None:
    """Register Atoll in a Keystone as a region, and check that it is."""


def _registration(settings: Config, cloud: str) -> Any:
    """The registration of a configuration, by an administrator's session."""
    import openstack  # noqa: PLC0415 - slow to import
    from openstack.exceptions import SDKException  # noqa: PLC0415

    from atoll.gateway.catalog import endpoint_url  # noqa: PLC0415
    from atoll.sites.registration import Registration  # noqa: PLC0415

    services = {service for site in settings.sites.values() for service in site.endpoints}
    url = settings.gateway.public_url
    endpoints = {name: endpoint_url(url, name) for name in ("identity", *sorted(services - {"identity"}))}
    try:
        session = openstack.connect(cloud=cloud).session
    except SDKException as error:
        raise click.ClickException(f"{cloud}: {error}") from error
    return Registration(session, settings.gateway.region, endpoints)


def _asked(work: Any) -> Any:
    from keystoneauth1.exceptions import ClientException  # noqa: PLC0415

    try:
        return work()
    except ClientException as error:
        raise click.ClickException(f"Keystone refused: {error}") from error


@keystone.command()
@config_option
@cloud_option
@format_option
def register(config_path: str, cloud: str, form: str) -> None:
    """Enter Atoll's region and endpoints in the catalogue; safe to repeat."""
    settings = read_config(config_path)
    registration = _registration(settings, cloud)
    done = _asked(registration.register)
    show([{"put_right": one.what} for one in done], form, empty="All was registered already.")


@keystone.command()
@config_option
@cloud_option
@format_option
def check(config_path: str, cloud: str, form: str) -> None:
    """Say what of Atoll's entry in the catalogue is missing or wrong; exit status 1 where anything is."""
    settings = read_config(config_path)
    registration = _registration(settings, cloud)
    wrong = _asked(registration.differences)
    region = settings.gateway.region
    show(
        [{"wrong": one.what} for one in wrong],
        form,
        empty=f"The region {region} is registered as it should be.",
    )
    sys.exit(1 if wrong else 0)


@keystone.command()
@config_option
@cloud_option
def unregister(config_path: str, cloud: str) -> None:
    """Take Atoll's region and endpoints out of the catalogue."""
    settings = read_config(config_path)
    registration = _registration(settings, cloud)
    count = _asked(registration.unregister)
    click.echo(f"{count} endpoints of the region {settings.gateway.region} were taken out.")
