"""A search's journal lets go of its file when it refuses it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from netdyno.base.errors import InputError
from netdyno.base.objective import Constraint, Objective
from netdyno.nas.search import search
from netdyno.nas.search.problem import Problem
from netdyno.nas.space import Population
from netdyno.nas.spaces.nasbench201 import NasBench201

SPACE = NasBench201()
OBJECTIVES = [Objective("genes", lambda X: X.sum(axis=1).astype(float))]


def open_files() -> list[str]:
    return [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


def _of_another(path: Path) -> None:
    search(SPACE, OBJECTIVES, "random", 50, seed=1, journal=path)


def _damaged(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + bytes(4096))


def _not_finite(path: Path) -> None:
    search(SPACE, OBJECTIVES, "random", 50, seed=0, journal=path)
    with closing(sqlite3.connect(path)) as database, database:
        (scores,) = database.execute("SELECT scores FROM batch LIMIT 1").fetchone()
        database.execute("PRAGMA user_version=1")  # without the checksums of later versions
        database.execute("UPDATE batch SET scores = ?", (np.full(len(scores) // 8, np.nan).tobytes(),))


def _of_no_space(path: Path) -> None:
    search(SPACE, OBJECTIVES, "random", 50, seed=0, journal=path)
    with closing(sqlite3.connect(path)) as database, database:
        (genes,) = database.execute("SELECT genes FROM batch LIMIT 1").fetchone()
        database.execute("PRAGMA user_version=1")
        database.execute("UPDATE batch SET genes = ?", (b"\xff" * len(genes),))


@pytest.mark.parametrize("spoil", [_of_another, _damaged, _not_finite, _of_no_space])
def test_a_journal_that_refuses_is_closed(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    spoil(path)
    with pytest.raises(InputError) as caught:
        search(SPACE, OBJECTIVES, "random", 50, seed=0, journal=path)
    assert caught.value.__traceback__ is not None, "what was opened is still referred to"
    assert not [file for file in open_files() if file.startswith(str(path))]


def test_the_nearest_architecture_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    feasible = Problem.feasible

    def counted(self: Problem, seed: int) -> Population:
        looked.append(seed)
        return feasible(self, seed)

    monkeypatch.setattr(Problem, "feasible", counted)
    limit = Constraint("last", lambda X: X[:, -1].astype(float), 1.0)
    front = search(SPACE, OBJECTIVES, "ofa", 200, seed=3, constraints=[limit], population=20)
    assert looked == [3] and (front.X[:, -1] <= 1).all()
    for given in (None, front.X):
        looked.clear()
        search(SPACE, OBJECTIVES, "ofa", 100, seed=4, start=given, constraints=[limit], population=20)
        assert looked == [4]
