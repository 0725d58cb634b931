"""What commands say: prose and progress on stderr, one JSON document on stdout when asked for."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdyno.base.errors import InputError, one_line, printable

if TYPE_CHECKING:
    from netdyno.base.progress import Progress

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]


DEEPEST = 100
"""Levels of a document; what is nested deeper comes from somebody's damaged file."""
_UNPRINTABLE = re.compile(r"[^\n\x20-\x7e]")


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


def log_warnings() -> None:
    """Send warnings of our own and of libraries to stderr, a line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def say(line: str) -> None:
    """A line of prose, on stderr; names in it may come from anybody's file."""
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()


def emit(document: Any) -> None:
    """The command's one JSON document, on stdout; what is not a number becomes null.

    Raises:
        InputError: it is nested too deeply, or stdout cannot be written.
    """
    text = json.dumps(_plain(document), indent=2, ensure_ascii=False)
    sys.stdout.write(_UNPRINTABLE.sub(_escape, text) + "\n")
    sys.stdout.flush()


def _escape(found: re.Match[str]) -> str:
    """A character as JSON's escape where a terminal would obey it, or where stdout's encoding lacks it."""
    letter = found[0]
    utf8 = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    return letter if utf8 and letter.isprintable() else json.dumps(letter)[1:-1]


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people, on stdout; columns of numbers are aligned to the right."""
    printed = [[printable(cell) for cell in row] for row in [columns, *rows]]
    numeric = [all(row[i][:1] in "-+[0123456789" for row in printed[1:] if row[i]) for i in range(len(columns))]
    widths = [max(len(row[i]) for row in printed) for i in range(len(columns))]
    for row in printed:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    sys.stdout.flush()


@contextmanager
def progress() -> Iterator[Progress]:
    """Progress bars while the block runs, one a stage; nothing where stderr is not a terminal."""
    if not sys.stderr.isatty():
        from netdyno.base.progress import silent

        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),  # notes hold layers' names
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, note="")
            bars.update(tasks[stage], completed=done, total=total, note=printable(note))
            if done >= total:
                bars.remove_task(tasks.pop(stage))

        yield tell


def _plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON can hold it."""
    if depth > DEEPEST:
        raise InputError(
            f"what would be printed is nested more than {DEEPEST} levels deep; see the file it comes from"
        )
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
