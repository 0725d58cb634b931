"""Reports: one self-contained page for a run."""

from netdyno.report.cascade import write_cascade
from netdyno.report.report import write_report

__all__ = ["write_cascade", "write_report"]
