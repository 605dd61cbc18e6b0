"""Run tests of OpenStack's own in a virtual environment with stestr, and read what became of each."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.sandbox.real.commands import Argument, run
from atoll.sandbox.real.configuration import write
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.installation import DATA

OUTPUT_TAIL = 1500
PASSED = "success"
MISSING = "not run"
SETTINGS = """\
[DEFAULT]
test_path={path}
top_dir={top}
group_regex=([^\\.]*\\.)*
"""


@dataclass(frozen=True)
class Outcome:
    """How one test ended: success, fail, skip, exists, uxsuccess, xfail, or `not run`; and why."""

    name: str
    status: str
    reason: str = ""


@dataclass(frozen=True)
class Tests:
    """Tests as stestr finds them: `path` below `top`, run by the Python of `bin`, classes never split."""

    bin: Path
    top: Path
    path: Path
    concurrency: int
    time_limit: float  # seconds for all of them
    only: str = ""  # a regular expression: of all tests, those that are meant


def execute(
    tests: Tests, names: Sequence[str] | None, here: Path, variables: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Run the named tests (None: all) in a fresh repository in `here`; give (id, status, traceback) of each.

    Raises `SandboxError` where none ran.
    """
    write(here / "stestr.conf", SETTINGS.format(path=tests.path, top=tests.top))
    stestr: list[Argument] = [tests.bin / "stestr", "--config", here / "stestr.conf"]
    words: list[Argument] = ["run", "--concurrency", tests.concurrency]
    if names is not None:
        write(here / "include.txt", include_list(names))
        words += ["--include-list", here / "include.txt"]
    elif tests.only:
        words.append(tests.only)
    output = run([*stestr, *words], env=variables, cwd=here, timeout=tests.time_limit, accept=range(256))
    write(here / "output.txt", output)
    last = here / "last.subunit"
    shell = f'"{tests.bin}/stestr" --config "{here}/stestr.conf" last --subunit >"{last}"'
    run(["/bin/sh", "-c", shell], env=variables, cwd=here, accept=(0, 1))
    script = DATA / "tempest" / "results.py"
    with last.open("rb") as stream:
        found = run([tests.bin / "python", script], env=variables, stdin=stream, timeout=300)
    results = [(str(name), str(status), str(text)) for name, status, text in json.loads(found)]
    if not results:
        raise SandboxError(f"no test ran; see {here / 'output.txt'}\n{output[-OUTPUT_TAIL:].rstrip()}")
    return results


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
    if "stderr:" in raised:  # a command that failed says more there
        raised[1:] = raised[raised.index("stderr:") + 1 :]
    return " ".join(raised[:2]).strip()[:600]
