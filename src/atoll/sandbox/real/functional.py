"""Run the functional tests of openstacksdk and python-openstackclient against a site or Atoll, and compare.

They come from the source distributions on the package index and run unmodified, in a virtual environment of
their own. The baselines are the names of those that passed against a bare site of this sandbox.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

from atoll.sandbox.real.api import Cloud
from atoll.sandbox.real.catalog import Identity
from atoll.sandbox.real.clouds import entry
from atoll.sandbox.real.commands import Argument, environment, run
from atoll.sandbox.real.configuration import write
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.installation import DATA, INSTALL_LIMIT, python_for_services
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import Credentials
from atoll.sandbox.real.seed import ensure_image, ensure_network, join
from atoll.sandbox.real.servers import site_admin
from atoll.sandbox.real.stestr import PASSED, Outcome, Tests, execute, judge

HERE = DATA / "functional"
STAMP = ".atoll-pins"
TIME_LIMIT = 3 * 3600  # seconds for one suite
LOAD_LIMIT = 120  # seconds for the client to be loaded; a busy machine
PASSWORD = "sandbox"  # noqa: S105 - a throw-away cloud on the loopback
USERS = ("functional", "functional-alt")  # each in a project of its own; another for each front's region
UPLOADED = "CONTRIBUTING.rst"  # of either distribution; the sdk's tests upload it from where they run
IMAGE = "cirros-functional-disk"  # of a name that the client's tests look for
SYSTEM_ADMIN = "devstack-system-admin"
DOMAINS = ("updated name", "updated name 2")  # left by one of the sdk's tests, which cannot make them twice
COMMAND = '#!/bin/sh\nexec {python} -ISs {script} "$@"\n'


@dataclass(frozen=True)
class Suite:
    """The functional tests of one distribution: where they are in it, how many run at once."""

    distribution: str
    path: str
    concurrency: int
    names: str  # what the name of every test of it begins with


SUITES = {
    # one at a time, as its own tox.ini has it: many of its tests count what is there
    "sdk": Suite("openstacksdk", "openstack/tests/functional", 1, "openstack.tests.functional."),
    "cli": Suite(
        "python-openstackclient", "openstackclient/tests/functional", 2, "openstackclient.tests.functional."
    ),
}


@dataclass(frozen=True)
class Front:
    """What the tests are pointed at: a Keystone, a site's or Atoll's, its administrator and the region."""

    admin: Credentials
    region: str


@dataclass(frozen=True)
class Installed:
    """The virtual environment with the distributions, and their source distributions."""

    home: Path

    @property
    def venv(self) -> Path:
        """It."""
        return self.home / "venv"

    @property
    def bin(self) -> Path:
        """Its commands."""
        return self.venv / "bin"

    @property
    def sources(self) -> Path:
        """The source distributions as downloaded."""
        return self.home / "sdists"

    def unpacked(self, distribution: str) -> Path:
        """A source distribution as it is: some tests want what is beside their package."""
        found = sorted(self.sources.glob(f"{distribution.replace('-', '_')}-*/"))
        if not found:
            raise SandboxError(f"{self.sources} has no {distribution}: remove {self.home} and start again")
        return found[-1]


def run_functional(
    suites: Sequence[str],
    front: Front,
    layout: Layout,
    *,
    work_dir: Path,
    everything: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Run the baselines of `suites`, see `SUITES`; give 0 only when every test of them passed.

    Says, for each, every test that did not pass with its status and reason, then `sdk: N of M`. With
    `everything` all tests of the suite are run, and the names of those that pass are written to
    `work_dir/SUITE.txt`. Logs and results stay in `work_dir`. Raises `SandboxError` when they cannot be run.
    """
    if unknown := sorted(set(suites) - set(SUITES)):
        raise SandboxError(f"no suite {', '.join(unknown)}: choose from {', '.join(SUITES)}")
    installed = require_suites(layout, say)
    work_dir.mkdir(parents=True, exist_ok=True)
    logins = [f"{name}-{front.region}" for name in USERS]  # what one front left behind is none of the other's
    users = {name: Credentials(front.admin.auth_url, name, PASSWORD, name) for name in logins}
    sites = {region: site_admin(region, layout) for region in _regions(layout)}
    for site in sites.values():
        ensure_image(site, IMAGE)
    if front.region not in sites:
        _declare(Cloud(front.admin, front.region), "private", sites)
    _ensure_users(Cloud(front.admin, front.region), users)
    forget_domains(Identity(Cloud(front.admin, front.region)))
    status = 0
    for suite in suites:
        names = baseline(suite)
        here = work_dir / suite
        results = _execute(suite, None if everything else names, installed, front, users, here)
        if everything:
            passed = sorted({name.partition("[")[0] for name, how, _ in results if how == PASSED})
            write(work_dir / f"{suite}.txt", "".join(f"{name}\n" for name in passed))
            say(f"{suite}: {len(passed)} passed, see {work_dir / suite}.txt")
        outcomes = judge(names, results)
        for line in told(outcomes):
            say(line)
        good = sum(outcome.status == PASSED for outcome in outcomes)
        say(f"{suite}: {good} of {len(names)}")
        status |= good != len(names)
    return status


def baseline(suite: str) -> list[str]:
    """Give the names of the tests that passed against a bare site, sorted."""
    return sorted((HERE / "baseline" / f"{suite}.txt").read_text().split())


def told(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What did not pass, a line each."""
    for outcome in outcomes:
        if outcome.status != PASSED:
            yield f"{outcome.status}: {outcome.name}: {outcome.reason or 'no reason given'}"


def clouds(front: Front, users: dict[str, Credentials]) -> dict[str, Any]:
    """The clouds.yaml that the tests expect: devstack's names for two users and two views of the admin."""
    first, second = users.values()
    # So that what others do at the sites has no say in where floating IPs come from.
    outside = {"networks": [{"name": "public", "routes_externally": True, "nat_source": True}]}
    admin = {**entry(front.admin, [front.region]), **outside}
    system = {key: value for key, value in admin["auth"].items() if not key.startswith("project_")}
    return {
        "clouds": {
            "devstack": {**entry(first, [front.region]), **outside},
            "devstack-alt": {**entry(second, [front.region]), **outside},
            "devstack-admin": admin,
            SYSTEM_ADMIN: {**admin, "auth": {**system, "system_scope": "all"}},
        }
    }


def require_suites(layout: Layout, say: Callable[[str], None]) -> Installed:
    """Have the pinned source distributions and an environment they are installed in, beside the sandbox's.

    Raises `SandboxError` where no package index can be reached.
    """
    installed = Installed(layout.state.with_name("functional"))
    pins = HERE / "pins.txt"
    stamp = installed.venv / STAMP
    if stamp.exists() and stamp.read_text() == pins.read_text():
        return installed
    say("installing the functional tests from their source distributions")
    installed.sources.mkdir(parents=True, exist_ok=True)
    run([python_for_services(), "-m", "venv", "--clear", installed.venv])
    pip: list[Argument] = [installed.bin / "python", "-m", "pip", "--disable-pip-version-check"]
    distributions = [suite.distribution for suite in SUITES.values()]
    wanted = [line for line in pins.read_text().splitlines() if line.partition("==")[0] in distributions]
    only: list[Argument] = ["--no-binary", ",".join(distributions)]
    run([*pip, "download", "-q", "--no-deps", *only, "-d", installed.sources, *wanted], timeout=INSTALL_LIMIT)
    find: list[Argument] = ["--find-links", installed.sources]
    run([*pip, "install", "-q", *only, *find, "-r", pins], timeout=INSTALL_LIMIT)
    for archive in installed.sources.glob("*.tar.gz"):
        shutil.unpack_archive(archive, installed.sources)
    stamp.write_text(pins.read_text())
    return installed


def _regions(layout: Layout) -> list[str]:
    """The sites that share the first one's Keystone. Raises `SandboxError` where none runs."""
    try:
        sites = json.loads(layout.description.read_text())
    except FileNotFoundError as missing:
        raise SandboxError(f"no sites in {layout.description}: start the sandbox first") from missing
    return [site["region"] for site in sites if site["auth_url"] == sites[0]["auth_url"]]


def _declare(atoll: Cloud, name: str, sites: dict[str, Cloud]) -> None:
    """Have the networks of a name, one at each site, be one: tests take the name for one network's."""
    path = f"/v2.0/networks?name={name}"
    ids = {region: site.get("network", path)["networks"][0]["id"] for region, site in sites.items()}
    if not atoll.get("atoll", f"/same?resource=network&name={name}")["same"]:
        atoll.post("atoll", "/same", {"resource": "network", "ids": ids, "name": name})


def _ensure_users(admin: Cloud, users: dict[str, Credentials]) -> None:
    """Have the users, each a member of a project of its name, where nothing else is."""
    identity = Identity(admin)
    member = identity.named("roles")["member"]["id"]
    for name, who in users.items():
        project = identity.ensure("projects", name, domain_id=admin.domain_id)
        user = identity.ensure("users", name, domain_id=admin.domain_id, password=PASSWORD)
        identity.grant(member, user, f"projects/{project}")
        _network(Cloud(who, admin.region))


def forget_domains(identity: Identity) -> None:
    """Delete the domains of `DOMAINS`, of an earlier run."""
    for name, domain in identity.named("domains").items():
        if name in DOMAINS:
            path = f"/domains/{domain['id']}"
            identity.cloud.call("PATCH", "identity", path, {"domain": {"enabled": False}})
            identity.cloud.call("DELETE", "identity", path)


def _network(cloud: Cloud) -> None:
    """The one network of a project, which its servers get, with a way out; made where it is missing."""
    public = cloud.get("network", "/v2.0/networks?router:external=true&name=public")["networks"][0]["id"]
    network = ensure_network(cloud, "network", "functional", {})
    inside = {"network_id": network, "ip_version": 4, "cidr": "10.250.0.0/24"}
    subnet = ensure_network(cloud, "subnet", "functional", inside)
    router = ensure_network(cloud, "router", "functional", {"external_gateway_info": {"network_id": public}})
    join(cloud, router, subnet)


def _execute(
    suite: str,
    names: list[str] | None,
    installed: Installed,
    front: Front,
    users: dict[str, Credentials],
    here: Path,
) -> list[tuple[str, str, str]]:
    """Run the tests in a home of their own, with a clouds.yaml and a client in it."""
    one = SUITES[suite]
    file = here / ".config" / "openstack" / "clouds.yaml"
    write(file, json.dumps(clouds(front, users), indent=1))
    file.chmod(0o600)
    root = installed.unpacked(one.distribution)
    shutil.copy(root / UPLOADED, here)
    tests = Tests(installed.bin, root, root / one.path, one.concurrency, TIME_LIMIT)
    with _client(installed, here) as variables:
        return execute(tests, names, here, variables | _settings(here))


def _settings(here: Path) -> dict[str, str]:
    """What the suites' own tox.ini sets, and the sandbox's image."""
    return {
        "HOME": str(here),
        "PYTHONWARNINGS": "ignore",
        "OS_LOG_CAPTURE": "true",
        "OS_STDOUT_CAPTURE": "true",
        "OS_STDERR_CAPTURE": "true",
        "OS_TEST_TIMEOUT": "600",
        "OPENSTACKSDK_FUNC_TEST_TIMEOUT": "120",
        "OPENSTACKSDK_IMAGE": "cirros",
        "OPENSTACKSDK_FLAVOR": "m1.nano",
        "OPENSTACKSDK_EXAMPLE_CONFIG_KEY": "functional",
    }


@contextmanager
def _client(installed: Installed, here: Path) -> Iterator[dict[str, str]]:
    """Have the `openstack` command served, see `client_server.py`; gives what finds it."""
    socket = here / "client"
    binaries = here / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    command = binaries / "openstack"
    python = installed.bin / "python"
    write(command, COMMAND.format(python=python, script=HERE / "openstack_command.py"))
    command.chmod(0o755)
    own = environment({"HOME": str(here), "PYTHONWARNINGS": "ignore"})
    words = [str(python), str(HERE / "client_server.py"), str(socket)]
    socket.unlink(missing_ok=True)
    with Popen(words, env=own, cwd=here, stdin=DEVNULL, stdout=DEVNULL) as server:  # noqa: S603 - ours
        try:
            end = time.monotonic() + LOAD_LIMIT
            while not socket.exists():
                if server.poll() is not None or time.monotonic() > end:
                    raise SandboxError(f"the client could not be loaded: {' '.join(words)}")
                time.sleep(0.1)
            path = f"{binaries}:{installed.bin}:{own.get('PATH', '')}"
            yield {"ATOLL_CLIENT_SERVER": str(socket), "PATH": path}
        finally:
            server.terminate()
