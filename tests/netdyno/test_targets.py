"""Identity of a search: another table, or another calibration of the same rows, is another search."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from netdyno.cli.main import run
from netdyno.nas.space import parse_space
from netdyno.profiler.table import DESCRIPTOR, LookupTable, load_table, make_rows
from netdyno.runs import JOURNAL, NETWORKS, forget_search
from netdyno.targets import Targets

SPACE = "ofa-mobilenetv3:width=0.25,resolutions=48,classes=10"
CALIBRATION = {"measured": 1.0, "network": 0.5}


def save(path: Path, **conditions: Any) -> Path:
    """A table whose layers cost their work."""
    rows = {layer.key: {"latency_ms": 0.001 + layer.macs / 1e6} for layer in parse_space(SPACE).vocabulary()}
    LookupTable("t", conditions, make_rows("layer", rows)).save(path)
    return path


def identity(table: Path) -> str:
    return json.dumps(Targets(parse_space(SPACE), table).identity())


def test_what_is_applied_to_a_table_is_of_its_identity(tmp_path: Path) -> None:
    plain = identity(save(tmp_path / "t"))
    found = {plain}
    for conditions in (
        {"constant_ms": 1.0},
        {"constant_ms": 2.0},
        {"calibration": {"latency_ms": CALIBRATION}},
        {"calibration": {"latency_ms": CALIBRATION | {"network": 0.75}}},
    ):
        found.add(identity(save(tmp_path / "t", **conditions)))
    assert len(found) == 5
    assert identity(save(tmp_path / "t", constant_ms=0.0, subject="another", versions={"runtime": "2"})) == plain


def search(folder: Path, *words: str) -> int:
    asked = ["search", SPACE, "--table", str(folder / "t"), "--objective", "latency", "--objective", "macs"]
    return run([*asked, "--evaluations", "300", "--out", str(folder / "r"), *words])


def test_a_recalibrated_table_resumes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def front() -> str:
        return (tmp_path / "r/front.csv").read_text()

    save(tmp_path / "t")
    assert search(tmp_path) == 0
    first = front()
    assert search(tmp_path) == 0 and front() == first, "it resumes"
    save(tmp_path / "t", constant_ms=5.0)
    capsys.readouterr()
    assert search(tmp_path) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "--fresh" in told
    assert search(tmp_path, "--fresh") == 0 and front() != first
    assert load_table(tmp_path / "t").conditions == {"constant_ms": 5.0}


def test_a_journal_of_before_resumes_where_nothing_is_applied(tmp_path: Path) -> None:
    """Identities of tables without calibration and constant are what they were."""
    save(tmp_path / "t")
    assert set(Targets(parse_space(SPACE), tmp_path / "t").identity()) == {"sources"}
    assert search(tmp_path) == 0
    with closing(sqlite3.connect(tmp_path / "r" / JOURNAL)) as database:
        (text,) = database.execute("SELECT identity FROM search").fetchone()
    assert "applied" not in text and DESCRIPTOR not in text


def test_forgetting_deletes_what_a_search_goes_on_from(tmp_path: Path) -> None:
    kept = [tmp_path / "front.csv", tmp_path / NETWORKS / "notes/mine.txt", tmp_path / "networks.txt"]
    gone = [tmp_path / JOURNAL, tmp_path / f"{JOURNAL}-wal", tmp_path / NETWORKS / "0 1 2/network.json"]
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    forget_search(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone) and not gone[-1].parent.exists()
    (tmp_path / NETWORKS / "notes/mine.txt").unlink()
    (tmp_path / NETWORKS / "notes").rmdir()
    forget_search(tmp_path)
    assert not (tmp_path / NETWORKS).exists()


def test_forgetting_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "other/0 1").mkdir(parents=True)
    (tmp_path / "other/0 1/network.json").write_text("{}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NETWORKS).symlink_to(tmp_path / "other")
    forget_search(tmp_path / "run")
    assert (tmp_path / "other/0 1/network.json").exists()


def test_fresh_trains_again(few_images: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="trains networks: needs the extra train")
    words = ["search", "cnn-mnist:resolution=12,width=0.1", "--objective", "accuracy", "--objective", "params"]
    words += ["--accuracy", "train:steps=2,batch=8", "--method", "random", "--evaluations", "2", "--data", few_images]

    def trained() -> dict[str, int]:
        return {
            path.parent.name: path.stat().st_mtime_ns for path in (tmp_path / "r/networks").glob("*/network.json")
        }

    assert run([*words, "--out", str(tmp_path / "r")]) == 0
    first = trained()
    assert run([*words, "--out", str(tmp_path / "r")]) == 0
    assert len(first) == 2 and trained() == first
    assert run([*words, "--out", str(tmp_path / "r"), "--fresh", "--seed", "1"]) == 0
    assert not first.items() & trained().items()
