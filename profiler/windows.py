"""The windows of work behind a table's energy: gross energy and idle power, of which its rows hold the net."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple

import numpy as np
import pandas as pd

from netdyno.profiler.energy import Window
from netdyno.profiler.resource import Resource


def _fault(windows: pd.DataFrame) -> str:
    known = np.isfinite(windows[["gross_mj", "idle_w"]].to_numpy()).all()
    taken = windows["seconds"].between(0, math.inf, inclusive="neither").all() and (windows["inferences"] > 0).all()
    return "" if known and taken else "a window that nothing can be read in"


WINDOWS = Resource(
    "windows.csv",
    {
        "row": ("string", "the layer or network"),
        "gross_mj": ("number", "energy of all that the meter sees, in the whole window"),
        "idle_w": ("number", "power without work, measured next to it"),
        "seconds": ("number", "length of the window"),
        "inferences": ("integer", "how often it ran meanwhile"),
        "flag": ("string", "why not to trust it, if so"),
    },
    _fault,
)


def make_windows(energies: Mapping[str, Iterable[Window]]) -> pd.DataFrame:
    """A line for each window of each row."""
    return WINDOWS.frame([(name, *astuple(window)) for name, own in energies.items() for window in own])


def gross_power_w(windows: pd.DataFrame) -> pd.Series[float]:
    """Mean power of all that the meter sees while a row runs, by row: the median of its trusted windows."""
    trusted = windows[windows["flag"] == ""]
    power_w = trusted["gross_mj"] / 1e3 / trusted["seconds"]
    return power_w.groupby(trusted["row"]).median()
