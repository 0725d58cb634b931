"""SQLite files that somebody else may have put where ours belong."""

from __future__ import annotations

import sqlite3
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


def open_database(path: Path | None, schema: str, version: int) -> sqlite3.Connection:
    """A database with the tables of ``schema``, made where they are missing, in write-ahead mode.

    Without a ``path`` it is in memory alone.

    SQLite follows links and creates what they lead to, so nothing but regular files may stand in the way. Views,
    triggers and tables of other columns would be run or fail later: a database holds tables of ``schema`` and no
    others. ``version`` is what this netdyno writes; a database that says none is of version 1.

    Raises:
        InputError: a file that is not regular, a newer netdyno's database, or one of other tables.
        sqlite3.Error: not a database, or one that is damaged.
    """
    files = () if path is None else (path.with_name(path.name + suffix) for suffix in SIDE_FILES)
    for file in files:
        if is_there(file):
            open_regular(file, LARGEST_DATABASE, follow_links=False).close()
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
        if found != version:
            database.execute(f"PRAGMA user_version={version}")
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
