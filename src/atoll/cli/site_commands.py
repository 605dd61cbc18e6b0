"""`atoll site`: the life of a site, over a running gateway."""

import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from atoll.cli import completing
from atoll.cli.api import Api, gateway_options
from atoll.cli.output import format_option, show


@click.group()
def site() -> None:
    """The sites behind the endpoint.

    \b
    A new one:       atoll site add tokyo --region RegionTwo
                     atoll zone add tokyo-1 --site tokyo --zone az1
                     atoll site check tokyo
    Work on it:      atoll site drain tokyo --reason "new racks"
                     atoll site maintain tokyo --reason "new switches until 18:00"
                     atoll site resume tokyo
    Its end:         atoll site remove tokyo

    Sites of the configuration file are listed too; there only their state can be set.
    """  # noqa: D301 - click wants the character, not the two letters


new_name_argument = click.argument("name", metavar="NAME")
name_argument = click.argument("name", metavar="NAME", shell_complete=completing.sites)
store_option = click.option(
    "--backup-store", help="A name for where its Cinder keeps backups, that of all sites which share it."
)
endpoint_option = click.option(
    "--endpoint", "endpoints", multiple=True, metavar="SERVICE=URL",
    help="Where a service is, such as compute=http://host/v2.1; may be given several times.",
)  # fmt: skip


@site.command("list")
@gateway_options
@format_option
def list_sites(url: str | None, os_cloud: str | None, form: str) -> None:
    """List the sites with their state, health and room."""
    rows = [_row(one) for one in Api(url, os_cloud).all("/sites", "sites")]
    show(rows, form)


@site.command("show")
@gateway_options
@format_option
@name_argument
def show_site(url: str | None, os_cloud: str | None, form: str, name: str) -> None:
    """Show the site NAME: its endpoints, their health and versions, and what the last check found."""
    _shown(Api(url, os_cloud).get(f"/sites/{quote(name)}")["site"], form)


@site.command("add")
@gateway_options
@format_option
@new_name_argument
@click.option("--region", required=True, help="The name of the region in the site's own catalogue.")
@click.option(
    "--cloud",
    shell_complete=completing.clouds,
    help="The cloud whose Keystone the site believes (`atoll cloud list`).",
)
@click.option("--auth-url", help="The Keystone of a cloud that Atoll does not know yet; it is added as NAME.")
@click.option("--insecure", is_flag=True, help="With --auth-url: do not check the cloud's certificates.")
@click.option("--cacert", default="", help="With --auth-url: path, at the gateways, of its authorities.")
@endpoint_option
@store_option
@click.option("--number", type=click.IntRange(0, 8191), help="What its integer ids hold; default: the next.")
@click.option("--draining", is_flag=True, help="Place nothing there yet: `atoll site resume` begins it.")
@click.option("--yes", is_flag=True, help="Do not ask whether the endpoints are right.")
def add_site(  # noqa: PLR0913 - one for each option
    *,
    url: str | None,
    os_cloud: str | None,
    form: str,
    name: str,
    region: str,
    cloud: str | None,
    auth_url: str | None,
    insecure: bool,
    cacert: str,
    endpoints: tuple[str, ...],
    backup_store: str | None,
    number: int | None,
    draining: bool,
    yes: bool,
) -> None:
    """Add a site NAME: a region of a cloud.

    Its endpoints are read from the catalogue once, shown, and after a yes pinned: Atoll sends tokens there
    and nowhere else, whatever the catalogue says later. --endpoint gives some or all of them by hand.

    \b
    atoll site add tokyo --region RegionTwo
    atoll site add lab --region RegionOne --cloud lab --endpoint compute=http://10.1.1.1:8774/v2.1
    atoll site add lab --region RegionOne --auth-url http://10.1.1.1:5000/v3 --endpoint compute=…
    """  # noqa: D301 - click wants the character, not the two letters
    api = Api(url, os_cloud)
    if cloud and auth_url:
        raise click.UsageError(
            "--cloud names a cloud that Atoll knows, --auth-url a new one: give one of them."
        )
    given = _pairs(endpoints)
    if auth_url and not given:
        raise click.UsageError(
            "nobody can be logged in at a new cloud yet, so its catalogue cannot be read: give --endpoint "
            f"too; or first `atoll cloud add {name} --auth-url {auth_url}` and "
            f"`atoll credential add --cloud {name} …`, then --cloud {name}"
        )
    found = given if auth_url else _found(api, region, cloud, given)
    if not found:
        raise click.ClickException(
            "no endpoint is known: give them with --endpoint, or add a credential first"
        )
    rows = [
        {"service": service, "url": one, "from": "given" if service in given else "catalogue"}
        for service, one in sorted(found.items())
    ]
    if not yes:
        show(rows, "table")
        click.confirm(f"Pin these as the endpoints of the site {name}?", abort=True, err=True)
    body = {
        "name": name, "region": region, "cloud": name if auth_url else cloud, "endpoints": found,
        "number": number, "state": "draining" if draining else "enabled", "backup_store": backup_store or "",
    }  # fmt: skip
    if auth_url:
        new = {"name": name, "auth_url": auth_url, "verify": not insecure, "cacert": cacert}
        _shown(_added_with_cloud(api, new, body), form)
    else:
        _shown(api.call("POST", "/sites", body)["site"], form)


def _added_with_cloud(api: Api, cloud: Mapping[str, Any], site: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add a cloud and its first site, or neither. Raises ClickException."""
    api.call("POST", "/clouds", cloud)
    try:
        made: Mapping[str, Any] = api.call("POST", "/sites", site)["site"]
    except click.ClickException:
        api.call("DELETE", f"/clouds/{quote(cloud['name'])}")
        raise
    click.echo(
        f"The cloud {cloud['name']} was added too. Nobody sees anything there until there is a credential: "
        f"atoll credential add --cloud {cloud['name']} …",
        err=True,
    )
    return made


@site.command("set")
@gateway_options
@format_option
@name_argument
@click.option("--region", help="Another region.")
@click.option("--cloud", shell_complete=completing.clouds, help="Another cloud; '' for the clients' own.")
@endpoint_option
@store_option
@click.option("--no-endpoint", "without", multiple=True, metavar="SERVICE", help="Take a service away.")
def set_site(  # noqa: PLR0913 - one for each option
    *,
    url: str | None,
    os_cloud: str | None,
    form: str,
    name: str,
    region: str | None,
    cloud: str | None,
    endpoints: tuple[str, ...],
    backup_store: str | None,
    without: tuple[str, ...],
) -> None:
    """Change the site NAME. Requests under way end where they began."""
    body: dict[str, Any] = {}
    if region is not None:
        body["region"] = region
    if cloud is not None:
        body["cloud"] = cloud or None
    if backup_store is not None:
        body["backup_store"] = backup_store
    pinned: dict[str, str | None] = {**_pairs(endpoints), **dict.fromkeys(without)}
    if pinned:
        body["endpoints"] = pinned
    if not body:
        raise click.UsageError(
            "nothing to change: give --region, --cloud, --backup-store, --endpoint or --no-endpoint"
        )
    _shown(Api(url, os_cloud).call("PATCH", f"/sites/{quote(name)}", body)["site"], form)


@site.command()
@gateway_options
@name_argument
@click.option("--reason", default="", help="Why, for whoever is refused there.")
def drain(url: str | None, os_cloud: str | None, name: str, reason: str) -> None:
    """Place nothing new at the site NAME; all else goes on."""
    _act(Api(url, os_cloud), name, "drain", reason)


@site.command()
@gateway_options
@name_argument
@click.option("--reason", required=True, help="Why and until when: everybody who is refused is told.")
def maintain(url: str | None, os_cloud: str | None, name: str, reason: str) -> None:
    """Let nothing be changed at the site NAME; what can be read there still is."""
    _act(Api(url, os_cloud), name, "maintain", reason)


@site.command()
@gateway_options
@name_argument
@click.option("--reason", default="", help="Why, for the record.")
def resume(url: str | None, os_cloud: str | None, name: str, reason: str) -> None:
    """Use the site NAME as before."""
    _act(Api(url, os_cloud), name, "resume", reason)


@site.command()
@gateway_options
@format_option
@name_argument
def check(url: str | None, os_cloud: str | None, form: str, name: str) -> None:
    """Compare the site NAME with what is set up of it; exit status 1 where anything is found.

    Looked at are the catalogue, zones, extensions, what is shared and absent there, and ids that other sites
    claim. Nothing is changed.
    """
    checked = Api(url, os_cloud).call("POST", f"/sites/{quote(name)}/check", {})["site"]
    show(checked["findings"], form, empty=f"{name} is as it is set up.")
    sys.exit(1 if checked["findings"] else 0)


@site.command()
@gateway_options
@name_argument
@click.option(
    "--forget", is_flag=True, help="Also where things are on record there: nobody finds them any more."
)
def remove(url: str | None, os_cloud: str | None, name: str, *, forget: bool) -> None:
    """Remove the site NAME; at the site itself nothing happens. Refused while things there are on record."""
    Api(url, os_cloud).call("DELETE", f"/sites/{quote(name)}", query={"forget": "true" if forget else None})
    click.echo(f"The site {name} was removed.")


def _act(api: Api, name: str, action: str, reason: str) -> None:
    done = api.call("POST", f"/sites/{quote(name)}/{action}", {"reason": reason})["site"]
    click.echo(f"The site {name} is {done['state']} since {done['since']}.")


def _found(api: Api, region: str, cloud: str | None, given: Mapping[str, str]) -> dict[str, str]:
    """The endpoints that the catalogue names, if it can be read; those given by hand in their place."""
    try:
        found = dict(api.get("/catalog", region=region, cloud=cloud)["endpoints"])
    except click.ClickException as error:
        if not given:
            raise
        click.echo(f"The catalogue is not read: {error.message}", err=True)
        found = {}
    return {**found, **given}


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for word in words:
        service, equals, url = word.partition("=")
        if not equals or not service or not url:
            raise click.UsageError(f"--endpoint {word}: write SERVICE=URL, such as compute=http://host/v2.1")
        pairs[service] = url
    return pairs


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    away = [name for name, service in one["endpoints"].items() if not service["healthy"]]
    compute = one["endpoints"].get("compute", {})
    return {
        "name": one["name"],
        "region": one["region"],
        "state": one["state"],
        "health": f"{one['health']} ({', '.join(away)})" if away else one["health"],
        "since": one["since"],
        "zones": one["zones"],
        "versions": "-".join(compute.get("versions") or []),
        "capacity": _capacity(one["capacity"]),
        "findings": len(one["findings"]),
        "declared": one["declared"],
    }


def _capacity(seen: Mapping[str, Any] | None) -> str:
    if seen is None:
        return "unknown"
    memory = f"{seen['memory_mb_used'] // 1024}/{seen['memory_mb'] // 1024} GiB"
    return f"{seen['vcpus_used']}/{seen['vcpus']} vCPUs, {memory}"


def _shown(one: Mapping[str, Any], form: str) -> None:
    if form == "json":
        show([one], form)
        return
    plain = [
        {"field": key, "value": _capacity(value) if key == "capacity" else value}
        for key, value in one.items()
        if key not in {"endpoints", "findings", "revision"}
    ]
    show(plain, form)
    click.echo()
    show([{"service": name, **_endpoint(service)} for name, service in one["endpoints"].items()], form)
    if one["findings"]:
        click.echo()
        show(one["findings"], form)


def _endpoint(one: Mapping[str, Any]) -> dict[str, Any]:
    extensions = one["extensions"]
    return {
        "url": one["url"],
        "health": f"{one['health']} ({one['reason']})" if one["reason"] else one["health"],
        "since": one["since"],
        "versions": "-".join(one["versions"] or []),
        "extensions": "unknown" if extensions is None else len(extensions),
    }
