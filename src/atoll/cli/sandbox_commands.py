"""`atoll sandbox`: clouds to try Atoll with, simulated or real, and the tests that need real ones."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from atoll.cli.output import format_option, show
from atoll.sandbox import fronted, horizon
from atoll.sandbox.real import (
    SUITES,
    Credentials,
    Front,
    Layout,
    SandboxError,
    Target,
    Wanted,
    count_servers,
    front_apart,
    locate,
    run_functional,
    run_tempest,
)
from atoll.sandbox.real import down as real_down
from atoll.sandbox.real import status as real_status
from atoll.sandbox.real import up as real_up
from atoll.sandbox.real.installation import install_packages
from atoll.sandbox.real.model import PASSWORD
from atoll.sandbox.real.processes import Processes
from atoll.sandbox.real.tempest import SERVICES
from atoll.sandbox.simulated.apart import NAMES as APART

# Of all servers made in a tempest run, the least share of each of two sites for it to count as spread. Fewer
# servers say nothing: projects begin where the one before began until that site has some twenty things more.
LEAST_SHARE = 0.3
SPREAD_FROM = 60
# What the functional tests of the clients take for the zone that a cloud has.
ZONE = "nova"


def guarded(work: Callable[[], Any]) -> Any:
    """Do it, and say what is wrong in a line where the sandbox cannot."""
    try:
        return work()
    except SandboxError as error:
        raise click.ClickException(str(error)) from error


def say(text: str) -> None:
    """Progress, beside what the command prints."""
    click.echo(text, err=True)


port_option = click.option("--port-base", type=int, help="The first of the ports that are used.")


@click.group()
def sandbox() -> None:
    """Throw-away clouds on this machine, with Atoll in front of them.

    Simulated sites need nothing. Real ones are OpenStack's own services with a fake hypervisor: they need
    root for Debian packages (MariaDB, RabbitMQ), two minutes and 2 GB for each site.
    """


@sandbox.command()
@click.option("--sites", type=click.IntRange(1, 1000), default=None, help="How many [3, or 2 real].")
@click.option("--real", is_flag=True, help="Real OpenStack instead of simulated sites.")
@click.option(
    "--older", is_flag=True, help="With --real: a further site of release 2024.1, its own Keystone."
)
@click.option(
    "--federated", is_flag=True, help="With --older: its Keystone believes the others' (Apache, mod_shib)."
)
@click.option(
    "--computes", type=click.IntRange(1, 4), default=1, show_default=True, help="nova-computes a site."
)
@click.option("--horizon", "dashboard", is_flag=True, help="With --real: Horizon too, before Atoll.")
@click.option("--fresh-schema", is_flag=True, help="With --real: forget the cached database schemas.")
@click.option(
    "--apart", is_flag=True, help="Three clouds that share nothing (paris, tokyo, oslo), without Atoll."
)
@port_option
def up(  # noqa: PLR0913 - one for each option
    *,
    sites: int | None,
    real: bool,
    older: bool,
    federated: bool,
    computes: int,
    dashboard: bool,
    fresh_schema: bool,
    apart: bool,
    port_base: int | None,
) -> None:
    """Start sites and Atoll in front of them; what runs already is left alone."""
    if apart:
        if real or sites is not None:
            raise click.UsageError("--apart is three simulated clouds: leave out --real and --sites")
        up_apart(port_base)
        return
    if dashboard and not real:
        raise click.UsageError("--horizon is for real OpenStack: add --real")
    wanted = Wanted(
        sites=sites or 2, computes=computes, older=older, federated=federated, fresh_schema=fresh_schema
    )
    layout = start(real=real, sites=sites or 3, wanted=wanted, port_base=port_base)
    if dashboard:
        click.echo(f"{start_horizon(layout)}    # Horizon: user demo or admin, password {PASSWORD}")
    click.echo(f"source {layout.run / 'atollrc'}    # then: openstack server list")


def up_apart(port_base: int | None) -> None:
    """Three clouds that grew apart, each with its own Keystone, and the clouds.yaml to use them with."""
    layout: Layout = guarded(lambda: fronted.apart_layout(locate(None, port_base)))
    guarded(lambda: fronted.up_simulated(layout, len(APART), apart=True, say=say))
    click.echo(f"export OS_CLIENT_CONFIG_FILE={layout.clouds}")
    click.echo(f"atoll serve --clouds {','.join(APART)}    # one cloud of three")


def start(
    *,
    real: bool,
    sites: int,
    wanted: Wanted,
    port_base: int | None,
    fresh: bool = False,
    first_zone: str = "",
) -> Layout:
    """Sites with Atoll before them; `fresh`: of this very code, with nothing remembered."""
    layout: Layout = guarded(lambda: locate(None, port_base))
    if real:
        layout = guarded(lambda: real_up(wanted, port_base=port_base, say=say))
    else:
        layout = guarded(lambda: fronted.simulated_layout(layout))
        guarded(lambda: fronted.up_simulated(layout, sites, say=say))
    guarded(lambda: fronted.front(layout, say, fresh=fresh, first_zone=first_zone))
    return layout


def start_horizon(layout: Layout) -> str:
    """Start Horizon with the layout's Atoll as its cloud; give its URL."""
    atoll = f"http://127.0.0.1:{fronted.gateway_port(layout)}"
    url: str = guarded(lambda: horizon.start(layout, atoll, say))
    return url


@sandbox.command()
@click.option("--wipe", is_flag=True, help="Remove the data of the real sites too.")
@click.option("--older", is_flag=True, help="Stop only the older site.")
def down(wipe: bool, older: bool) -> None:
    """Stop what `up` started."""
    real = guarded(locate)
    for layout in (fronted.simulated_layout(real), fronted.apart_layout(real)):
        if not older and layout.run.exists():
            Processes(layout).stop([fronted.PROCESS, fronted.SITES])
    guarded(lambda: real_down(wipe=wipe, older_only=older, say=say))


@sandbox.command()
@format_option
def status(form: str) -> None:
    """List the processes of the sandbox."""
    real = guarded(locate)
    found = list(guarded(real_status))
    for layout in (fronted.simulated_layout(real), fronted.apart_layout(real)):
        if layout.pids.exists():
            found += Processes(layout).status()
    rows = [
        {
            "name": one.name,
            "site": one.site,
            "pid": one.pid,
            "port": one.port,
            "state": "running" if one.alive else "dead",
            "memory_mib": one.rss // 2**20,
        }
        for one in found
    ]
    show(rows, form, empty="Nothing runs. `atoll sandbox up` starts simulated sites.")


@sandbox.command()
@click.option("--sites", type=click.IntRange(2, 9), default=2, show_default=True)
@click.option("--older", is_flag=True, help="With tests/e2e/apart: a newest site and the older one as one.")
@click.option("--federated", is_flag=True, help="With --older: tests/e2e/federated too.")
@click.option(
    "--horizon",
    "dashboard",
    is_flag=True,
    help="Only tests/e2e/horizon: Horizon in Chromium.",
)
@click.argument("pytest_arguments", nargs=-1)
def e2e(
    *, sites: int, older: bool, federated: bool, dashboard: bool, pytest_arguments: tuple[str, ...]
) -> None:
    """Run the contract tests on a real site, then tests/e2e: the stock clients through Atoll, and outages."""
    wanted = Wanted(sites=sites, older=older, federated=federated)
    layout = start(real=True, sites=sites, wanted=wanted, port_base=None, fresh=True)
    pytest = [sys.executable, "-m", "pytest", "-q"]
    if dashboard:
        sys.exit(_in_a_browser(layout, [*pytest, "tests/e2e/horizon", *pytest_arguments]))
    region = fronted.described_sites(layout)[0]["region"]
    bare = {"ATOLL_CONTRACT": f"{layout.clouds}:{region.lower()}-admin:{region}"}
    through = {"ATOLL_E2E_STATE": str(layout.run)}
    failed = 0
    for command, more in (
        ([*pytest, "tests/contract"], bare),
        ([*pytest, "--durations=25", "--durations-min=5", "tests/e2e", *pytest_arguments], through),
    ):
        failed |= subprocess.run(command, env=os.environ | more, check=False).returncode  # noqa: S603 - ours
    sys.exit(failed)


def _in_a_browser(layout: Layout, command: list[str]) -> int:
    """Run tests with Horizon and a browser; where none can be installed they skip and say so."""
    url = start_horizon(layout)
    try:
        install_packages(horizon.missing_browser, install=True, say=say)
    except SandboxError as error:
        say(str(error))
    more = {"ATOLL_E2E_STATE": str(layout.run), "ATOLL_HORIZON": url}
    return subprocess.run(command, env=os.environ | more, check=False).returncode  # noqa: S603 - ours


def _baselines(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    """What is named, before anything is installed for it."""
    del context, parameter
    names = value.split(",")
    if unknown := sorted(set(names) - set(SERVICES)):
        raise click.BadParameter(f"no baseline for {', '.join(unknown)}: choose from {', '.join(SERVICES)}")
    return names


@sandbox.command()
@click.option(
    "--services", default="smoke", show_default=True, callback=_baselines,
    help="smoke,compute,volume,network,image,scenario",
)  # fmt: skip
@click.option("--sites", type=click.IntRange(2, 9), default=2, show_default=True)
@click.option("--computes", type=click.IntRange(1, 4), default=1, show_default=True)
@click.option("--work-dir", type=click.Path(file_okay=False, path_type=Path), help="Where logs are kept.")
@click.option(
    "--apart", is_flag=True, help="A newest site and the older one, that share nothing; built-in identity."
)
@click.option("--bare", is_flag=True, help="Against the first site itself, all tests, to make a baseline.")
def tempest(
    *, services: list[str], sites: int, computes: int, work_dir: Path | None, apart: bool, bare: bool
) -> None:
    """Run unmodified tempest through Atoll, and compare with what passes on a bare site.

    Exit status 0 only if every test of the baseline passes and, in a run of 60 servers or more, each site
    made its share of them.
    """
    if apart and bare:
        raise click.UsageError("--bare is one site: not with --apart")
    wanted = Wanted(sites=sites, computes=computes, older=apart)
    layout = start(real=True, sites=sites, wanted=wanted, port_base=None, fresh=not (apart or bare))
    described = fronted.described_sites(layout)[:sites]
    clouds = json.loads((layout.run / "clouds.yaml").read_text())["clouds"]
    if apart:
        described, target = guarded(lambda: front_apart(layout, say))
        sites = len(described)
    else:
        region = described[0]["region"] if bare else "Atoll"
        entry = f"{region.lower()}-admin"
        target = _target(clouds[entry]["auth"], region, described, computes)
    before = datetime.now(UTC)
    work = work_dir or Path(tempfile.mkdtemp(prefix="atoll-tempest-"))
    result: int = guarded(
        lambda: run_tempest(services, target, layout, work_dir=work, everything=bare, say=click.echo)
    )
    made = {site["region"]: count_servers(site["region"], before, layout) for site in described}
    total = sum(made.values())
    click.echo("servers made: " + ", ".join(f"{region} {count}" for region, count in made.items()))
    if not bare and total >= SPREAD_FROM and min(made.values()) < LEAST_SHARE * total / (sites / 2):
        click.echo(f"a site made less than its share ({LEAST_SHARE:.0%} with two sites)")
        result = 1
    sys.exit(result)


@sandbox.command()
@click.option("--bare", is_flag=True, help="Against the first site itself, all tests, to make a baseline.")
@click.option("--work-dir", type=click.Path(file_okay=False, path_type=Path), help="Where logs are kept.")
@click.argument("suites", nargs=-1, type=click.Choice(list(SUITES)))
def functional(suites: tuple[str, ...], bare: bool, work_dir: Path | None) -> None:
    """Run the functional tests of openstacksdk (sdk) and python-openstackclient (cli) through Atoll.

    They come from their source distributions and run unmodified; what passes on a bare site is to pass. Exit
    status 0 only if it does.
    """
    layout = start(
        real=True, sites=2, wanted=Wanted(sites=2), port_base=None, fresh=not bare, first_zone=ZONE
    )
    clouds = json.loads((layout.run / "clouds.yaml").read_text())["clouds"]
    region = fronted.described_sites(layout)[0]["region"] if bare else "Atoll"
    admin = _credentials(clouds[f"{region.lower()}-admin"]["auth"])
    work = work_dir or Path(tempfile.mkdtemp(prefix="atoll-functional-"))
    click.echo(f"logs in {work}")
    wanted = suites or tuple(SUITES)
    front = Front(admin, region)
    sys.exit(
        guarded(lambda: run_functional(wanted, front, layout, work_dir=work, everything=bare, say=click.echo))
    )


def _credentials(auth: dict[str, str]) -> Credentials:
    """An entry of a clouds.yaml."""
    return Credentials(
        auth["auth_url"],
        auth["username"],
        auth["password"],
        auth["project_name"],
        auth["user_domain_name"],
        auth["project_domain_name"],
    )


def _target(auth: dict[str, str], region: str, described: Any, computes: int) -> Target:
    """The cloud behind Atoll, or its first site, as tempest is pointed at it."""
    from atoll.sandbox.real.seed import image_id  # noqa: PLC0415

    return Target(
        admin=_credentials(auth),
        region=region,
        image_id=image_id("cirros"),
        image_alt_id=image_id("cirros-alt"),
        public_network_id=described[0]["public_network_id"],
        computes=computes,
    )
