"""How much better a table is for the device's slow seconds having been taken off.

From each table's own samples its rows are made twice, of latencies as they were read and as they would be of a device
that is always as fast as usual; each is calibrated, and scored on networks that the calibration did not see. Prints
one JSON line a table. Tables of a busy machine tell most.

    netdyno profile cnn-cifar10:resolution=16 --metrics latency,memory --out build/slowdown/table
    python benchmarks/slowdown.py build/slowdown/table
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from netdyno.nas.space import parse_space
from netdyno.profiler.calibrate import calibrate_table
from netdyno.profiler.plan import Networks, make_plan
from netdyno.profiler.samples import usual
from netdyno.profiler.statistics import estimate
from netdyno.profiler.table import LookupTable, load_table

FIGURES = ["latency_ms", "latency_ms_low", "latency_ms_high"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="+", type=Path)
    for path in parser.parse_args().tables:
        table = load_table(path)
        if table.samples.empty:
            parser.error(f"{path}: keeps no samples")
        found = {
            "benchmark": "slowdown",
            "table": table.name,
            "slowed_visits_pct": table.conditions.get("slowed_visits_pct"),
            "as_read": told(table, table.samples.assign(slowdown=1.0)),
            "as_fast_as_usual": told(table, usual(table.samples)),
        }
        print(json.dumps(found))


def told(table: LookupTable, samples: pd.DataFrame) -> dict[str, Any]:
    """Unseen networks' error, its noise floor, and the layers' median interval, of a table that stands on samples."""
    figures = {str(row): figure(own) for row, own in samples.groupby("row")}
    layers, networks = (with_figures(rows, figures) for rows in (table.layers, table.networks))
    plan = make_plan(parse_space(table.conditions["subject"]), Networks())
    bare = {name: value for name, value in table.conditions.items() if name not in ("calibration", "validation")}
    again = calibrate_table(replace(table, conditions=bare, layers=layers, networks=networks, samples=samples), plan)
    unseen = again.conditions["validation"]["latency_ms"]["unseen"]
    width = (layers["latency_ms_high"] - layers["latency_ms_low"]) / layers["latency_ms"]
    return {
        "mape_pct": round(unseen.get("calibrated", unseen["isolated"])["mape_pct"], 2),
        "rmspe_pct": round(unseen.get("calibrated", unseen["isolated"])["rmspe_pct"], 2),
        "noise_floor_pct": round(unseen["noise_floor_pct"], 2),
        "layers_interval_pct": round(100 * float(np.nanmedian(width)), 1),
    }


def figure(samples: pd.DataFrame) -> tuple[float, float, float]:
    """A row's median and interval, as of :data:`FIGURES`."""
    found = estimate(samples["latency_ms"].to_numpy(float)[:, None].tolist(), samples["start"].tolist())
    return found.median, found.low, found.high


def with_figures(rows: pd.DataFrame, figures: dict[str, tuple[float, float, float]]) -> pd.DataFrame:
    known = rows.index.isin(list(figures))
    found = rows.copy()
    found.loc[known, FIGURES] = [figures[str(row)] for row in rows.index[known]]
    return found


if __name__ == "__main__":
    main()
