"""What commands say: prose and progress on stderr, one JSON document on stdout when asked for."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from netdyno.base.progress import Progress

Data = Annotated[str, typer.Option(help="Data set: digits, mnist:FOLDER or cifar10:FOLDER.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]


def _write(text: str) -> None:
    """Put text on stdout; where nobody reads on (`netdyno … | head`), end quietly as other Unix tools do."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def say(line: str) -> None:
    """A line of prose, on stderr."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def emit(document: Any) -> None:
    """The command's one JSON document, on stdout; what is not a number becomes null."""
    _write(json.dumps(_plain(document), indent=2, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people, on stdout; columns of numbers are aligned to the right."""
    numeric = [all(row[i][:1] in "-+[0123456789" for row in rows if row[i]) for i in range(len(columns))]
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    for row in [columns, *rows]:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        _write("  ".join(cells).rstrip() + "\n")


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
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, note="")
            bars.update(tasks[stage], completed=done, total=total, note=note)
            if done >= total:
                bars.remove_task(tasks.pop(stage))

        yield tell


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
