"""A cascade on one page: what it comes to, who answers, what other thresholds would, and how it was found."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from netdyno.base.errors import InputError
from netdyno.base.registry import require
from netdyno.base.result import reading
from netdyno.base.rows import read_rows
from netdyno.nas.adaptive.execution import METRICS
from netdyno.report.page import write_page
from netdyno.runs import CASCADES, MEMBERS, REPORT, THRESHOLDS, cascade_parts, read_numbers

ANSWERS = ("val_answered_pct", "test_answered_pct")


def write_cascade(folder: Path) -> Path:
    """Write the page of a folder that ``netdyno cascade`` left; returns its path.

    Raises:
        MissingExtra: plotly or jinja2 is not installed.
        InputError: no cascade was found there, or a file of it cannot be understood; or the page cannot be written.
    """
    require("plotly.offline", extra="report", purpose="a report")
    from netdyno.report import figures

    with reading(folder):
        parts = cascade_parts(folder)
        metric = _metric(parts.path(CASCADES) or folder / CASCADES)
        course = read_numbers(parts.path(CASCADES), ("evaluation", "error_pct", metric))
        members = read_numbers(parts.path(MEMBERS), ("error_pct", metric, *ANSWERS, "threshold"), ("genes",))
        others = read_numbers(parts.path(THRESHOLDS), ("error_pct", metric))
    parts.tell()
    if not (len(course) and len(members) and len(others)):
        raise InputError(f"{folder}: a cascade was begun there, and not shipped yet")
    axis, correct = figures.axis_of(metric), figures.axis_of("error_pct")
    found = course.iloc[-1]
    points = {"other thresholds": others, "each network alone": members, "the cascade": course.tail(1)}
    fronts = {name: rows[[metric, "error_pct"]].to_numpy() for name, rows in points.items()}
    drawn = {
        "front": figures.fronts_figure(fronts, (metric, "error_pct"), (0, 1), loose=("each network alone",)),
        "course": figures.growth_figure({str(axis): _course(course, metric)}, str(axis)),
        "correct": figures.growth_figure({str(correct): _course(course, "error_pct")}, str(correct)),
    }
    content = {
        "headline": f"{len(members)} networks: {axis(found[metric]):.4g} {axis.unit} an image on average, "
        f"{correct(found['error_pct']):.2f} % correct",
        "axis": str(axis),
        "members": members.assign(cost=axis(members[metric].to_numpy(float))).to_dict("records"),
        "evaluations": len(course),
    }
    return write_page(folder / REPORT, "cascade.html.j2", drawn, content)


def _metric(path: Path) -> str:
    """What cascades cost, by their history's header."""
    rows = read_rows(path, ("evaluation",))
    for metric in METRICS:
        if rows and metric in rows[0]:
            return metric
    raise InputError(f"{path}: no cascade, or none that costs {' or '.join(METRICS)}")


def _course(course: pd.DataFrame, column: str) -> list[tuple[int, float]]:
    """A column after each evaluation, in the unit of its axis."""
    from netdyno.report.figures import axis_of

    values = axis_of(column)(course[column].to_numpy(float))
    return list(zip(course["evaluation"].astype(int).tolist(), values.tolist(), strict=True))
