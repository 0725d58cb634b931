from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.profiler.journal import Journal

pytestmark = pytest.mark.alone

Refuses = Callable[[Callable[[], object]], str]
Survives = Callable[[Callable[[], object]], None]

CONDITIONS = {"device": "cpu", "threads": 1}
WRITER = (
    "import sys, numpy as np; from pathlib import Path; from netdyno.profiler.journal import Journal\n"
    "with Journal(Path(sys.argv[1]), {'device': 'cpu', 'threads': 1}) as journal:\n"
    "    round = 0\n"
    "    while True:\n"
    "        round += 1\n"
    "        journal.visit('a', round, np.array([round, round + 1]))\n"
    "        print(round, flush=True)\n"
)


def _ns(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "journal.sqlite"


def test_what_is_written_is_read(path: Path) -> None:
    with Journal(path, CONDITIONS) as journal:
        assert journal.start == 1
        journal.visit("b", 2, _ns(3_000_000))
        journal.visit("b", 1, _ns(1_000_000, 2_500_000))
        journal.visit("a", 1, _ns(7))
        journal.memory("a", 4096)
        journal.failure("c", "died")
        journal.failure("c", "died again")
        assert {name: [list(v.latency_ms) for v in visits] for name, visits in journal.visits().items()} == {
            "a": [[7e-6]],
            "b": [[1.0, 2.5], [3.0]],
        }
        assert [(v.start, v.round) for v in journal.visits()["b"]] == [(1, 1), (1, 2)]
        assert journal.memories() == {"a": 4096}
        assert journal.failures() == {"c": ["died", "died again"]}


def test_a_flag_is_on_every_visit_of_its_round_and_start(path: Path) -> None:
    for start in (1, 2):
        with Journal(path, CONDITIONS) as journal:
            for number in (1, 2):
                journal.visit("a", number, _ns(1))
                journal.visit("b", number, _ns(1))
            if start == 2:
                journal.flag(start, 1, "throttled by heat")
            flagged = {
                (name, v.start, v.round): v.flag for name, own in journal.visits().items() for v in own if v.flag
            }
    assert flagged == {("a", 2, 1): "throttled by heat", ("b", 2, 1): "throttled by heat"}


def test_the_same_conditions_go_on_as_another_start(path: Path) -> None:
    for start in (1, 2, 3):
        with Journal(path, dict(reversed(CONDITIONS.items()))) as journal:
            assert journal.start == start
            journal.visit("a", 1, _ns(start))
            visits = journal.visits()["a"]
            assert [(v.start, int(v.latency_ms[0] * 1e6 + 0.5)) for v in visits] == [
                (each, each) for each in range(1, start + 1)
            ]


def test_other_conditions_are_refused_and_nothing_is_lost(path: Path, refuses: Refuses) -> None:
    with Journal(path, CONDITIONS) as journal:
        journal.visit("a", 1, _ns(1))
    message = refuses(lambda: Journal(path, {**CONDITIONS, "threads": 2}))
    assert "--fresh" in message and str(path) in message
    with Journal(path, CONDITIONS) as journal:
        assert list(journal.visits()) == ["a"]


def test_fresh_discards(path: Path) -> None:
    with Journal(path, CONDITIONS) as journal:
        journal.visit("a", 1, _ns(1))
    with Journal(path, {"other": 1}, fresh=True) as journal:
        assert (journal.visits(), journal.start) == ({}, 1)


def test_fresh_leaves_other_files(path: Path) -> None:
    path.parent.mkdir()
    (path.parent / "notes").write_text("x")
    Journal(path, CONDITIONS, fresh=True).close()
    assert (path.parent / "notes").exists()


def test_kill_9_loses_nothing_that_was_acknowledged(path: Path) -> None:
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(50):
                writer.stdout.readline()
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged = 50 + len(writer.stdout.read().splitlines())
        assert writer.returncode == -signal.SIGKILL
        with Journal(path, CONDITIONS) as journal:
            every = journal.visits()["a"]
            visits = [visit.latency_ms for visit in every[-acknowledged - 1 :]]
            starts = len({visit.start for visit in every})
        first = [round(float(visit[0]) * 1e6) for visit in visits]
        first = first[first.index(1) :] if 1 in first else first
        assert len(first) in (acknowledged, acknowledged + 1), "at most the one in flight may differ"
        assert first == list(range(1, len(first) + 1))
        assert all(len(visit) == 2 for visit in visits)
    assert starts == 2


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be taken for one" * 20, b"SQLite format 3\0"]
)
def test_what_is_no_journal(content: bytes, path: Path, refuses: Refuses) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert str(path) in refuses(lambda: Journal(path, CONDITIONS))
    with Journal(path, CONDITIONS, fresh=True) as journal:
        assert journal.start == 1


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO visit VALUES ('a', 'one', 1, x'0000000000000000')",
        "INSERT INTO visit VALUES ('a', 9223372036854775807, 1, x'0000000000000000')",
        "INSERT INTO visit VALUES ('a', 1, 1, x'00')",
        "INSERT INTO visit VALUES ('a', 1, 1, x'')",
        "INSERT INTO visit VALUES ('a', 1, 1, 'text')",
        "INSERT INTO visit VALUES ('a', 1, 1, x'0000000000000000')",
        "INSERT INTO visit VALUES ('a', 1, 1, x'00000000000000000000000000000000')",
        "INSERT INTO visit VALUES ('a', 1, 1, x'ffffffffffffff7f')",
        "INSERT INTO visit VALUES ('a', 1, 1, x'0100000000000000ffffffffffffff7f')",
        "INSERT INTO visit VALUES ('a', 1, 1, x'0100000000000000ffffffffffffffff')",
        "PRAGMA user_version=99",
        "INSERT INTO visit VALUES (x'ff', 1, 1, x'0000000000000000')",
        "INSERT INTO memory VALUES ('a', 'much')",
        "INSERT INTO visit VALUES ('a', 1, 0, x'0000000000000000')",
        "INSERT INTO failure VALUES ('a', x'00')",
        "INSERT INTO flag VALUES ('one', 1, 'hot')",
        "INSERT INTO flag VALUES (1, 1, x'00')",
        "DROP TABLE visit; CREATE TABLE visit (a, b)",
        "DROP TABLE run; CREATE TABLE run (a, b)",
    ],
)
def test_rows_that_no_run_wrote(statement: str, path: Path, refuses: Refuses) -> None:
    Journal(path, CONDITIONS).close()
    database = sqlite3.connect(path)
    database.executescript(f"PRAGMA user_version=1; {statement}")  # without the checksums of later versions
    database.commit()
    database.close()
    refuses(lambda: Journal(path, CONDITIONS))


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files(data: st.DataObject, tmp_path: Path, survives: Survives) -> None:
    path = tmp_path / "journal.sqlite"

    def read() -> None:
        with Journal(path, CONDITIONS) as journal:
            journal.visits(), journal.memories(), journal.failures(), journal.flags()

    template = tmp_path / "template.sqlite"
    if not template.exists():
        with Journal(template, CONDITIONS) as journal:
            for visit in range(1, 21):
                journal.visit("a", visit, _ns(*range(1, 50)))
                journal.flag(1, visit, "hot")
    for leftover in tmp_path.glob("journal.sqlite*"):
        leftover.unlink(missing_ok=True)
    content = bytearray(template.read_bytes())
    at = st.integers(0, 200) | st.integers(0, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(at)] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(1, len(content)))])
    survives(read)


def test_a_coarse_clock_tells_zero_now_and_then(path: Path) -> None:
    with Journal(path, CONDITIONS) as journal:
        journal.visit("a", 1, _ns(0, 1000, 0))
    with Journal(path, CONDITIONS) as journal:
        assert list(journal.visits()["a"][0].latency_ms) == [0, 1e-3, 0]


def test_a_folder_in_the_way(path: Path, refuses: Refuses) -> None:
    path.mkdir(parents=True)
    refuses(lambda: Journal(path, CONDITIONS))
    refuses(lambda: Journal(path, CONDITIONS, fresh=True))
