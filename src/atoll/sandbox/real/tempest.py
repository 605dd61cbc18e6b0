"""Run tempest, unmodified, against a site or against Atoll before the sites, and compare with a bare site.

The baselines are the names of the tests that passed against a bare site of this sandbox: what fails of them
elsewhere is a difference.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.sandbox.real.api import ALIASES, Cloud
from atoll.sandbox.real.commands import Argument, run
from atoll.sandbox.real.configuration import write
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.installation import DATA, require_release, site_packages
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import Credentials, newest
from atoll.sandbox.real.serving import python_environment

SERVICES = ("smoke", "compute", "volume", "network", "image")
TIME_LIMIT = 2 * 3600  # seconds for one baseline; compute takes 20 minutes on two idle cores
CONCURRENCY = 2
OUTPUT_TAIL = 1500
PASSED = "success"
MISSING = "not run"
STESTR = """\
[DEFAULT]
test_path={packages}/tempest/test_discover
top_dir={packages}
group_regex=([^\\.]*\\.)*
"""


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


@dataclass(frozen=True)
class Outcome:
    """How one test ended: success, fail, skip, exists, uxsuccess, xfail, or `not run`; and why."""

    name: str
    status: str
    reason: str = ""


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


def include_list(names: Sequence[str]) -> str:
    """Give a list for `--include-list`.

    Its lines are regular expressions, and many a test's name begins with another's: both ends are anchored.
    """
    return "".join(f"^{re.escape(name)}(\\[|$)\n" for name in names)


def judge(names: Sequence[str], results: Sequence[tuple[str, str, str]]) -> list[Outcome]:
    """Give the outcome of every name, from (id, status, traceback) as they came.

    A class that could not be set up has one result under `setUpClass (CLASS)` and none for its tests.
    """
    ended: dict[str, Outcome] = {}
    broken: dict[str, Outcome] = {}
    for identifier, status, text in results:
        outcome = Outcome(identifier.partition("[")[0], status, reason(text))
        fixture = re.fullmatch(r"(?:setUp|tearDown)Class \((.+)\)", outcome.name)
        if fixture:
            broken[fixture[1]] = outcome
        else:
            ended[outcome.name] = outcome
    outcomes = []
    for name in names:
        fallback = broken.get(name.rpartition(".")[0]) or Outcome(name, MISSING)
        found = ended.get(name) or Outcome(name, fallback.status, fallback.reason)
        outcomes.append(found)
    return outcomes


def reason(text: str) -> str:
    """Give the line of a traceback that says what was raised, else the first line of the text."""
    lines = [line for line in text.splitlines() if line.strip()]
    frames = [number for number, line in enumerate(lines) if line.startswith("  File ")]
    after = lines[frames[-1] + 1 :] if frames else lines
    raised = [line for line in after if not line.startswith(" ")]
    return " ".join(raised[:2]).strip()[:400]


def _execute(service: str, names: list[str], layout: Layout, work_dir: Path) -> list[tuple[str, str, str]]:
    """Run the tests in a fresh repository below `work_dir`; classes are not split between the workers."""
    release = newest(layout)
    here = work_dir / service
    (here / "logs").mkdir(parents=True, exist_ok=True)  # tempest does not make it and then finds no test
    write(here / "include.txt", include_list(names))
    write(here / "stestr.conf", STESTR.format(packages=site_packages(release)))
    variables = python_environment(release) | {
        "TEMPEST_CONFIG_DIR": str(work_dir / "etc"),
        "TEMPEST_CONFIG": "tempest.conf",
        "OS_TEST_TIMEOUT": "600",
        "HOME": str(here),
    }
    stestr: list[Argument] = [release.bin / "stestr", "--config", here / "stestr.conf"]
    words: list[Argument] = ["run", "--include-list", here / "include.txt", "--concurrency", CONCURRENCY]
    output = run([*stestr, *words], env=variables, cwd=here, timeout=TIME_LIMIT, accept=range(256))
    write(here / "output.txt", output)
    last = here / "last.subunit"
    script = DATA / "tempest" / "results.py"
    shell = f'"{release.bin}/stestr" --config "{here}/stestr.conf" last --subunit >"{last}"'
    run(["/bin/sh", "-c", shell], env=variables, cwd=here, accept=(0, 1))
    with last.open("rb") as stream:
        found = run([release.bin / "python", script], env=variables, stdin=stream, timeout=300)
    results = [(str(name), str(status), str(text)) for name, status, text in json.loads(found)]
    if not results:
        raise SandboxError(
            f"tempest ran no test; see {here / 'output.txt'}\n{output[-OUTPUT_TAIL:].rstrip()}"
        )
    return results
