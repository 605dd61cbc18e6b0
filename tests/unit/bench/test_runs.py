"""Arrivals, percentiles, and what rounds become."""

import sqlite3
from contextlib import closing

import pytest
from bench import arrivals, runs
from bench.acceptance import fill
from bench.arrivals import Found, rate, schedule
from bench.contest import Round, percentile, threads
from bench.engines import DurableMariadb, DurablePostgresql
from bench.runs import Contestant, Figures


def test_the_curve_has_the_starts_of_the_hour():
    starts = sum(rate(second + 0.5) for second in range(arrivals.HOUR))
    assert starts == pytest.approx(8417, abs=1)
    assert starts / arrivals.HOUR == pytest.approx(2.34, abs=0.01)
    assert max(map(rate, range(arrivals.HOUR))) == rate(2880) == pytest.approx(14.0)


def test_a_schedule_follows_the_curve_and_comes_again():
    hour = schedule(1.0, 0.0, arrivals.HOUR)
    assert hour == schedule(1.0, 0.0, arrivals.HOUR) == sorted(hour)
    assert 0.0 <= hour[0] < hour[-1] < arrivals.HOUR
    assert len(hour) == pytest.approx(8417, abs=4 * 8417**0.5)
    peak = sum(2830 <= one < 2930 for one in hour)
    before = sum(1000 <= one < 1100 for one in hour)
    assert peak > 4 * before


def test_a_multiple_has_more_starts_in_the_same_time():
    begin = arrivals.begin_of_window(60.0)
    one, five = schedule(1.0, begin, 60.0), schedule(5.0, begin, 60.0)
    assert max(five) < 60.0
    assert len(five) / 60 == pytest.approx(5 * 13.6, rel=0.1)
    assert len(five) / len(one) == pytest.approx(5.0, rel=0.2)


@pytest.mark.parametrize(("share", "value"), [(0.5, 2.0), (0.75, 3.0), (0.76, 4.0), (0.99, 4.0), (0.0, 1.0)])
def test_a_percentile_is_one_of_the_values(share, value):
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value


def test_nothing_has_no_percentile():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
    assert percentile(range(1, 101), 0.99) == 99


def test_runs_of_several_threads_are_counted_together():
    counted: list[int] = []
    found = threads(lambda: counted.append(1), 4, 0.1)
    assert len(found.each) == len(counted) > 0
    assert found.seconds >= 0.1


def test_runs_that_fail_are_told_and_not_counted():
    def one() -> None:
        raise OSError("database is locked")

    found = threads(one, 1, 0.5)
    assert found.each == []
    assert found.failed > 0


def test_a_round_becomes_runs_a_second_and_cpu_of_a_run():
    figures = Figures()
    figures.add(Round(seconds=2.0, cpu=0.5, each=[1.0] * 100))
    figures.add(Round(seconds=2.0, cpu=0.5, each=[]))
    assert figures.rate == [50.0, 0.5], "a round without a run is counted in the engine's favour"
    assert figures.cpu == [5.0, 500.0]
    assert figures.each == [1.0] * 100 + [2000.0]
    assert Contestant("ours", (), ours=True).at_once > Contestant("theirs", ()).at_once


@pytest.mark.parametrize(("theirs", "met"), [(1.0, True), (2.0, True), (2.1, False)])
def test_a_goal_is_met_by_the_median_of_the_rounds(theirs, met):
    goal = runs.GOALS[0]
    ours = Figures(rate=[100.0, 100.0, 1.0], cpu=[1.0], each=[10.0])
    other = Figures(rate=[theirs] * 3, cpu=[100.0], each=[500.0])
    entry = runs.entry_of(goal, {goal.ours: ours, goal.theirs: other})
    assert entry.met is met
    assert (entry.value, entry.peer, entry.ratio) == (100.0, theirs, round(100 / theirs, 3))


def test_starts_are_judged_by_what_is_committed_at_the_highest_multiple():
    def found(done: float, cpu: float) -> Found:
        return Found(
            accepted=[5.0] * 100, done=[done] * 100, cpu_seconds=cpu, seconds=10.0, refused=0, waited=0
        )

    late = {multiple: found(499.0, 1.0) for multiple in arrivals.MULTIPLES} | {5: found(501.0, 1.6)}
    assert [one.met for one in arrivals.entries_of("logical only", 15.0, late)] == [False, False]
    soon = {multiple: found(501.0, 2.0) for multiple in arrivals.MULTIPLES} | {5: found(499.0, 1.4)}
    assert [one.met for one in arrivals.entries_of("logical only", 15.0, soon)] == [True, True]


def test_a_journal_is_filled_with_runs_like_the_one_that_is_there(tmp_path):
    file = tmp_path / "runs.db"
    with closing(sqlite3.connect(file)) as journal:
        journal.executescript("""
            CREATE TABLE runs (id TEXT PRIMARY KEY, state TEXT, number INT, created_at REAL, changed_at REAL,
                ended_at REAL);
            CREATE INDEX ix_runs_state ON runs (state, id);
            INSERT INTO runs VALUES ('one', 'done', 14, 1000, 1001, 1001);""")
    fill(file, 50)
    with closing(sqlite3.connect(file)) as journal:
        rows = journal.execute("SELECT id, state, number, created_at FROM runs").fetchall()
        indexes = journal.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE INDEX%'").fetchall()
    assert len({row[0] for row in rows}) == len(rows) == 50
    assert {row[1:3] for row in rows} == {("done", 14)}
    assert len({row[3] for row in rows}) == 50
    assert max(row[3] for row in rows) == 1000
    assert indexes == [("ix_runs_state",)]


def test_databases_that_are_measured_wait_for_the_disk(tmp_path):
    postgresql = DurablePostgresql().command(tmp_path, tmp_path, 1)
    mariadb = DurableMariadb().command(tmp_path, tmp_path, 1)
    assert "fsync=on" in postgresql
    assert "fsync=off" not in postgresql
    flushes = [word for word in mariadb if "flush-log-at-trx-commit" in word]
    assert flushes == ["--innodb-flush-log-at-trx-commit=1"]
