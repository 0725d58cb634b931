from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from netdyno.base.database import SIDE_FILES, open_database

Refuses = Callable[[Callable[[], object]], str]

SCHEMA = "CREATE TABLE IF NOT EXISTS one (a TEXT PRIMARY KEY);\nCREATE TABLE IF NOT EXISTS two (\n    b TEXT\n);"


def _open(path: Path, version: int = 1) -> None:
    open_database(path, SCHEMA, version).close()


def test_a_database_is_made_and_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    _open(path)
    database = open_database(path, SCHEMA, 1)
    database.execute("INSERT INTO one VALUES ('x')")
    database.close()
    _open(path)
    database = sqlite3.connect(path)
    assert list(database.execute("SELECT a FROM one")) == [("x",)]
    assert list(database.execute("PRAGMA user_version")) == [(1,)]


def test_one_of_before_schemas_were_told_goes_on(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "a.sqlite")
    database.execute("CREATE TABLE one (a TEXT PRIMARY KEY)")
    database.close()
    _open(tmp_path / "a.sqlite", 2)


@pytest.mark.parametrize("version", [2, 99, 2**31 - 1])
def test_a_newer_one_is_refused(version: int, tmp_path: Path, refuses: Refuses) -> None:
    _open(tmp_path / "a.sqlite")
    database = sqlite3.connect(tmp_path / "a.sqlite")
    database.execute(f"PRAGMA user_version={version}")
    database.close()
    assert "a newer one wrote it" in refuses(lambda: _open(tmp_path / "a.sqlite"))


@pytest.mark.parametrize("kind", ["pipe", "folder", "/dev/zero", "link to nothing", "link to a good one", "itself"])
@pytest.mark.parametrize("suffix", SIDE_FILES)
def test_nothing_but_regular_files_stands_in_the_way(
    suffix: str, kind: str, tmp_path: Path, refuses: Refuses
) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    run.mkdir()
    outside.mkdir()
    path, place = run / "a.sqlite", run / f"a.sqlite{suffix}"
    _open(outside / "good")
    before = (outside / "good").read_bytes()
    if suffix:
        _open(path)
        place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        targets = {"link to nothing": outside / "new", "link to a good one": outside / "good", "itself": place}
        place.symlink_to(targets.get(kind, Path(kind)))
    refuses(lambda: _open(path))
    assert [file.name for file in outside.iterdir()] == ["good"] and (outside / "good").read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW two AS WITH RECURSIVE n(b) AS (SELECT 1 UNION ALL SELECT b + 1 FROM n) SELECT b FROM n",
        "CREATE TABLE two (b TEXT AS (hex(zeroblob(100000000))))",
        "CREATE TABLE two (b TEXT, c TEXT)",
        "CREATE TABLE three (b TEXT)",
        "CREATE TRIGGER t AFTER INSERT ON one BEGIN DELETE FROM one; END",
        "CREATE INDEX i ON one (lower(a))",
        "CREATE VIRTUAL TABLE two USING fts5(b)",
    ],
)
def test_what_is_not_ours_is_refused_before_it_runs(statement: str, tmp_path: Path, refuses: Refuses) -> None:
    database = sqlite3.connect(tmp_path / "a.sqlite")
    database.execute("CREATE TABLE one (a TEXT PRIMARY KEY)")
    try:
        database.execute(statement)
    except sqlite3.OperationalError:
        pytest.skip("this SQLite knows no such thing")
    database.close()
    assert "not as netdyno makes it" in refuses(lambda: _open(tmp_path / "a.sqlite"))


ROWS = "CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, x REAL NOT NULL, data BLOB);"


def _fill(path: Path) -> None:
    database = open_database(path, ROWS, 2)
    for name, x in (("a", 1), ("b", 0.1), ("a", -2.5), ("c", 7)):
        database.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (name, x, b"\0\1"))
    database.execute("UPDATE kept SET x = x + 1 WHERE name = 'b'")
    database.execute("DELETE FROM kept WHERE name = 'c'")
    database.close()


def test_rows_that_were_written_are_as_their_checksums_say(tmp_path: Path) -> None:
    _fill(tmp_path / "a.sqlite")
    database = open_database(tmp_path / "a.sqlite", ROWS, 2)
    assert list(database.execute("SELECT name, x FROM kept ORDER BY name")) == [("a", -2.5), ("b", 1.1)]
    database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE kept SET x = 2.5 WHERE name = 'a'",
        "UPDATE kept SET data = x'0002'",
        "UPDATE kept SET rowid = 9 WHERE name = 'a'",
        "DELETE FROM kept WHERE name = 'a'",
        "INSERT INTO kept VALUES ('d', 1.0, x'00')",
        "UPDATE checksum SET value = value + 1",
        "UPDATE checksum SET name = 'other'",
        "DELETE FROM checksum",
    ],
)
def test_rows_that_were_changed_since_are_refused(statement: str, tmp_path: Path, refuses: Refuses) -> None:
    path = tmp_path / "a.sqlite"
    _fill(path)
    database = sqlite3.connect(path)
    database.execute(statement)
    database.commit()
    database.close()
    message = refuses(lambda: open_database(path, ROWS, 2).close())
    assert str(path) in message and "--fresh" in message


def test_one_of_an_earlier_version_gets_checksums(tmp_path: Path, refuses: Refuses) -> None:
    path = tmp_path / "a.sqlite"
    database = sqlite3.connect(path)
    database.executescript(ROWS)
    database.executescript("INSERT INTO kept VALUES ('a', 1.0, NULL); PRAGMA user_version=1")
    database.close()
    for _ in range(2):
        open_database(path, ROWS, 2).close()
    database = sqlite3.connect(path)
    database.executescript("UPDATE kept SET x = 2.0")
    database.close()
    refuses(lambda: open_database(path, ROWS, 2).close())
