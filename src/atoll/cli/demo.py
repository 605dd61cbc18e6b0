"""`atoll demo`: three clouds, one endpoint, and what is said when one of the clouds goes away."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from atoll.cli.sandbox_commands import guarded, say, start
from atoll.sandbox import fronted
from atoll.sandbox.real import Layout, SandboxError, Wanted, locate
from atoll.sandbox.real.processes import Processes

SIMULATED_SITES = 3
COMMAND_SECONDS = 180.0
# How long the simulated site stays away: long enough to look, short enough that it is back soon.
AWAY_SECONDS = 30.0
BACK_SECONDS = 120.0


class Failed(Exception):
    """A step of the demo did not do what it was to show."""


class Stage:
    """The sandbox the demo plays on, and the `openstack` client it plays with."""

    def __init__(self, layout: Layout, *, real: bool) -> None:
        self.layout = layout
        self.real = real
        self.sites = fronted.described_sites(layout)
        self.zones = [str(site["name"]) for site in self.sites]
        self._openstack = str(Path(sys.executable).with_name("openstack"))
        if not Path(self._openstack).exists():
            self._openstack = shutil.which("openstack") or ""
        if not self._openstack:
            raise Failed("the openstack client is not installed: pip install python-openstackclient")

    def openstack(self, *words: str) -> str:
        """Run the stock client against Atoll, showing what is typed and what comes. Raises Failed."""
        click.secho("\n$ openstack " + " ".join(words), bold=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        environment |= {"OS_CLIENT_CONFIG_FILE": str(self.layout.run / "clouds.yaml"), "OS_CLOUD": "atoll"}
        done = subprocess.run(  # noqa: S603 - the words are ours
            [self._openstack, *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        click.echo((done.stdout + done.stderr).rstrip())
        if done.returncode:
            raise Failed(f"openstack {words[0]} {words[1]} ended with status {done.returncode}")
        return done.stdout

    def token(self) -> str:
        """A token, quietly."""
        click.secho("\n$ TOKEN=$(openstack token issue -f value -c id)", bold=True)
        clouds = json.loads((self.layout.run / "clouds.yaml").read_text())["clouds"]
        who = clouds["atoll"]["auth"]
        domain = {
            key.removeprefix("user_domain_"): value
            for key, value in who.items()
            if key.startswith("user_domain_")
        }
        body = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {
                        "user": {"name": who["username"], "password": who["password"], "domain": domain}
                    },
                },
                "scope": {"project": {"name": who["project_name"], "domain": domain}},
            }
        }
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310 - our own URL
            who["auth_url"] + "/auth/tokens", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return str(answer.headers["X-Subject-Token"])

    def get(self, path: str, token: str) -> tuple[Mapping[str, str], Any]:
        """GET from Atoll: headers and body, shown as curl would be typed."""
        url = f"http://127.0.0.1:{fronted.gateway_port(self.layout)}{path}"
        click.secho(f'\n$ curl -i -H "X-Auth-Token: $TOKEN" {url}', bold=True)
        request = urllib.request.Request(url, headers={"X-Auth-Token": token})
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.headers, json.load(answer)

    def stop_last_site(self) -> str:
        """Take the last site away."""
        site = self.sites[-1]
        click.secho(f"\n# the site {site['name']} goes away", fg="yellow")
        if self.real:
            processes = Processes(self.layout)
            names = [name for name in processes.names() if name.startswith(f"{site['region'].lower()}-")]
            processes.stop(name for name in names if name.endswith(("-api", "-placement")))
        else:
            root = "/".join(site["endpoints"]["compute"].split("/", 3)[:3])
            fault = json.dumps([{"kind": "refuse", "seconds": AWAY_SECONDS}]).encode()
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{root}/_faults", fault, headers)  # noqa: S310
            urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
        return str(site["name"])

    def bring_back(self) -> None:
        """Wait for (or start) the site that went away."""
        if self.real:
            start(real=True, sites=len(self.sites), wanted=Wanted(sites=len(self.sites)), port_base=None)
        deadline = time.monotonic() + BACK_SECONDS
        token = self.token()
        url = f"http://127.0.0.1:{fronted.gateway_port(self.layout)}/compute/v2.1/servers"
        click.secho("# … waiting until it is back", fg="yellow")
        while time.monotonic() < deadline:
            request = urllib.request.Request(url, headers={"X-Auth-Token": token})
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                if "X-Atoll-Missing-Sites" not in answer.headers:
                    return
            time.sleep(1)
        raise Failed("the site did not come back")


def play(stage: Stage) -> None:
    """The demo itself. Raises Failed."""
    stage.openstack("availability", "zone", "list", "--compute")
    names = [f"demo-{number}" for number in range(1, len(stage.zones) + 1)]
    for name, zone in zip(names, stage.zones, strict=True):
        stage.openstack(
            "server", "create", name, "--image", "cirros", "--flavor", "m1.nano",
            "--availability-zone", zone, "--wait", "-c", "id", "-c", "name", "-c", "status",
            "-c", "OS-EXT-AZ:availability_zone",
        )  # fmt: skip
    listed = stage.openstack(
        "server", "list", "--long", "-c", "Name", "-c", "Status", "-c", "Availability Zone"
    )
    expect(all(name in listed for name in names), "the list has every server")
    away = stage.stop_last_site()
    honest_list(stage, away, names)
    stage.bring_back()
    listed = stage.openstack("server", "list", "-c", "Name", "-c", "Status")
    expect(all(name in listed for name in names), "the list has every server again")
    stage.openstack("server", "delete", *names, "--wait")


def honest_list(stage: Stage, away: str, names: Sequence[str]) -> None:
    """What a list says while a site is away."""
    headers, body = stage.get("/compute/v2.1/servers", stage.token())
    missing = headers.get("X-Atoll-Missing-Sites", "")
    click.echo(f"X-Atoll-Missing-Sites: {missing}")
    found = [server["name"] for server in body["servers"]]
    click.echo(json.dumps({"servers": found}))
    expect(away in missing, f"the list says that {away} is missing")
    expect(names[0] in found and names[-1] not in found, "the list has what the other sites have")


def expect(truth: bool, what: str) -> None:
    """Say that something is as it should be. Raises Failed where it is not."""
    if not truth:
        raise Failed(f"not so: {what}")
    click.secho(f"✔ {what}", fg="green")


@click.command()
@click.option("--once", is_flag=True, help="Stop everything at the end.")
@click.option("--real", is_flag=True, help="On real OpenStack sites instead of simulated ones.")
def demo(once: bool, real: bool) -> None:
    """Start three clouds and Atoll before them, and use them as one with the stock client.

    Exit status 0 only if all of it worked.
    """
    sites = 2 if real else SIMULATED_SITES
    try:
        layout = start(real=real, sites=sites, wanted=Wanted(sites=sites), port_base=None)
        play(Stage(layout, real=real))
    except (Failed, OSError, subprocess.TimeoutExpired) as error:
        raise click.ClickException(str(error)) from error
    finally:
        if once:
            stop(real=real)
    if once:
        click.secho("\nAll of it worked.", fg="green")
        return
    click.echo(
        f"\nAtoll and its {sites} sites go on running. To use them from here:\n\n"
        f"  source {layout.run / 'atollrc'}\n"
        f"  {Path(sys.executable).with_name('openstack')} server list\n\n"
        "and to stop them: .venv/bin/atoll sandbox down"
    )


def stop(*, real: bool) -> None:
    """Stop what the demo started; real sites are only stopped, their data is kept."""
    if real:
        from atoll.sandbox.real import down  # noqa: PLC0415

        guarded(lambda: down(say=say))
        return
    try:
        Processes(fronted.simulated_layout(locate())).stop([fronted.PROCESS, fronted.SITES])
    except SandboxError as error:
        raise click.ClickException(str(error)) from error
