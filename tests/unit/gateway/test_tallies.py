"""Numbers that several workers keep in one memory."""

import math

from atoll.gateway.tallies import REGION_BYTES, Board, Tallies


def of_all(tallies: Tallies) -> list[tuple[str, list[float]]]:
    return sorted((" ".join(key), list(values)) for key, values in tallies.of_all())


def test_every_worker_sees_what_all_count():
    board = Board(2)
    one, other = board.tallies(0), board.tallies(1)
    one.series(("event", "a"))[0] += 2
    other.series(("event", "a"))[0] += 3
    other.series(("request", "compute", "€"), 3)[1] += 0.5
    assert of_all(one) == of_all(other)
    assert of_all(one) == [("event a", [2.0]), ("event a", [3.0]), ("request compute €", [0.0, 0.5, 0.0])]


def test_the_worker_started_anew_goes_on_from_what_the_dead_one_counted():
    board = Board(2)
    board.tallies(1).series(("event", "a"))[0] += 3
    again = board.tallies(1)
    again.series(("event", "a"))[0] += 1
    again.series(("event", "b"))[0] += 1
    assert of_all(again) == [("event a", [4.0]), ("event b", [1.0])]


def test_gauges_that_are_not_given_again_or_whose_worker_is_gone_have_no_value():
    board = Board()
    tallies = board.tallies(0)
    tallies.gauge("up", {("paris",): 1.0, ("tokyo",): 0.0})
    tallies.gauge("up", {("tokyo",): 1.0})
    assert [(key[1], values[0]) for key, values in tallies.of_all() if not math.isnan(values[0])] == [
        ("tokyo", 1.0)
    ]
    tallies.series(("event", "a"))[0] += 1
    board.tallies(0).clear("up")
    assert [key for key, values in tallies.of_all() if not math.isnan(values[0])] == [("event", "a")]


def test_a_full_region_is_told_and_the_rest_is_as_it_was(log_lines):
    board = Board(2)
    tallies = board.tallies(0)
    for number in range(REGION_BYTES // 32):
        tallies.series(("event", f"{number:08}"))[0] += 1
    assert [line["event"] for line in log_lines] == ["metrics_full"]
    kept = of_all(tallies)
    assert 0 < len(kept) < REGION_BYTES // 32
    assert {values[0] for _, values in kept} == {1.0}
    assert list(board.tallies(1).series(("event", "a"))) == [0.0]
