"""Run a command to its end, or find out why it cannot be run. Long-lived services are in `processes`."""

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from atoll.sandbox.real.errors import SandboxError

Argument = str | int | Path
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"  # where daemons are, and not on every user's PATH
OUTPUT_TAIL = 3000  # characters of a failed command's output that are shown
INHERITED_TRAPS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONWARNINGS")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give our own environment without what would lead another Python astray, plus `extra`.

    Clients' `OS_*` variables are dropped too: services read some of them (OS_REGION_NAME, OS_CACERT).
    """
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in INHERITED_TRAPS and not key.startswith("OS_")
    }
    return kept | dict(extra or {})


def find(name: str) -> str | None:
    """Give the path of an installed program, the system's sbin directories included."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")


def run(
    command: Sequence[Argument],
    *,
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    cwd: Path | None = None,
    timeout: float = 600,
    accept: Sequence[int] = (0,),
) -> str:
    """Run a command and give its output, standard error included.

    Raises `SandboxError` when it is missing, takes longer than `timeout` seconds, or ends with a status not
    in `accept`; the message carries the end of its output.
    """
    words = [str(word) for word in command]
    if not find(words[0]):
        raise SandboxError(f"{words[0]}: not installed")
    try:
        child = subprocess.Popen(  # noqa: S603 - every command is made here, from no outside input
            [*_ends_with_us(), *words],
            env=environment(env),
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as fault:
        raise SandboxError(f"{words[0]}: could not be started ({fault})") from fault
    try:
        output = child.communicate(timeout=timeout)[0].decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        raise SandboxError(f"{' '.join(words)}: not done in {timeout:.0f} s") from late
    finally:
        if child.poll() is None:  # its children too; also when we are interrupted
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if child.returncode not in accept:
        raise failure(words, child.returncode, output)
    return output


def _ends_with_us() -> list[str]:
    """A migration that outlives a killed `up` would work on the tables of the next one."""
    setpriv = find("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def failure(words: Sequence[str], status: int, output: str) -> SandboxError:
    """Say how a command ended; a full disk is named as such."""
    if os.strerror(errno.ENOSPC) in output:
        return SandboxError(f"the disk is full ({words[0]}): free some space and start again")
    return SandboxError(f"{' '.join(words)}: ended with {status}\n{output[-OUTPUT_TAIL:].rstrip()}")
