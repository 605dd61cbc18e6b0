"""What `atoll explain` says of a request, from the access logs of gateways."""

import asyncio
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from tests.running import until

from atoll.cli.explain import explain


async def run(*words: str) -> tuple[int, str]:
    """What the command says, and its exit status."""
    done = await asyncio.to_thread(CliRunner().invoke, explain, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


async def explained(ident: str, *logs: Path) -> tuple[dict[str, Any], str]:
    """The explanation of a request for programs and for people, once its line is written."""
    await until(lambda: written(ident, logs))
    where = [word for log in logs for word in ("--log", str(log))]
    status, text = await run(*where, "--format", "json", ident)
    assert status == 0, text
    (one,) = json.loads(text)
    status, shown = await run(*where, ident)
    assert status == 0, shown
    return one, shown


def written(ident: str, logs: tuple[Path, ...]) -> bool:
    """Whether the end of the request is in a log: its line comes after those that name it otherwise."""
    whole = [log.read_text().rpartition("\n")[0] for log in logs]  # the last line may not be all there yet
    lines = [json.loads(line) for text in whole for line in text.splitlines()]
    own = {line["request_id"] for line in lines if ident in {line.get("site_request_id"), line["request_id"]}}
    return any(line["event"] == "request_answered" and line["request_id"] in own for line in lines)


def calls(one: dict[str, Any]) -> list[tuple[str, str, str, str, int]]:
    """What was sent, in order."""
    return [(c["site"], c["why"], c["method"], c["path"], c["status"]) for c in one["calls"]]
