"""Atoll in front of a sandbox: its configuration, its process, and what clients need to use it."""

import json
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from atoll.sandbox.real.configuration import write
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.processes import Processes, Service

PROCESS = "atoll"
SITES = "simulated-sites"
READY_SECONDS = 180.0
OPENRC = """\
# source this: the openstack client then uses Atoll
export OS_CLIENT_CONFIG_FILE={clouds}
export OS_CLOUD=atoll
unset OS_REGION_NAME
"""


# Every service's zone is called nova; Neutron has none where no agent runs.
ZONES = 'compute = "nova", block-storage = "nova"'


def gateway_port(layout: Layout) -> int:
    """The port of Atoll before the sites of a layout."""
    return layout.port_base + 90


def configuration(
    layout: Layout, sites: Sequence[Mapping[str, Any]], administrator: str, first_zone: str = ""
) -> str:
    """An atoll.toml for described sites: pinned endpoints, a zone per site, `public` networks as one.

    Zones have the names of their sites, but for the first one's where it is given another. `administrator`:
    the entry of clouds.yaml that Atoll itself logs in by.
    """
    lines = [
        "# Written by the sandbox; made anew with each `atoll sandbox up`.",
        "[gateway]",
        f'listen = "127.0.0.1:{gateway_port(layout)}"',
        f"access_log = {json.dumps(str(layout.logs / 'access.log'))}",
        "",
        "[identity]",
        f"auth_url = {json.dumps(sites[0]['auth_url'])}",
        "",
        "[store]",
        f"url = {json.dumps('sqlite:///' + str(layout.run / 'atoll.db'))}",
        "",
        "[runs]",
        f"clouds_yaml = {json.dumps(administrator)}",
    ]
    for site in sites:
        lines += ["", f"[sites.{site['name']}]", f"region = {json.dumps(site['region'])}"]
        lines += [f"[sites.{site['name']}.endpoints]"]
        lines += [
            f"{service} = {json.dumps(url)}"
            for service, url in site["endpoints"].items()
            if service in {"compute", "block-storage", "image", "network", "placement"}
        ]
        zone = first_zone if first_zone and site is sites[0] else site["name"]
        lines += [f"[zones.{zone}]", f"site = {json.dumps(site['name'])}", f"zone = {{{ZONES}}}"]
    public = {site["name"]: site["public_network_id"] for site in sites if site.get("public_network_id")}
    if len(public) > 1:
        ids = ", ".join(f"{json.dumps(name)} = {json.dumps(ident)}" for name, ident in public.items())
        lines += ["", "[[equivalents]]", 'resource = "network"', 'name = "public"', f"ids = {{{ids}}}"]
    return "\n".join(lines) + "\n"


def first_user(bare: Mapping[str, Any]) -> str:
    """The entry of the first user in a clouds.yaml of sites; its administrator's ends with `-admin`."""
    return next(str(name) for name in bare["clouds"] if name in {"sandbox", "simulated"})


def clouds_yaml(layout: Layout, bare: Mapping[str, Any]) -> dict[str, Any]:
    """The sandbox's clouds.yaml with `atoll` and `atoll-admin` added, from its first user and its admin."""
    entries = dict(bare["clouds"])
    prefix = first_user(bare)
    url = f"http://127.0.0.1:{gateway_port(layout)}/identity/v3"
    for suffix in ("", "-admin"):
        theirs = {key: value for key, value in entries[prefix + suffix].items() if key != "regions"}
        entries["atoll" + suffix] = {
            **theirs,
            "auth": {**theirs["auth"], "auth_url": url},
            "region_name": "Atoll",
        }
    return {"clouds": entries}


def forget(layout: Layout) -> None:
    """Stop Atoll and drop what it remembers."""
    Processes(layout).stop([PROCESS])
    for file in layout.run.glob("atoll.db*"):
        file.unlink()


def front(
    layout: Layout, say: Callable[[str], None] = print, *, fresh: bool = False, first_zone: str = ""
) -> str:
    """Start Atoll before the sites that `sites.json` of the layout describes; give its URL.

    Idempotent: one that runs with the same configuration is left alone, unless it is to be `fresh`, started
    anew with nothing remembered. Raises SandboxError.
    """
    if fresh:
        forget(layout)
    sites = json.loads(layout.description.read_text())
    # The older site has a Keystone of its own: shared identity cannot reach it.
    sites = [site for site in sites if site["auth_url"] == sites[0]["auth_url"]]
    bare = json.loads(layout.clouds.read_text())
    text = configuration(layout, sites, f"{first_user(bare)}-admin", first_zone)
    file = layout.run / "atoll.toml"
    processes = Processes(layout)
    changed = not file.exists() or file.read_text() != text
    if changed or processes.leader(PROCESS) is None:
        processes.stop([PROCESS])
        write(file, text)
        port = gateway_port(layout)
        command = [sys.executable, "-m", "atoll.cli", "serve", "--config", str(file)]
        found = {"OS_CLIENT_CONFIG_FILE": str(layout.clouds)}
        processes.start(Service(PROCESS, command, environment=found, port=port))
        processes.wait(PROCESS, lambda: answers(f"http://127.0.0.1:{port}/readyz"), READY_SECONDS)
    clouds = layout.run / "clouds.yaml"
    write(clouds, json.dumps(clouds_yaml(layout, bare), indent=1))
    clouds.chmod(0o600)
    write(layout.run / "atollrc", OPENRC.format(clouds=clouds))
    url = f"http://127.0.0.1:{gateway_port(layout)}"
    say(f"Atoll answers at {url}; its log is {layout.logs / 'atoll.log'}")
    return url


def answers(url: str) -> bool:
    """Whether a URL answers 200 now. Raises OSError while nothing listens."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own URL
        return bool(answer.status == 200)


def up_simulated(
    layout: Layout, sites: int, *, apart: bool = False, say: Callable[[str], None] = print
) -> Sequence[Mapping[str, Any]]:
    """Start simulated sites in a process of their own; give their descriptions. Raises SandboxError.

    `apart`: they share nothing, not even a Keystone, and there are three of them.
    Idempotent: running ones are kept when there are as many as wanted, else replaced (their state is memory).
    """
    for directory in (layout.pids, layout.logs):
        directory.mkdir(parents=True, exist_ok=True)
    processes = Processes(layout)
    described = described_sites(layout)
    if processes.leader(SITES) is not None and len(described) == sites:
        return described
    processes.stop([SITES])
    forget(layout)  # what it remembers of sites that begin anew would be wrong
    layout.description.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "atoll.sandbox.simulated",
        "apart" if apart else str(sites),
        str(layout.port_base),
        str(layout.run),
    ]
    processes.start(Service(SITES, command, port=layout.port_base))
    processes.wait(SITES, lambda: len(described_sites(layout)) == sites, READY_SECONDS)
    say(f"{sites} simulated sites are up")
    return described_sites(layout)


def described_sites(layout: Layout) -> Sequence[Mapping[str, Any]]:
    """The sites of a layout, none where nothing was started."""
    try:
        found: Sequence[Mapping[str, Any]] = json.loads(layout.description.read_text())
    except (FileNotFoundError, ValueError):
        return []
    return found


def apart_layout(real: Layout) -> Layout:
    """Where simulated clouds that grew apart keep their files."""
    return Layout(real.state.with_name("apart"), real.port_base + 8200)


def simulated_layout(real: Layout) -> Layout:
    """Where the simulated sites of a user keep their files: beside the real ones."""
    return Layout(real.state.with_name("simulated"), real.port_base + 8000)
