"""``netdyno report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from netdyno.cli.console import Json, emit, say
from netdyno.cli.options import RUN, argument


def report(
    run: Annotated[Path, argument(RUN, "A run's folder, as search, demo and cascade write it.")],
    as_json: Json = False,
) -> None:
    """Write a run's report: one page that works offline."""
    from netdyno.base.registry import require
    from netdyno.runs import CASCADES, load_run

    require("plotly", extra="report", purpose="a report")
    from netdyno.report import write_cascade, write_report

    path = write_cascade(run) if (run / CASCADES).exists() else write_report(load_run(run))
    say(str(path))
    if as_json:
        emit({"report": str(path)})
