"""What a by-id GET costs where the site has a Keystone of its own, beside where it shares the clients'."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from bench import backend, measure, peers
from bench.figures import filled
from bench.keystones import ident
from bench.measure import ratios, spread
from bench.peers import Setting, Target
from bench.ports import free_ports
from bench.processes import Cores, get, load_average, running, wait_for
from bench.report import Entry

ROUNDS, SPARE = 6, 12
CPU = Entry(
    name="by-id GET with a credential: CPU of a request",
    value=None,
    unit="us",
    goal="<= 1.3 x shared",
    met=None,
    how="",
)
ENTRIES = (CPU,)


def cpu(folder: Path, cores: Cores) -> list[Entry]:
    """The figure, of two gateways before the same site. Raises NotStarted, LoadFailed and OSError."""
    sites = free_ports(3)
    shared, trusted = (folder / name for name in ("shared", "credentials"))
    shared.mkdir()
    trusted.mkdir()
    with ExitStack() as stack:
        stack.enter_context(backend.sites(sites, folder, cores=cores.rest))
        targets = {
            "shared": stack.enter_context(peers.atoll(Setting(shared, sites, cores.measured))),
            "credentials": stack.enter_context(_trusted(Setting(trusted, sites, cores.measured), cores)),
        }
        costs = measure.cost(targets, cores, ROUNDS, spare=SPARE)
    ours, theirs = costs["credentials"].cpu_us, costs["shared"].cpu_us
    each = ratios(ours, theirs)
    print(
        f"\nBy-id GET: {spread(ours, 1)} us with a credential, {spread(theirs, 1)} us shared; {spread(each)}."
    )
    how = (
        f"user+sys over the requests answered, {measure.CONNECTIONS} connections, medians of {ROUNDS} rounds "
        f"by turns; ratio {spread(each)}; {load_average()}"
    )
    return [filled(CPU, median(ours), how, limit=1.3, peer=median(theirs), ratio=median(each))]


@contextmanager
def _trusted(setting: Setting, cores: Cores) -> Iterator[Target]:
    """Atoll before the same sites, which know the project by the id that they always show."""
    port, keystones = free_ports(2)
    entries = {
        f"cloud{number}": {
            "auth_type": "password",
            "auth": {"auth_url": f"http://127.0.0.1:{keystones}/{number}/v3", "username": "0",
                     "password": "x", "project_name": "0", "user_domain_id": "default",
                     "project_domain_id": "default"},
        }
        for number in range(1, len(setting.sites) + 1)
    }  # fmt: skip
    yaml = setting.folder / "clouds.yaml"
    yaml.write_text(json.dumps({"clouds": entries}))
    command = [sys.executable, "-m", "bench.keystones", str(keystones), "0", "86400", backend.PROJECT_ID]
    serve = [sys.executable, "-m", "atoll.cli", "serve", "-c", str(_configured(setting, port, keystones))]
    environment = {"OS_CLIENT_CONFIG_FILE": str(yaml)}
    with running(command, cores=cores.rest[:1], log=setting.folder / "keystones.log") as clouds:
        wait_for(clouds, lambda: get(keystones, "/counted"))
        with running(
            serve, cores=[setting.core], log=setting.folder / "atoll.log", env=environment
        ) as process:
            yield peers.warm(Target(process, port, f"/compute{backend.SERVER_PATH}"))


def _configured(setting: Setting, port: int, keystones: int) -> Path:
    file = peers.atoll_configuration(setting.folder, port, setting.sites)
    text = file.read_text().replace(
        f"http://127.0.0.1:{setting.sites[0]}/v3", f"http://127.0.0.1:{keystones}/v3"
    )
    for number in range(1, len(setting.sites) + 1):
        name = f"[sites.Region{number}]\n"
        text = (
            text.replace(name, f'{name}cloud = "cloud{number}"\n')
            + f"""
[clouds.cloud{number}]
auth_url = "http://127.0.0.1:{keystones}/{number}/v3"
[[credentials]]
cloud = "cloud{number}"
project_id = "{ident("project", 0)}"
clouds_yaml = "cloud{number}"
"""
        )
    file.write_text(text)
    return file
