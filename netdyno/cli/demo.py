"""``netdyno demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netdyno.cli.console import Json, emit, progress, say
from netdyno.cli.options import FOLDER, option
from netdyno.cli.resuming import resumable

Out = Annotated[Path, option(FOLDER, "Where tables, supernet, front, bundles and report go.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over instead of going on from what is there.")]


def demo(out: Out = Path("demo"), fresh: Fresh = False, as_json: Json = False) -> None:
    """Walk the whole road: profile this CPU, train a small supernet, search, export, report."""
    from netdyno.base.registry import require

    require("torch", extra="train", purpose="the demo")
    require("plotly", extra="report", purpose="the demo's report")
    from netdyno.demo import Demo, Size, clear

    if fresh:
        clear(out)
    with resumable(fresh=fresh), progress() as tell:
        run = Demo(out, Size(), tell, say).run()
    if as_json:
        emit({"out": str(out), "report": str(out / "report.html"), "winners": run.winners.to_dict("records")})
