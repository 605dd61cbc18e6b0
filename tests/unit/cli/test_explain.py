"""`atoll explain`: where it reads, what it says when there is nothing to say, and how it draws."""

import bz2
import gzip
import io
import json
import lzma
import os
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from atoll.cli.explain import explain
from atoll.cli.log_files import Logs, lines_backwards, lines_with, rotated

ROOT = "req-00000000-0000-4000-a000-"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def ident(number: int) -> str:
    return f"{ROOT}{number:012}"


def lines_of(number: int, at: float, **more: Any) -> str:
    """Both lines of a request that began `at` seconds; its site's id of it is 1000 more."""
    both = [
        {
            "time": at + 0.005, "event": "site_answered", "request_id": ident(number), "service": "compute",
            "method": "GET", "path": "/v2.1/servers/8f2a", "status": 200, "ms": 4.0, "site": "paris",
            "site_request_id": ident(number + 1000),
        },
        {
            "time": at + 0.006, "event": "request_answered", "request_id": ident(number),
            "service": "compute", "method": "GET", "path": "/compute/v2.1/servers/8f2a", "status": 200,
            "ms": 6.0, "project_id": "p", "user_id": "u", "client": "127.0.0.1:9", "sites": ["paris"],
        } | more,
    ]  # fmt: skip
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in both)


def run(*words: str, stdin: bytes | None = None):
    return CliRunner().invoke(explain, words, input=stdin)


def status_of(*words: str, stdin: bytes | None = None) -> tuple[int, str]:
    done = run(*words, stdin=stdin)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "access.log"
    path.write_text("".join(lines_of(n, 100.0 + n) for n in range(20)))
    return path


def configuration(tmp_path, access_log: str):
    path = tmp_path / "atoll.toml"
    path.write_text(
        f'[gateway]\nlisten = "127.0.0.1:8774"\naccess_log = "{access_log}"\n'
        '[identity]\nauth_url = "http://127.0.0.1:5000/v3"\n'
        '[sites.paris]\nregion = "paris"\n[sites.paris.endpoints]\ncompute = "http://127.0.0.1:8775/v2.1"\n'
    )
    return str(path)


# -- lines --------------------------------------------------------------------------------------------

LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"x")), max_size=12)


@given(LINES, st.sampled_from([b"x", b"ab", b"\x00", b"xx"]), st.integers(1, 40), st.booleans())
def test_lines_are_found_whatever_the_blocks(lines, needle, block, ends):
    text = b"\n".join(lines) + (b"\n" if ends else b"")
    expected = [line for line in text.split(b"\n") if needle in line]
    assert list(lines_with(io.BytesIO(text), needle, block)) == expected
    assert list(lines_backwards(io.BytesIO(text), needle, block)) == expected[::-1]


def test_rotated_parts_of_a_log_come_newest_first(tmp_path):
    names = ["access.log", "access.log.1", "access.log.2.gz", "access.log-20261120.xz"]
    other = ["access.log.old", "access.logs", "other-access.log.1", "access.log.3.zst"]
    for age, name in enumerate([*names, *other]):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert [path.name for path in rotated(tmp_path / "access.log")] == names


def test_a_file_is_read_once_however_it_is_named(tmp_path, log):
    (tmp_path / "access.log.1").write_text("")
    with Logs([log, tmp_path / "access.log.1", log]) as logs:
        assert [path.name for path in logs.files] == ["access.log", "access.log.1"]


# -- where it reads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [7, 1007])
def test_either_id_leads_to_the_request(log, number):
    status, text = status_of("--log", str(log), "-f", "json", ident(number))
    assert status == 0
    (one,) = json.loads(text)
    assert (one["request_id"], one["calls"][0]["site_request_id"]) == (ident(7), ident(1007))


def test_an_error_message_is_taken_for_the_id_in_it(log):
    message = f"No server with a name or ID of '8f2a' exists. (HTTP 404) (Request-ID: {ident(1007)})"
    assert status_of("--log", str(log), message)[0] == 0


@pytest.mark.parametrize("suffix", ["", *PACKERS])
def test_a_request_is_found_in_rotated_logs(tmp_path, suffix):
    """Its end is in the newest file, its call out in the one before: the log was rotated between them."""
    first, second = lines_of(5, 100.0).splitlines(keepends=True)
    older = (lines_of(1, 10.0) + first).encode()
    (tmp_path / f"access.log.1{suffix}").write_bytes(PACKERS.get(suffix, bytes)(older))
    (tmp_path / "access.log").write_text(second + lines_of(6, 200.0))
    log = str(tmp_path / "access.log")
    status, text = status_of("--log", log, "-f", "json", ident(5))
    assert status == 0
    assert [call["site"] for call in json.loads(text)[0]["calls"]] == ["paris"]
    assert status_of("--log", log, ident(1))[0] == 0
    status, text = status_of("--log", log, "--last", "2", "-f", "json")
    assert [row["request_id"] for row in json.loads(text)] == [ident(5), ident(6)]
    status, text = status_of("--log", log, "--last", "9", "-f", "json")
    assert [row["request_id"] for row in json.loads(text)] == [ident(1), ident(5), ident(6)]


def test_older_parts_are_left_alone_where_the_request_began_later(tmp_path, log):
    (tmp_path / "access.log.1.gz").write_bytes(b"this is not gzip")
    os.utime(tmp_path / "access.log.1.gz", (1, 1))
    assert status_of("--log", str(log), ident(7))[0] == 0
    status, text = status_of("--log", str(log), ident(99))
    assert status == 2
    assert "access.log.1.gz" in text


def test_several_gateways_logs(tmp_path, log):
    other = tmp_path / "second.log"
    other.write_text(lines_of(77, 500.0))
    words = ("--log", str(log), "--log", str(other))
    assert status_of(*words, ident(7))[0] == status_of(*words, ident(77))[0] == 0
    _, text = status_of(*words, "--last", "2", "-f", "json")
    assert [row["request_id"] for row in json.loads(text)] == [ident(19), ident(77)]


@pytest.mark.parametrize("number", [7, 1007])
def test_standard_input_as_the_journal_gives_it(log, number):
    journal = b"".join(
        b"Nov 21 10:00:00 host atoll[1]: " + line for line in log.read_bytes().splitlines(True)
    )
    status, text = status_of("--log", "-", ident(number), stdin=journal)
    assert status == 0
    assert ident(7) in text
    assert status_of("--log", "-", "--last", stdin=journal)[0] == 0


def test_the_log_that_the_configuration_names(tmp_path, log):
    config = configuration(tmp_path, str(log))
    assert status_of("--config", config, ident(7))[0] == 0


# -- nothing to say -----------------------------------------------------------------------------------


def test_an_id_that_is_not_there(log):
    status, text = status_of("--log", str(log), ident(99))
    assert status == 1
    assert f"{ident(99)} is not in {log}" in text


@pytest.mark.parametrize("word", ["8f2a", "req-1", "", ident(7) + "0", "tx0000"])
def test_what_is_no_request_id(log, word):
    status, text = status_of("--log", str(log), word)
    assert status == 2
    assert "is no request id" in text


@pytest.mark.parametrize(
    ("access_log", "said"),
    [
        ("stdout", "The access log goes to standard output"),
        ("none", "No access log is written"),
        ("gone.log", "gone.log: No such file or directory"),
    ],
)
def test_no_log_to_read(tmp_path, access_log, said):
    status, text = status_of("--config", configuration(tmp_path, access_log), ident(7))
    assert status == 2
    assert said in text


def test_neither_a_configuration_nor_a_log(tmp_path):
    status, text = status_of("--config", str(tmp_path / "none.toml"), ident(7))
    assert status == 2
    assert "--log FILE" in text


@pytest.mark.parametrize("words", [(), (ident(7), "--last"), (ident(7), "--failed"), ("--with", "x")])
def test_words_that_contradict(log, words):
    assert status_of("--log", str(log), *words)[0] == 2


# -- the last ones ------------------------------------------------------------------------------------


def test_the_last_that_failed(tmp_path):
    log = tmp_path / "access.log"
    kinds: list[dict[str, Any]] = [{"status": status} for status in (200, 404, 429, 499, 503)]
    kinds.append({"missing": {"rome": "it did not answer"}})
    log.write_text("".join(lines_of(n, 100.0 + n, **more) for n, more in enumerate(kinds)))
    status, text = status_of("--log", str(log), "--last", "--failed", "-f", "json")
    assert status == 0
    assert [row["request_id"] for row in json.loads(text)] == [ident(n) for n in (2, 3, 4, 5)]
    assert json.loads(text)[-1]["missing"] == ["rome"]
    status, text = status_of("--log", str(log), "--last", "2")
    assert ident(4) in text
    assert ident(3) not in text
    assert "No such request" in status_of("--log", str(log), "--last", "--with", "nothing has this")[1]


def test_probes_are_listed_only_where_they_failed(tmp_path):
    log = tmp_path / "access.log"
    kinds: list[dict[str, Any]] = [
        {"path": "/healthz"},
        {},
        {"path": "/readyz", "status": 503},
        {"path": "/metrics"},
    ]
    log.write_text("".join(lines_of(n, 100.0 + n, **more) for n, more in enumerate(kinds)))
    rows = json.loads(status_of("--log", str(log), "--last", "-f", "json")[1])
    assert [row["request_id"] for row in rows] == [ident(1), ident(2)]


# -- how it draws -------------------------------------------------------------------------------------


def test_a_list_over_many_sites_is_drawn_short(tmp_path):
    log = tmp_path / "access.log"
    first, second = (json.loads(line) for line in lines_of(1, 100.0).splitlines())
    many = [
        first
        | {"site": f"s{n:03}", "time": 100.0 + n / 1000, "ms": float(n), "status": 503 if n == 3 else 200}
        for n in range(1, 101)
    ]
    log.write_text(
        "".join(json.dumps(line) + "\n" for line in [*many, second | {"time": 100.2, "ms": 200.0}])
    )
    status, text = status_of("--log", str(log), ident(1))
    assert status == 0
    drawn = [line for line in text.splitlines() if line.startswith("s") and line.endswith("|")]
    assert [line.split()[0] for line in drawn] == ["s003", *(f"s{n:03}" for n in range(91, 101))]
    assert "and 89 more that answered, in 1.0 to 90.0 ms: --all shows them" in text
    assert status_of("--log", str(log), "--all", ident(1))[1].count("|\n") == 100


def test_bars_stand_where_the_time_went(tmp_path):
    log = tmp_path / "access.log"
    first, second = (json.loads(line) for line in lines_of(1, 100.0).splitlines())
    early, late = first | {"time": 100.05, "ms": 50.0}, first | {"time": 100.1, "ms": 50.0, "site": "rome"}
    log.write_text(
        "".join(json.dumps(line) + "\n" for line in (early, late, second | {"time": 100.1, "ms": 100.0}))
    )
    text = status_of("--log", str(log), ident(1))[1]
    bars = {line.split()[0]: line[line.index("8f2a") :] for line in text.splitlines() if line.endswith("|")}
    half = bars["paris"].count("█")
    assert half == bars["rome"].count("█") > 0
    assert bars["paris"].rstrip("|").endswith(" " * half)
    assert bars["rome"].endswith("█|")


def test_nothing_in_a_log_moves_the_cursor(tmp_path):
    log = tmp_path / "access.log"
    log.write_text(
        lines_of(1, 100.0, path="/compute/v2.1/\x9b2J\x1b[2J", fault="conflict", message="\x1b]0;x\x07")
    )
    text = status_of("--log", str(log), ident(1))[1]
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "\\x1b[2J" in text


def test_a_request_whose_end_is_not_there(tmp_path):
    log = tmp_path / "access.log"
    log.write_text(lines_of(1, 100.0).splitlines(keepends=True)[0])
    status, text = status_of("--log", str(log), ident(1))
    assert status == 0
    assert "no line of its end" in text
    assert "paris" in text


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/compute/v2.1/servers/8f2a", "compute servers/{id} (server, placed)"),
        ("GET", f"/compute/v2.1/{'a' * 32}/servers/8f2a", "compute servers/{id} (server, placed)"),
        ("DELETE", "/compute/v2.1/os-keypairs/k", "it is carried to every site that has it"),
        ("GET", "/compute/v2.1/", "what versions there are"),
        ("GET", "/compute/v2.1/never/heard/of", "it is in no table"),
    ],
)
def test_the_route_is_found_as_the_gateway_finds_it(tmp_path, method, path, route):
    log = tmp_path / "access.log"
    log.write_text(lines_of(1, 100.0, method=method, path=path))
    assert route in status_of("--log", str(log), ident(1))[1]
