"""SQLite files that somebody else may have put where ours belong.

SQLite has no checksums of its own, so table ``checksum`` holds for each other table the sum of its rows' CRC-32.
Temporary triggers keep it, in the transaction of each write, and it is checked when the file is opened.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

from netdyno.base.errors import InputError
from netdyno.base.files import is_there, open_regular

SIDE_FILES = ("", "-wal", "-shm", "-journal")
"""Endings that SQLite adds to a database's name while somebody has it open."""
LARGEST_DATABASE = 8 * 2**30
LARGEST_VALUE = 64 * 2**20
"""Bytes of one cell."""
_UNWRITABLE = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk fails, or is full",
    sqlite3.SQLITE_READONLY: "it may only be read",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_BUSY: "another process uses it",
    sqlite3.SQLITE_LOCKED: "another process uses it",
}
"""SQLite's result codes that are about the disk rather than the content."""
_CHECKSUMS = "CREATE TABLE IF NOT EXISTS checksum (name TEXT PRIMARY KEY, value INTEGER NOT NULL);"


def open_database(path: Path | None, schema: str, version: int) -> sqlite3.Connection:
    """A database with the tables of ``schema``, made where they are missing, in write-ahead mode.

    Without a ``path`` it is in memory alone.

    SQLite follows links and creates what they lead to, so nothing but regular files may stand in the way. Views,
    triggers and tables of other columns would be run or fail later: a database holds tables of ``schema`` and no
    others. ``version`` is what this netdyno writes; a database that says none is of version 1. One of an earlier
    version is brought up to it, its rows as they stand.

    Raises:
        InputError: a file that is not regular, a newer netdyno's database, one of other tables, or one whose rows
            were changed since they were written.
        sqlite3.Error: not a database, or one that is damaged.
    """
    files = () if path is None else (path.with_name(path.name + suffix) for suffix in SIDE_FILES)
    for file in files:
        if is_there(file):
            open_regular(file, LARGEST_DATABASE, follow_links=False).close()
    schema += _CHECKSUMS
    database = sqlite3.connect(path or ":memory:", isolation_level=None)
    try:
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
        database.execute("PRAGMA trusted_schema=OFF")
        ((found,),) = database.execute("PRAGMA user_version")
        if found > version:
            raise InputError(
                f"{path}: its schema is {found}, and this netdyno reads up to {version}: a newer one wrote it"
            )
        _require_tables(database, schema, path)
        database.execute("PRAGMA journal_mode=WAL")
        database.executescript(schema)
        database.create_function("row_checksum", -1, _row_checksum, deterministic=True)
        if found != version:
            _upgrade(database, version)
        _require_checksums(database, path)
        _keep_checksums(database)
    except BaseException:
        database.close()
        raise
    return database


def trouble(path: Path | None, error: Exception, what: str) -> InputError:
    """The error of a database: that it cannot be written, if that is so, and else what it is not."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF  # the rest of it tells more than anybody asks
    reason = _UNWRITABLE.get(code)
    return InputError(f"{path}: cannot be written: {reason}" if reason else f"{path}: {what}: {error}")


def _require_tables(database: sqlite3.Connection, schema: str, path: Path | None) -> None:
    """Refuse a database that holds anything but tables of ``schema``."""
    ours = sqlite3.connect(":memory:")
    ours.executescript(schema)
    known, found = _objects(ours), _objects(database)
    ours.close()
    foreign = sorted(name for name, sql in found.items() if known.get(name) != sql)
    if foreign:
        raise InputError(f"{path}: holds {foreign[0]!r:.80}, which is not as netdyno makes it")


def _objects(database: sqlite3.Connection) -> dict[str, str]:
    """Everything in a database by name, as the text that makes it; SQLite's own indices have none."""
    found = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL OR type != 'index'")
    return {str(name): " ".join(str(sql).split()) for name, sql in found}


def _row_checksum(*values: object) -> int:
    """CRC-32 of a row's values, each with its type and length."""
    found = 0
    for value in values:
        if isinstance(value, bytes):
            found = zlib.crc32(value, zlib.crc32(b"%d:" % len(value), found))
        else:
            found = zlib.crc32(repr(value).encode(), found)
    return found


def _tables(database: sqlite3.Connection) -> Iterator[tuple[str, list[str]]]:
    """Tables that have a checksum, with all that it is taken over: the rows' numbers and their columns."""
    names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'checksum'").fetchall()
    for (name,) in names:
        yield name, ["rowid", *(str(column[1]) for column in database.execute(f"PRAGMA table_info({name})"))]


def _sum(database: sqlite3.Connection, name: str, columns: list[str]) -> int:
    rows = f"SELECT COALESCE(SUM(row_checksum({', '.join(columns)})), 0) FROM {name} NOT INDEXED"  # noqa: S608
    return int(database.execute(rows).fetchone()[0])


def _upgrade(database: sqlite3.Connection, version: int) -> None:
    database.execute("BEGIN IMMEDIATE")
    for name, columns in _tables(database):
        database.execute("INSERT OR REPLACE INTO checksum VALUES (?, ?)", (name, _sum(database, name, columns)))
    database.execute(f"PRAGMA user_version={version}")
    database.execute("COMMIT")


def _require_checksums(database: sqlite3.Connection, path: Path | None) -> None:
    database.execute("BEGIN")  # of one moment, whoever else writes
    known = dict(database.execute("SELECT name, value FROM checksum NOT INDEXED"))
    found = {name: _sum(database, name, columns) for name, columns in _tables(database)}
    database.execute("COMMIT")
    if changed := sorted(name for name in known.keys() | found.keys() if known.get(name) != found.get(name)):
        raise InputError(
            f"{path}: changed since it was written: {changed[0]!r:.80} holds rows that no run wrote; "
            "restore the file, or discard it with --fresh"
        )


def _keep_checksums(database: sqlite3.Connection) -> None:
    """Have every later write of this connection change the checksum of its table with it."""
    database.execute("PRAGMA recursive_triggers=ON")  # what INSERT OR REPLACE replaces counts as deleted
    changes = {"INSERT": "+ {new}", "DELETE": "- {old}", "UPDATE": "+ {new} - {old}"}
    for name, columns in _tables(database):
        new, old = (f"row_checksum({', '.join(f'{row}.{column}' for column in columns)})" for row in ("NEW", "OLD"))
        for event, change in changes.items():
            sums = f"UPDATE checksum SET value = value {change.format(new=new, old=old)} WHERE name = '{name}'"  # noqa: S608
            database.execute(f"CREATE TEMP TRIGGER {name}_{event} AFTER {event} ON main.{name} BEGIN {sums}; END")
