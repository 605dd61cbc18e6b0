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
from atoll.sandbox.real.seed import image_content
from atoll.sandbox.real.serving import python_environment
from atoll.sandbox.real.stestr import PASSED, Outcome, Tests, execute, judge, reason

# Each baseline, and which of all tests are tried for it.
TRIED = {
    "smoke": r"\[.*\bsmoke\b",
    "compute": r"^tempest\.api\.compute\.",
    "volume": r"^tempest\.api\.volume\.",
    "network": r"^tempest\.api\.network\.",
    "image": r"^tempest\.api\.image\.",
    "scenario": r"^tempest\.scenario\.",
}
SERVICES = tuple(TRIED)
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
    everything: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Run the baselines of `services`, see `SERVICES`; give 0 only when every test of them passed.

    Says, for each baseline, every test that did not pass with its status and reason, then `smoke: N of M`.
    With `everything` all tests of the service are run, those in no baseline are said too, and the names of
    those that pass are written to `work_dir/SERVICE.txt`. Logs and results stay in `work_dir`. Raises
    `SandboxError` when tempest cannot be run at all.
    """
    if unknown := sorted(set(services) - set(SERVICES)):
        raise SandboxError(f"no baseline for {', '.join(unknown)}: choose from {', '.join(SERVICES)}")
    require_release(newest(layout), install=True, say=say)
    work_dir.mkdir(parents=True, exist_ok=True)
    image = (work_dir / "etc" / "image.raw").absolute()
    write(work_dir / "etc" / "tempest.conf", configuration(target, Cloud(target.admin, target.region), image))
    image.write_bytes(image_content("uploaded"))
    status = 0
    for service in services:
        names = baseline(service, target.computes)
        results = _execute(service, None if everything else names, layout, work_dir)
        outcomes = judge(names, results)
        passed = sum(outcome.status == PASSED for outcome in outcomes)
        others = unlisted(names, results) if everything else []
        for outcome in [*outcomes, *others]:
            if outcome.status != PASSED:
                say(f"{outcome.status}: {outcome.name}: {outcome.reason or 'no reason given'}")
        if everything:
            well = sorted(outcome.name for outcome in [*outcomes, *others] if outcome.status == PASSED)
            write(work_dir / f"{service}.txt", "".join(f"{name}\n" for name in well))
            say(f"{service}: {len(well)} passed, see {work_dir / service}.txt")
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


def configuration(target: Target, cloud: Cloud, image: Path) -> str:
    """Give a tempest.conf; network extensions, domain and volume service are read from the target.

    `image` is the file that scenarios upload.
    """
    extensions = cloud.get("network", "/v2.0/extensions")["extensions"]
    values = {
        "AUTH": _auth(target),
        "DOMAIN_ID": cloud.domain_id,
        "AUTH_URL": target.admin.auth_url,
        "REGION": target.region,
        "IMAGE_FILE": str(image),
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


def unlisted(names: Sequence[str], results: Sequence[tuple[str, str, str]]) -> list[Outcome]:
    """How the tests ended that are in no baseline, and the classes that could not be set up; sorted."""
    known = set(names)
    return [
        Outcome(name, status, reason(text))
        for name, status, text in sorted((name.partition("[")[0], how, text) for name, how, text in results)
        if name not in known
    ]


def _execute(
    service: str, names: list[str] | None, layout: Layout, work_dir: Path
) -> list[tuple[str, str, str]]:
    """Run the tests (None: all of the service) in a fresh repository below `work_dir`."""
    release = newest(layout)
    here = work_dir / service
    (here / "logs").mkdir(parents=True, exist_ok=True)  # tempest does not make it and then finds no test
    packages = site_packages(release)
    found = packages / "tempest" / "test_discover"
    tests = Tests(release.bin, packages, found, CONCURRENCY, TIME_LIMIT, only=TRIED[service])
    variables = python_environment(release) | {
        "TEMPEST_CONFIG_DIR": str(work_dir / "etc"),
        "TEMPEST_CONFIG": "tempest.conf",
        "OS_TEST_TIMEOUT": "600",
        "HOME": str(here),
    }
    return execute(tests, names, here, variables)
