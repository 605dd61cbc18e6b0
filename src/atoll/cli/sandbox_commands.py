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
from atoll.sandbox import fronted
from atoll.sandbox.real import (
    Credentials,
    Layout,
    SandboxError,
    Target,
    Wanted,
    count_servers,
    front_apart,
    locate,
    run_tempest,
)
from atoll.sandbox.real import down as real_down
from atoll.sandbox.real import status as real_status
from atoll.sandbox.real import up as real_up
from atoll.sandbox.real.processes import Processes
from atoll.sandbox.real.tempest import SERVICES
from atoll.sandbox.simulated.apart import NAMES as APART

# Of all servers made in a tempest run, the least share of each of two sites for it to count as spread. Fewer
# servers say nothing: projects begin where the one before began until that site has some twenty things more.
LEAST_SHARE = 0.3
SPREAD_FROM = 60


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
    wanted = Wanted(
        sites=sites or 2, computes=computes, older=older, federated=federated, fresh_schema=fresh_schema
    )
    layout = start(real=real, sites=sites or 3, wanted=wanted, port_base=port_base)
    click.echo(f"source {layout.run / 'atollrc'}    # then: openstack server list")


def up_apart(port_base: int | None) -> None:
    """Three clouds that grew apart, each with its own Keystone, and the clouds.yaml to use them with."""
    layout: Layout = guarded(lambda: fronted.apart_layout(locate(None, port_base)))
    guarded(lambda: fronted.up_simulated(layout, len(APART), apart=True, say=say))
    click.echo(f"export OS_CLIENT_CONFIG_FILE={layout.clouds}")
    click.echo(f"atoll serve --clouds {','.join(APART)}    # one cloud of three")


def start(*, real: bool, sites: int, wanted: Wanted, port_base: int | None, fresh: bool = False) -> Layout:
    """Sites with Atoll before them; `fresh`: of this very code, with nothing remembered."""
    layout: Layout = guarded(lambda: locate(None, port_base))
    if real:
        layout = guarded(lambda: real_up(wanted, port_base=port_base, say=say))
    else:
        layout = guarded(lambda: fronted.simulated_layout(layout))
        guarded(lambda: fronted.up_simulated(layout, sites, say=say))
    guarded(lambda: fronted.front(layout, say, fresh=fresh))
    return layout


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
@click.argument("pytest_arguments", nargs=-1)
def e2e(sites: int, older: bool, federated: bool, pytest_arguments: tuple[str, ...]) -> None:
    """Run the contract tests on a real site, then tests/e2e: the stock clients through Atoll, and outages."""
    wanted = Wanted(sites=sites, older=older, federated=federated)
    layout = start(real=True, sites=sites, wanted=wanted, port_base=None, fresh=True)
    pytest = [sys.executable, "-m", "pytest", "-q"]
    region = fronted.described_sites(layout)[0]["region"]
    bare = {"ATOLL_CONTRACT": f"{layout.clouds}:{region.lower()}-admin:{region}"}
    through = {"ATOLL_E2E_STATE": str(layout.run)}
    failed = 0
    for command, more in (
        ([*pytest, "tests/contract"], bare),
        ([*pytest, "tests/e2e", *pytest_arguments], through),
    ):
        failed |= subprocess.run(command, env=os.environ | more, check=False).returncode  # noqa: S603 - ours
    sys.exit(failed)


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
    help="smoke,compute,volume,network,image",
)  # fmt: skip
@click.option("--sites", type=click.IntRange(2, 9), default=2, show_default=True)
@click.option("--computes", type=click.IntRange(1, 4), default=1, show_default=True)
@click.option("--work-dir", type=click.Path(file_okay=False, path_type=Path), help="Where logs are kept.")
@click.option(
    "--apart", is_flag=True, help="A newest site and the older one, that share nothing; built-in identity."
)
def tempest(services: list[str], sites: int, computes: int, work_dir: Path | None, apart: bool) -> None:
    """Run unmodified tempest through Atoll, and compare with what passes on a bare site.

    Exit status 0 only if every test of the baseline passes and, in a run of 60 servers or more, each site
    made its share of them.
    """
    wanted = Wanted(sites=sites, computes=computes, older=apart)
    layout = start(real=True, sites=sites, wanted=wanted, port_base=None, fresh=not apart)
    described = fronted.described_sites(layout)[:sites]
    clouds = json.loads((layout.run / "clouds.yaml").read_text())["clouds"]
    if apart:
        described, target = guarded(lambda: front_apart(layout, say))
        sites = len(described)
    else:
        target = _target(clouds["atoll-admin"]["auth"], described, computes)
    before = datetime.now(UTC)
    work = work_dir or Path(tempfile.mkdtemp(prefix="atoll-tempest-"))
    result: int = guarded(lambda: run_tempest(services, target, layout, work_dir=work, say=click.echo))
    made = {site["region"]: count_servers(site["region"], before, layout) for site in described}
    total = sum(made.values())
    click.echo("servers made: " + ", ".join(f"{region} {count}" for region, count in made.items()))
    if total >= SPREAD_FROM and min(made.values()) < LEAST_SHARE * total / (sites / 2):
        click.echo(f"a site made less than its share ({LEAST_SHARE:.0%} with two sites)")
        result = 1
    sys.exit(result)


def _target(auth: dict[str, str], described: Any, computes: int) -> Target:
    """The cloud behind Atoll, as tempest is pointed at it."""
    from atoll.sandbox.real.seed import image_id  # noqa: PLC0415

    admin = Credentials(
        auth["auth_url"],
        auth["username"],
        auth["password"],
        auth["project_name"],
        auth["user_domain_name"],
        auth["project_domain_name"],
    )
    return Target(
        admin=admin,
        region="Atoll",
        image_id=image_id("cirros"),
        image_alt_id=image_id("cirros-alt"),
        public_network_id=described[0]["public_network_id"],
        computes=computes,
    )
