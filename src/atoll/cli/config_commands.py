"""`atoll config`: write one, check one, explain it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from atoll.cli.files import read_config
from atoll.cli.output import format_option, show
from atoll.core.settings import Gateway

# Service types of a catalogue, and which of ours they are.
SERVED = {
    "compute": "compute",
    "block-storage": "block-storage",
    "volumev3": "block-storage",
    "image": "image",
    "network": "network",
}


@click.group()
def config() -> None:
    """Write, check and explain the configuration file."""


@config.command()
@click.argument("file", type=click.Path(dir_okay=False))
@format_option
def check(file: str, form: str) -> None:
    """Check FILE: every fault with its place, exit status 2 where there is one."""
    settings = read_config(file)
    if not settings.secrets.key and not settings.store.url.startswith("sqlite:"):
        text = "secrets.key: is not set: what runs would have to keep secret (user_data) is refused"
        click.echo(f"{file}: {text}; `atoll secrets new-key` makes one", err=True)
    rows = [
        {"site": name, "region": one.region, "state": one.state, "services": sorted(one.endpoints)}
        for name, one in settings.sites.items()
    ]
    show(rows, form)


@config.command()
@click.option("--cloud", required=True, help="An entry of your clouds.yaml, of a cloud with several regions.")
@click.option("--region", "regions", multiple=True, help="Only these regions become sites (repeat).")
@click.option(
    "--listen", default="127.0.0.1:8774", show_default=True, help="address:port of the one endpoint."
)
def new(cloud: str, regions: tuple[str, ...], listen: str) -> None:
    """Print a configuration with each region of a cloud as a site, its endpoints pinned.

    \b
    atoll config new --cloud mycloud > atoll.toml
    """  # noqa: D301 - click wants the character, not the two letters
    import openstack  # noqa: PLC0415 - slow to import, and only this needs it
    from keystoneauth1.exceptions import ClientException  # noqa: PLC0415
    from openstack.exceptions import SDKException  # noqa: PLC0415

    try:
        connection = openstack.connect(cloud=cloud)
        auth_url = str(connection.config.get_auth_args()["auth_url"])
        catalog: list[dict[str, Any]] = list(connection.service_catalog)
        project = str(connection.current_project_id)
        verify, _ = connection.config.get_requests_verify_args()
    except (SDKException, ClientException) as error:
        raise click.ClickException(f"{cloud}: {error}") from error
    sites = endpoints_by_region(catalog, regions, project)
    if not sites:
        raise click.ClickException(f"{cloud} has no region with services that can be served.")
    lines = [
        "[gateway]",
        f"listen = {json.dumps(listen)}",
        "",
        "[identity]",
        f"auth_url = {json.dumps(auth_url)}",
    ]
    if verify is not True:
        lines.append(f"cacert = {json.dumps(verify)}" if verify else "verify = false")
    for name, endpoints in sites.items():
        lines += ["", f"[sites.{json.dumps(name)}]", f"region = {json.dumps(name)}"]
        lines += [f"[sites.{json.dumps(name)}.endpoints]"]
        lines += [f"{service} = {json.dumps(url)}" for service, url in sorted(endpoints.items())]
    click.echo("\n".join(lines))


def endpoints_by_region(
    catalog: Sequence[Mapping[str, Any]], regions: tuple[str, ...], project: str, interface: str = "public"
) -> dict[str, dict[str, str]]:
    """{region: {service type: URL without a project}} of an interface, from a service catalogue."""
    sites: dict[str, dict[str, str]] = {}
    for entry in catalog:
        service = SERVED.get(entry["type"])
        if service is None:
            continue
        for endpoint in entry["endpoints"]:
            region = endpoint.get("region_id") or endpoint.get("region")
            if region == Gateway().region and region not in regions:
                continue  # Atoll's own, where it is registered already: no site is Atoll itself
            if endpoint.get("interface") == interface and (not regions or region in regions):
                url = endpoint["url"].rstrip("/").removesuffix(project).removesuffix("AUTH_").rstrip("/")
                sites.setdefault(region, {})[service] = url
    return dict(sorted(sites.items()))


@config.command()
@format_option
def reference(form: str) -> None:
    """Explain every setting: type, default, meaning."""
    from atoll.core.config_reference import reference as options  # noqa: PLC0415

    if form == "json":
        show([one._asdict() for one in options()], form)
        return
    for one in options():
        click.secho(one.path, bold=True, nl=False)
        click.echo(f"  {one.type}, default {one.default}")
        click.echo(f"    {one.doc}\n")
