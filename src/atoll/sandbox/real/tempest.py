"""Run tempest, unmodified, against a site or against Atoll before the sites, and compare with a bare site.

The baselines are the names of the tests that passed against a bare site of this sandbox: what fails of them
elsewhere is a difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.sandbox.real.api import ALIASES, Cloud
from atoll.sandbox.real.configuration import write
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.installation import DATA, require_release, site_packages
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import Credentials, newest
from atoll.sandbox.real.serving import python_environment
from atoll.sandbox.real.stestr import PASSED, Tests, execute, judge

SERVICES = ("smoke", "compute", "volume", "network", "image", "scenario")
TIME_LIMIT = 2 * 3600  # seconds for one baseline; compute takes 20 minutes on two idle cores
CONCURRENCY = 2


@dataclass(frozen=True)
class Target:
    """A cloud as tempest is pointed at it: a site's Keystone, or Atoll's, and what to use there.

    `computes` is the number of nova-computes a server can move between: with two, migration is tested.
    `accounts` is an accounts.yaml whose users the tests are to have, in the place of users they make.
    """

    admin: Credentials
    region: str
    image_id: str
    image_alt_id: str
    public_network_id: str
    computes: int = 1
    max_microversion: str = "latest"
    accounts: Path | None = None


def run_tempest(
    services: Sequence[str],
    target: Target,
    layout: Layout,
    *,
    work_dir: Path,
    say: Callable[[str], None] = print,
) -> int:
    """Run the baselines of `services`, see `SERVICES`; give 0 only when every test of them passed.

    Says, for each baseline, every test that did not pass with its status and reason, then `smoke: N of M`.
    Logs and results stay in `work_dir`. Raises `SandboxError` when tempest cannot be run at all.
    """
    if unknown := sorted(set(services) - set(SERVICES)):
        raise SandboxError(f"no baseline for {', '.join(unknown)}: choose from {', '.join(SERVICES)}")
    require_release(newest(layout), install=True, say=say)
    work_dir.mkdir(parents=True, exist_ok=True)
    write(work_dir / "etc" / "tempest.conf", configuration(target, Cloud(target.admin, target.region)))
    status = 0
    for service in services:
        names = baseline(service, target.computes)
        outcomes = judge(names, _execute(service, names, layout, work_dir))
        passed = sum(outcome.status == PASSED for outcome in outcomes)
        for outcome in outcomes:
            if outcome.status != PASSED:
                say(f"{outcome.status}: {outcome.name}: {outcome.reason or 'no reason given'}")
        say(f"{service}: {passed} of {len(names)}")
        status |= passed != len(names)
    return status


def baseline(service: str, computes: int = 1) -> list[str]:
    """Give the names of the tests that passed against a bare site, sorted.

    With two nova-computes those that need them come with it (`SERVICE-2.txt`), where a service has such.
    """
    files = [f"{service}.txt"] + ([f"{service}-2.txt"] if computes > 1 else [])
    lists = [DATA / "tempest" / "baseline" / name for name in files]
    return sorted(name for one in lists if one.exists() for name in one.read_text().split())


def configuration(target: Target, cloud: Cloud) -> str:
    """Give a tempest.conf; network extensions, domain and volume service are read from the target."""
    extensions = cloud.get("network", "/v2.0/extensions")["extensions"]
    values = {
        "AUTH": _auth(target),
        "DOMAIN_ID": cloud.domain_id,
        "AUTH_URL": target.admin.auth_url,
        "REGION": target.region,
        "IMAGE": target.image_id,
        "IMAGE_ALT": target.image_alt_id,
        "PUBLIC_NETWORK": target.public_network_id,
        "COMPUTES": str(target.computes),
        "MIGRATION": str(target.computes > 1).lower(),
        "MICROVERSION": target.max_microversion,
        "VOLUME_SERVICE": cloud.service_type(ALIASES["block-storage"]),
        "EXTENSIONS": ",".join(extension["alias"] for extension in extensions),
    }
    text = (DATA / "tempest" / "tempest.conf").read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def _auth(target: Target) -> str:
    """Whose users the tests have: their own, made by the administrator, or those of a file."""
    if target.accounts is not None:
        return f"use_dynamic_credentials = false\ntest_accounts_file = {target.accounts}"
    admin = target.admin
    lines = {"username": admin.username, "password": admin.password}
    lines |= {"project_name": admin.project, "domain_name": admin.user_domain}
    who = "".join(f"\nadmin_{key} = {value}" for key, value in lines.items())
    return f"use_dynamic_credentials = true{who}"


def _execute(service: str, names: list[str], layout: Layout, work_dir: Path) -> list[tuple[str, str, str]]:
    """Run the tests in a fresh repository below `work_dir`."""
    release = newest(layout)
    here = work_dir / service
    (here / "logs").mkdir(parents=True, exist_ok=True)  # tempest does not make it and then finds no test
    packages = site_packages(release)
    tests = Tests(release.bin, packages, packages / "tempest" / "test_discover", CONCURRENCY, TIME_LIMIT)
    variables = python_environment(release) | {
        "TEMPEST_CONFIG_DIR": str(work_dir / "etc"),
        "TEMPEST_CONFIG": "tempest.conf",
        "OS_TEST_TIMEOUT": "600",
        "HOME": str(here),
    }
    return execute(tests, names, here, variables)
