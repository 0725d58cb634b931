"""The journal: every reading, on disk as it is made, so that a crash loses at most the one in flight.

An SQLite file in write-ahead mode. Tables are built from it, and the same command again goes on from it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.closing import Closing
from netdyno.base.database import SIDE_FILES, open_database, trouble
from netdyno.base.errors import InputError
from netdyno.base.files import make_folder
from netdyno.profiler.energy import Window

SCHEMA = 2
AT_ONCE = 4096
"""Visits that are read together: an array for each would take longer to make than to read."""
LONGEST_NS = 86_400 * 10**9
"""A day: no inference takes longer."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS visit (
    candidate TEXT NOT NULL, start INTEGER NOT NULL, round INTEGER NOT NULL, latency_ns BLOB NOT NULL,
    PRIMARY KEY (candidate, start, round)
);
CREATE TABLE IF NOT EXISTS memory (candidate TEXT PRIMARY KEY, bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS failure (candidate TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS energy (
    candidate TEXT NOT NULL, gross_mj REAL NOT NULL, idle_w REAL NOT NULL, seconds REAL NOT NULL,
    inferences INTEGER NOT NULL, flag TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS flag (start INTEGER NOT NULL, round INTEGER NOT NULL, reason TEXT NOT NULL);
"""
_VISITS = "SELECT candidate, start, round, latency_ns, rowid FROM visit ORDER BY start, round, rowid"
# SQLite keeps whatever a foreign hand put into a column, of any type.
_MALFORMED = """
SELECT candidate FROM visit WHERE typeof(candidate) != 'text' OR typeof(latency_ns) != 'blob'
    OR length(latency_ns) = 0 OR length(latency_ns) % 8 OR typeof(start) != 'integer' OR start NOT BETWEEN 1 AND 1e9
    OR typeof(round) != 'integer' OR round NOT BETWEEN 1 AND 1e9
UNION ALL SELECT candidate FROM memory WHERE typeof(candidate) != 'text' OR typeof(bytes) != 'integer'
UNION ALL SELECT candidate FROM failure WHERE typeof(candidate) != 'text' OR typeof(reason) != 'text'
UNION ALL SELECT candidate FROM energy WHERE typeof(candidate) != 'text' OR typeof(gross_mj) != 'real'
    OR typeof(idle_w) != 'real' OR typeof(seconds) != 'real' OR seconds <= 0
    OR typeof(inferences) != 'integer' OR inferences NOT BETWEEN 1 AND 1e12 OR typeof(flag) != 'text'
UNION ALL SELECT reason FROM flag WHERE typeof(reason) != 'text' OR typeof(start) != 'integer'
    OR typeof(round) != 'integer'
"""


@dataclass(frozen=True, slots=True)
class Visit:
    """What one candidate took in one round of one process start; ``flag`` says why not to trust it, if so.

    Visits of a run follow each other by ``turn``; ``slowdown`` is how many times as slow as usual the device was.
    """

    start: int
    round: int
    latency_ms: NDArray[np.float64]
    flag: str = ""
    turn: int = 0
    slowdown: float = 1.0


def _are_plausible(latency_ns: NDArray[np.int64], ends: NDArray[np.int64]) -> bool:
    """True where visits' latencies are such as a clock tells: of a coarse one some may be 0, never all of one."""
    longest = np.maximum.reduceat(latency_ns, np.concatenate([[0], ends[:-1]]))
    return bool(latency_ns.min() >= 0 and longest.min() > 0 and longest.max() <= LONGEST_NS)


class Journal(Closing):
    """The readings of one profiling run, in memory alone without a ``path``; a context manager.

    ``conditions`` say what is measured and how: a journal of other conditions is never continued.

    Raises:
        InputError: the file is no journal, belongs to other conditions, or the folder cannot be written.
    """

    def __init__(self, path: Path | None, conditions: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.path = path
        if path is not None:
            make_folder(path.parent)
        with self._errors():
            if fresh and path is not None:
                for suffix in SIDE_FILES:
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._database = open_database(path, _SCHEMA, SCHEMA)
        try:
            self._require_plausible()
            self._claim(json.dumps(conditions, sort_keys=True))
        except InputError:
            self.close()
            raise
        ((last_start,),) = self._rows("SELECT COALESCE(MAX(start), 0) FROM visit NOT INDEXED")
        self.start = 1 + int(last_start)

    def _require_plausible(self) -> None:
        """Refuse contents that no run wrote: cells of other types, times that nothing takes."""
        malformed = next(self._rows(_MALFORMED), None) is not None
        if malformed or not all(_are_plausible(*visits) for _, *visits in self._visits()):
            raise InputError(f"{self.path}: cannot be used as a journal: it holds rows that no run wrote")

    def _claim(self, conditions: str) -> None:
        """Bind the journal to its conditions, or refuse those of another run."""
        known = list(self._rows("SELECT value FROM run WHERE name = 'conditions'"))
        if not known:
            self._write("INSERT INTO run VALUES ('conditions', ?)", conditions)
        elif known[0][0] != conditions:
            raise InputError(
                f"{self.path}: holds readings of another run; choose another --out, or --fresh to discard them"
            )

    # Writing -----------------------------------------------------------------------------------------------

    def visit(self, candidate: str, round: int, latency_ns: NDArray[np.int64]) -> None:
        """Record one visit's latencies."""
        blob = latency_ns.astype("<i8").tobytes()
        self._write("INSERT OR REPLACE INTO visit VALUES (?, ?, ?, ?)", candidate, self.start, round, blob)

    def memory(self, candidate: str, peak_bytes: int) -> None:
        """Record a candidate's peak memory."""
        self._write("INSERT OR REPLACE INTO memory VALUES (?, ?)", candidate, peak_bytes)

    def energy(self, candidate: str, window: Window) -> None:
        """Record what a candidate drew in one window."""
        values = (float(window.gross_mj), float(window.idle_w), float(window.seconds))
        row = (candidate, *values, window.inferences, window.flag)
        self._write("INSERT INTO energy VALUES (?, ?, ?, ?, ?, ?)", *row)

    def failure(self, candidate: str, reason: str) -> None:
        """Record that a candidate could not be measured, and why."""
        self._write("INSERT INTO failure VALUES (?, ?)", candidate, reason)

    def flag(self, start: int, round: int, reason: str) -> None:
        """Record that the device was not itself during a round of a process start."""
        self._write("INSERT INTO flag VALUES (?, ?, ?)", start, round, reason)

    # Reading -----------------------------------------------------------------------------------------------

    def visits(self) -> dict[str, list[Visit]]:
        """What was taken of each candidate, in the order it was."""
        flags = self.flags()
        found: dict[str, list[Visit]] = {}
        for rows, latency_ns, ends in self._visits():
            latency_ms, first = latency_ns / 1e6, 0
            for (candidate, start, number, _, turn), end in zip(rows, ends.tolist(), strict=True):
                visit = Visit(start, number, latency_ms[first:end], flags.get((start, number), ""), turn)
                found.setdefault(candidate, []).append(visit)
                first = end
        return found

    def _visits(self) -> Iterator[tuple[list[tuple[Any, ...]], NDArray[np.int64], NDArray[np.int64]]]:
        """Visits in the order they were made, many at once: rows, all their latencies, and where each one's end."""
        rows = self._rows(_VISITS)
        while batch := list(islice(rows, AT_ONCE)):
            latency_ns = np.frombuffer(b"".join(row[3] for row in batch), "<i8")
            yield batch, latency_ns, np.cumsum([len(row[3]) // 8 for row in batch])

    def flags(self) -> dict[tuple[int, int], str]:
        """Why rounds are not to be trusted, by process start and round."""
        return {(start, number): reason for start, number, reason in self._rows("SELECT * FROM flag")}

    def memories(self) -> dict[str, int]:
        """Peak memory in bytes of each candidate that has it."""
        return dict(self._rows("SELECT candidate, bytes FROM memory"))

    def energies(self) -> dict[str, list[Window]]:
        """The windows in which each candidate's energy was read."""
        found: dict[str, list[Window]] = {}
        for candidate, *values in self._rows("SELECT * FROM energy"):
            found.setdefault(candidate, []).append(Window(*values))
        return found

    def failures(self) -> dict[str, list[str]]:
        """Why candidates could not be measured."""
        found: dict[str, list[str]] = {}
        for candidate, reason in self._rows("SELECT candidate, reason FROM failure"):
            found.setdefault(candidate, []).append(reason)
        return found

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _write(self, statement: str, *values: Any) -> None:
        with self._errors():
            self._database.execute(statement, values)

    def _rows(self, statement: str) -> Iterator[tuple[Any, ...]]:
        with self._errors():
            yield from self._database.execute(statement)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:  # the last comes from names in a damaged file
            raise trouble(self.path, error, "cannot be used as a journal") from error
