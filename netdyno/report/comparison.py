"""Runs beside each other on one page: their fronts, and how their hypervolumes grew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netdyno.base.registry import require
from netdyno.compare import Comparison
from netdyno.report.page import write_page


def write_comparison(compared: Comparison, path: Path) -> Path:
    """Write a comparison's page; returns its path.

    Raises:
        MissingExtra: plotly or jinja2 is not installed.
        InputError: the file cannot be written.
    """
    require("plotly.offline", extra="report", purpose="a report")
    from netdyno.report import figures

    drawn: dict[str, Any] = {}
    fronts = {row.name: row.F for row in compared.rows}
    if chosen := figures.chosen_axes(compared.objectives):
        drawn["front"] = figures.fronts_figure(fronts, compared.objectives, chosen)
    growth = {row.name: row.growth for row in compared.rows if row.growth}
    if growth:
        drawn["growth"] = figures.growth_figure(growth)
    best = max(compared.rows, key=lambda row: row.hypervolume)
    headline = (
        f"{len(compared.rows)} runs: {best.name} dominates most, {100 * best.share:.1f} % of what all do together"
    )
    content = {
        "headline": headline,
        "compared": compared,
        "drawn": list(drawn),
        "ref": [f"{v:.5g}" for v in compared.ref],
    }
    return write_page(path, "comparison.html.j2", drawn, content)
