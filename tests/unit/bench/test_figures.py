"""What the measurements become: entries, ratios, tables."""

import msgspec
import pytest
from bench.figures import CPU, HEALTHZ, cpu_entry, filled
from bench.load import threads
from bench.measure import Cost, ratios, spread
from bench.processes import pinned
from bench.report import Entry, entries_table, table, write


def cost(cpu: float, busy: float) -> Cost:
    return Cost(cpu_us=[cpu] * 3, rate=[1e4] * 3, busy=[1.0, busy, 1.0], own=[busy] * 3)


def test_a_figure_is_met_up_to_its_limit():
    assert filled(HEALTHZ, 0.51234, "so", limit=1.0).value == 0.512
    assert filled(HEALTHZ, 1.0, "so", limit=1.0).met
    assert not filled(HEALTHZ, 1.01, "so", limit=1.0).met
    assert filled(CPU, 60.0, "so", limit=2.0, peer=40.0, ratio=1.5).met, "the ratio counts where there is one"


@pytest.mark.parametrize(
    ("ours", "busy", "met"), [(30.0, 0.99, True), (50.0, 0.99, False), (30.0, 0.8, None), (50.0, 0.8, False)]
)
def test_a_core_with_idle_time_proves_no_goal_that_is_reached(ours, busy, met):
    entry = cpu_entry(cost(ours, 1.0), cost(20.0, busy))
    assert entry.met is met
    assert entry.ratio == ours / 20.0
    assert ("less busy than the 95%" in entry.how) is (busy < 0.95)


def test_ratios_are_of_the_same_round():
    assert ratios([2.0, 6.0], [1.0, 2.0]) == [2.0, 3.0]
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0 to 3.0)"
    assert spread([1.25]) == "1.25"


def test_a_table_lines_up():
    assert table(("a", "b"), [("long", "1"), ("x", "22")]) == "a      b\n----  --\nlong   1\nx     22"


def test_an_entry_without_a_value_is_open():
    line = entries_table([CPU]).splitlines()[-1]
    assert line.split()[-1] == "open"


def test_results_can_be_read_again(tmp_path):
    entries = [CPU, filled(HEALTHZ, 0.5, "so", limit=1.0)]
    write(entries, tmp_path / "results.json")
    assert msgspec.json.decode((tmp_path / "results.json").read_bytes(), type=list[Entry]) == entries


def test_load_runs_on_its_own_cores():
    assert pinned([0, 2]) == ["taskset", "-c", "0,2"]
    assert (threads(1, [0]), threads(64, [0]), threads(64, [0, 2, 3])) == (1, 2, 6)
