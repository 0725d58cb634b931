"""How long this process has been running."""

from __future__ import annotations

import os
import time
from pathlib import Path

_START_TIME = 19
"""Which field of ``/proc/self/stat`` behind the command's name is the start, in ticks since boot (proc(5))."""


def process_age_s() -> float:
    """Wall-clock seconds since this process was started, the interpreter's own start included."""
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started_s = int(stat[_START_TIME]) / os.sysconf("SC_CLK_TCK")
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - started_s, 0.0)
