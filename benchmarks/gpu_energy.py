"""What energy and power of a GPU are worth: ``python benchmarks/gpu_energy.py cuda:0 --out build/gpu``.

Profiles the layers of NAS-Bench-201 and some of its networks, one window of energy each, then the layers once more in
a run of its own; about eight minutes. One JSON line: how far the two runs' energies of a layer lie apart, how wrong
energy predicted from layers is on networks that no fit saw, and how wrong linear models of power are on folds that
they did not see, beside what the mean alone would be. The same command goes on where it was stopped.

``--of tables/FIRST tables/SECOND`` tells the same of two tables that were made so.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import netdyno as nd
from netdyno.devices import Device, Settings
from netdyno.nas.space import Space, format_space, parse_genes, parse_space
from netdyno.profiler.cost.fit import cross_validate
from netdyno.profiler.measure import Method
from netdyno.profiler.plan import Networks
from netdyno.profiler.profile import profile_layers, profile_space
from netdyno.profiler.profiling import Profiling
from netdyno.profiler.table import LookupTable
from netdyno.profiler.windows import gross_power_w

METHOD = Method(starts=1, least_rounds=9, most_rounds=15, memory=False, energy_windows=1)
NETWORKS = Networks(calibration=14, validation=12, between=0)
FOLDS = 10
LEAST = 12
"""Networks of which nine tenths are as many as a fit needs."""
METHODS = ("additive", "structural")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("device", nargs="?", default="cuda:0")
    parser.add_argument("--space", default="nasbench201")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--budget", type=float, default=420.0, help="seconds for the first run; the second has half")
    parser.add_argument("--out", type=Path, default=Path("build/gpu"))
    parser.add_argument("--of", type=Path, nargs=2, help="two tables that are there")
    chosen = parser.parse_args()
    space = parse_space(chosen.space)
    first, second = chosen.of or (chosen.out / "first", chosen.out / "second")
    if not chosen.of:
        with nd.device(chosen.device) as device:
            run = profiling(device, first, chosen.batch, chosen.budget)
            profile_space(space, run, subject=format_space(space), networks=NETWORKS)
            run = profiling(device, second, chosen.batch, chosen.budget / 2)
            profile_layers(space.vocabulary(), run, subject=format_space(space))
    table = nd.load_table(first)
    document = {
        "device": table.conditions["device"]["name"],
        "batch": table.conditions["batch"],
        "energy": table.conditions.get("validation", {}).get("energy_mj"),
        "net_power": power(space, table.networks["power_w"].dropna()),
        "gross_power": power(space, gross_power_w(table.windows).filter(list(table.networks.index))),
        "repeated": repeated(table, nd.load_table(second)),
    }
    print(json.dumps(document))


def profiling(device: Device, out: Path, batch: int, budget_s: float) -> Profiling:
    """A run of one process start and one window of energy for each candidate, telling a line for each window."""

    def tell(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "energy":
            print(f"{stage} {done}/{total} {note}", file=sys.stderr, flush=True)

    out.mkdir(parents=True, exist_ok=True)
    return Profiling(device, Settings("torch"), replace(METHOD, budget_s=budget_s), out, batch=batch, progress=tell)


def power(space: Space, power_w: pd.Series[float]) -> dict[str, Any]:
    """Linear models of power by genes: their errors on folds they did not see, and that of the mean alone."""
    y = power_w.to_numpy(float)
    told: dict[str, Any] = {"networks": len(y)}
    if len(y) < LEAST:
        return told
    X = np.stack([parse_genes(space, str(name)) for name in power_w.index])
    errors = {name: cross_validate(space, X, y, name, folds=FOLDS, name="power_w").mean() for name in METHODS}
    errors["mean"] = 100 * np.sqrt(np.mean((y.mean() / y - 1) ** 2))
    told |= {"least_w": float(y.min()), "most_w": float(y.max())}
    return told | {"rmspe_pct": {name: float(error) for name, error in errors.items()}}


def repeated(first: LookupTable, second: LookupTable) -> dict[str, Any]:
    """How far two runs lie apart, layer by layer, in percent of the first."""
    told: dict[str, Any] = {}
    for metric in ("energy_mj", "latency_ms"):
        both = (100 * (second.layers[metric] / first.layers[metric] - 1)).dropna()
        apart = both.abs()
        told[metric] = {
            "layers": len(both),
            "median_pct": float(apart.median()),
            "p90_pct": float(apart.quantile(0.9)),
            "drift_pct": float(both.median()),
        }
    return told


if __name__ == "__main__":
    main()
