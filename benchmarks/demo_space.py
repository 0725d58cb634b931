"""How good are the demo's predictor and front, on subnets that neither has seen?

Samples 200 subnets of the demo space, evaluates all for real (accuracy on the validation split, latency on the
device, interleaved with the front's own points), and prints one JSON line: the accuracy's spread, the predictor's
Kendall τ, and the really measured hypervolume of OFA²'s front beside that of the 200 random subnets.

    netdyno demo --out demo && python benchmarks/demo_space.py demo
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from netdyno.demo import ACCURACIES, DATA, read_accuracies
from netdyno.devices import Settings, open_device
from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
from netdyno.nas.accuracy.predictor import fit_accuracy
from netdyno.nas.data import load_data
from netdyno.nas.pareto import hypervolume
from netdyno.nas.space import parse_genes
from netdyno.nas.supernets.store import load_supernet
from netdyno.profiler.measure import Method
from netdyno.profiler.profile import profile_networks
from netdyno.profiler.profiling import Profiling
from netdyno.profiler.table import format_genes, load_table
from netdyno.runs import load_run

SUBNETS = 200
SEED = 20_261


def main(folder: Path) -> None:
    run = load_run(folder)
    space = run.space
    supernet, _ = load_supernet(folder / "supernet")
    evaluated = EvaluatedAccuracy(supernet, load_data(DATA, "val"), load_data(DATA, "train"))
    known = read_accuracies(folder / ACCURACIES, space)
    X = np.array([genes for genes in space.sample(2 * SUBNETS, SEED) if format_genes(genes) not in known])[:SUBNETS]
    front = np.array([parse_genes(space, text) for text in run.measured["genes"]])
    both = np.concatenate([X, front])
    accuracy = evaluated(both)
    graphs = {str(i): evaluated.subnet(genes).graph() for i, genes in enumerate(both)}
    with open_device("cpu") as device:
        method = Method(budget_s=120, memory=False)
        rows = profile_networks(graphs, Profiling(device, Settings("onnxruntime"), method))
    latency = rows.loc[list(graphs), "latency_ms"].to_numpy()
    F = np.stack([latency, 100 - accuracy], axis=1)
    reference = F.max(axis=0) * 1.01
    fitted = fit_accuracy(
        space, np.array([parse_genes(space, text) for text in known]), np.array(list(known.values())), seed=0
    )
    predicted_latency = load_table(folder / run.descriptor["table"]).cost(space, "latency_ms")(X)
    result = {
        "benchmark": "demo_space",
        "subnets": len(X),
        "accuracy_pct": {"min": accuracy[: len(X)].min(), "max": accuracy[: len(X)].max()},
        "accuracy_spread_points": float(np.ptp(accuracy[: len(X)])),
        "predictor": fitted.method,
        "predictor_samples": len(known),
        "predictor_kendall_tau": float(kendalltau(fitted(X), accuracy[: len(X)])[0]),
        "latency_mape_pct": float(np.abs(predicted_latency / latency[: len(X)] - 1).mean() * 100),
        "hypervolume": {
            "reference": reference.tolist(),
            "ofa2_front": hypervolume(F[len(X) :], reference.tolist()),
            "random_subnets": hypervolume(F[: len(X)], reference.tolist()),
            "ofa2_points": len(front),
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
