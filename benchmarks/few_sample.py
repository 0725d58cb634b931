"""How few measured networks does a cost model need? Real devices, splits drawn at random, five seeds.

On the latencies that HELP published (Lee et al. 2021), without the columns that are exact sums: Spearman of 10
samples on NAS-Bench-201 and MAPE of 50 and 100 on FBNet, averaged over devices, beside non-negative least squares on
operation counts from the same samples; and the largest relative error on the columns that are sums, from 200. Prints
one JSON line.

    python benchmarks/few_sample.py ../shared/refdata
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from scipy.stats import spearmanr

import netdyno as nd

SEEDS = range(5)
SUMS = ("fpga", "raspi4")


def splits(y: np.ndarray, n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(y))
        yield order[:n], order[n:]


def counts(space: Any, X: np.ndarray) -> np.ndarray:
    return np.c_[space.option_counts(X), np.ones(len(X))]


def compare(space: Any, X: np.ndarray, y: np.ndarray, n: int) -> dict[str, list[float]]:
    """Means over seeds, ours and plain: Spearman, and MAPE in percent."""
    plain, found = counts(space, X), []
    for train, rest in splits(y, n):
        each = nd.fit_cost(space, X[train], y[train])(X[rest]), plain[rest] @ nnls(plain[train], y[train])[0]
        found.append([(spearmanr(h, y[rest])[0], 100 * np.abs(h / y[rest] - 1).mean()) for h in each])
    (ours, other) = np.mean(found, axis=0).round(4).tolist()
    return {"few_sample": ours, "plain": other}


def read(path: Path, space: Any, columns: list[str]) -> tuple[np.ndarray, pd.DataFrame]:
    """Genes, and the devices' latencies."""
    frame = pd.read_parquet(path)
    genes = frame[columns]
    if not pd.api.types.is_numeric_dtype(genes.dtypes.iloc[0]):
        genes = genes.apply(lambda column: column.map(space.groups[0].values.index))
    latencies = frame.drop(columns=[*columns, "arch_str", "arch_idx"], errors="ignore")
    return genes.to_numpy(np.int64), latencies


def main(refdata: Path) -> None:
    result: dict[str, Any] = {"benchmark": "few_sample", "seeds": len(SEEDS), "columns": ["spearman", "mape_pct"]}
    cells, chains = nd.space("nasbench201"), nd.space("fbnet")
    tasks = [
        ("nasbench201", cells, [group.name for group in cells.groups], (10,)),
        ("fbnet", chains, [f"l{i:02d}" for i in range(22)], (50, 100)),
    ]
    for name, space, columns, sizes in tasks:
        X, latencies = read(refdata / "help" / f"{name}_latency_ms.parquet", space, columns)
        sums = {}
        for column in latencies.columns.intersection(SUMS):
            y = latencies[column].to_numpy(float)
            train, rest = next(splits(y, 200))
            sums[column] = float(np.abs(nd.fit_cost(space, X[train], y[train])(X[rest]) / y[rest] - 1).max())
        result[name] = {"sums_of_200_largest_error": sums}
        for n in sizes:
            devices = latencies.drop(columns=list(sums))
            each = {device: compare(space, X, devices[device].to_numpy(float), n) for device in devices}
            ours, plain = (np.mean([row[who] for row in each.values()], axis=0) for who in ("few_sample", "plain"))
            mean = {"few_sample": ours.round(4).tolist(), "plain": plain.round(4).tolist()}
            worst = min(row["few_sample"][0] - row["plain"][0] for row in each.values())
            ratio = float(ours[1] / plain[1])
            result[name][f"from_{n}"] = {"mean": mean, "mape_ratio": ratio, "worst_spearman_gain": worst} | each
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/refdata"))
