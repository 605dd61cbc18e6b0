"""The facts that the tables are tested against are those of the services that are installed here."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.e2e.sites import STATE

from atoll.sandbox.real.layout import Layout

ROOT = Path(__file__).parents[2]
FACTS = ROOT / "tests" / "unit" / "services"
LIMIT = 400  # seconds: their modules take their time to import


@pytest.mark.parametrize("service", ["nova", "cinder", "glance", "neutron"])
def test_every_route_of_the_installed_service_is_known(service: str) -> None:
    assert STATE is not None
    python = Layout(STATE.parent).venv / "bin" / "python"
    written = subprocess.run(  # noqa: S603 - our own tool, by the sandbox's own Python
        [str(python), "-B", str(ROOT / "tools" / f"{service}-routes")],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert written.returncode == 0, written.stderr
    # One that is new, or has another least role now: write the facts anew, then the line of the table.
    assert json.loads(written.stdout) == json.loads((FACTS / f"{service}-2026.2.json").read_text())
