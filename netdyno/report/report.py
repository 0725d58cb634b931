"""Write a run's report."""

from __future__ import annotations

from pathlib import Path

from netdyno.base.files import write_atomic
from netdyno.runs import REPORT, Run


def write_report(run: Run) -> Path:
    """Write ``report.html`` into the run's folder; returns its path."""
    write_atomic(run.path / REPORT, "<html></html>")
    return run.path / REPORT
