"""Every evaluation of a search in the order in which it was asked for, in a SQLite file that survives a kill."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from netdyno.base.database import open_database, trouble
from netdyno.base.errors import InputError
from netdyno.nas.search.problem import Problem, Scores
from netdyno.nas.space import Population

_COMMIT_S = 0.5
"""What is evaluated within this time is evaluated again after a kill; whatever takes longer is kept at once."""
SCHEMA = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS search (identity TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS batch (
    number INTEGER PRIMARY KEY, genes BLOB NOT NULL, scores BLOB NOT NULL, elapsed_s REAL NOT NULL
);
"""
_SPENT = "SELECT COALESCE(MAX(elapsed_s), 0.0) FROM batch"


class Journal:
    """The evaluations of one search, which ``identity`` tells from others; close it, or use it in a ``with`` block.

    ``spent_s`` is how long the search had taken when this was opened.

    Raises:
        InputError: the file is of another search, damaged, or cannot be written.
    """

    def __init__(self, path: Path, problem: Problem, identity: Mapping[str, Any]) -> None:
        self._path = path
        self._genes = len(problem.space.cardinalities)
        self._columns = len(problem.objectives) + 1
        self._committed = self._began = time.monotonic()
        with ExitStack() as refused:
            try:
                self._database = open_database(path, _SCHEMA, SCHEMA)
                refused.callback(self._database.close)
                self._require(json.dumps(identity, sort_keys=True, default=str))
                self._X, self._scores = self._read(problem)
                (self.spent_s,) = self._database.execute(_SPENT).fetchone()
                if not (isinstance(self.spent_s, float) and self.spent_s >= 0):
                    raise ValueError("times that are none")
            except (sqlite3.Error, ValueError, TypeError) as error:  # SQLite keeps values of any type in any column
                raise trouble(path, error, "not the journal of a search") from error
            refused.pop_all()
        self._told = 0
        self._position: dict[bytes, int] | None = None

    def knows(self, X: Population) -> bool:
        """Whether all that is asked for stands there, in the order in which it was asked for before."""
        end = self._told + len(X)
        return self._position is None and end <= len(self._X) and np.array_equal(X, self._X[self._told : end])

    def scores(self, X: Population, problem: Problem) -> Scores:
        """Scores of ``X (n, genes)``: those that are known, and new ones, which are kept."""
        if self.knows(X):
            known = self._scores[self._told : self._told + len(X)]
            self._told += len(X)
            return Scores(known[:, :-1], known[:, -1])
        return self._look_up(X, problem)

    def _look_up(self, X: Population, problem: Problem) -> Scores:
        """Off the known order, by a longer budget or another processor's rounding: each architecture by itself."""
        if self._position is None:
            self._position = {genes.tobytes(): i for i, genes in enumerate(self._X) if i >= self._told}
        at = np.array([self._position.get(genes.tobytes(), -1) for genes in X], np.int64)
        new = at < 0
        rows = np.empty((len(X), self._columns))
        rows[~new] = self._scores[at[~new]]
        if new.any():
            scores = problem(X[new])
            rows[new] = np.column_stack([scores.F, scores.violation])
            self._keep(X[new], rows[new])
        return Scores(rows[:, :-1], rows[:, -1])

    def _keep(self, X: Population, rows: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        try:
            if not self._database.in_transaction:
                self._database.execute("BEGIN")
            elapsed = self.spent_s + time.monotonic() - self._began
            row = (X.astype("<u2").tobytes(), rows.astype("<f8").tobytes(), elapsed)
            self._database.execute("INSERT INTO batch (genes, scores, elapsed_s) VALUES (?, ?, ?)", row)
            if time.monotonic() > self._committed + _COMMIT_S:
                self._database.execute("COMMIT")
                self._committed = time.monotonic()
        except sqlite3.Error as error:
            raise trouble(self._path, error, "cannot be written") from error

    def _require(self, identity: str) -> None:
        found = self._database.execute("SELECT identity FROM search").fetchone()
        empty = self._database.execute("SELECT 1 FROM batch").fetchone() is None
        if found is None:
            self._database.execute("INSERT INTO search VALUES (?)", (identity,))
        elif empty:
            self._database.execute("UPDATE search SET identity = ?", (identity,))
        elif found[0] != identity:
            raise InputError(
                f"{self._path.parent}: holds another search; choose another folder, or forget it with --fresh"
            )

    def _read(self, problem: Problem) -> tuple[Population, np.ndarray[Any, np.dtype[np.float64]]]:
        genes, scores = [], []
        for own_genes, own_scores in self._database.execute("SELECT genes, scores FROM batch ORDER BY number"):
            X = np.frombuffer(own_genes, "<u2").reshape(-1, self._genes).astype(np.int64)
            rows = np.frombuffer(own_scores, "<f8").reshape(len(X), self._columns)
            if not np.isfinite(rows).all():
                raise ValueError("scores that are not finite")
            genes.append(X)
            scores.append(rows)
        X = np.concatenate([np.empty((0, self._genes), np.int64), *genes])
        return problem.space.check(X), np.concatenate([np.empty((0, self._columns)), *scores])

    def close(self) -> None:
        """Keep what has been evaluated and let go of the file."""
        if self._database.in_transaction:
            self._database.execute("COMMIT")
        self._database.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
