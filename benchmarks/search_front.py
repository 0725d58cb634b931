"""Evaluate 100,000 architectures on a lookup table and the published accuracy predictor, one thread.

Prints one JSON line. Timed in the same run: one architecture at a time, a table look-up a layer in plain Python and
one row through the predictor, extrapolated from 200. Needs the reference data
(../shared/refdata or $NETDYNO_REFDATA).

    OMP_NUM_THREADS=1 python benchmarks/search_front.py
"""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path

import numpy as np

import netdyno as nd

REFDATA = Path(os.environ.get("NETDYNO_REFDATA", "../shared/refdata"))
ARCHITECTURES = 100_000
PEER_ARCHITECTURES = 200
REPEATS = 5


def main() -> None:
    space = nd.space("ofa-mobilenetv3", width=1.2, resolutions=[160, 176, 192, 208, 224])
    table = nd.import_table(REFDATA / "ofa_note10", format="ofa-yaml")
    cost = table.cost(space, "latency_ms")
    accuracy = nd.load_accuracy(REFDATA / "ofa_accuracy_predictor" / "acc_predictor.pth", space=space)
    X = space.sample(ARCHITECTURES, seed=0)
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        cost(X)
        accuracy(X)
        seconds.append(time.perf_counter() - began)
    rows = table.layers["latency_ms"].to_dict()
    began = time.perf_counter()
    for genes in X[:PEER_ARCHITECTURES]:
        layers = space.layers(genes)
        size = layers[0].input_shape[-1]
        sum(rows[f"{layer.key}@{size}"] for layer in layers)
        accuracy(genes)
    peer = (time.perf_counter() - began) / PEER_ARCHITECTURES * ARCHITECTURES
    median = statistics.median(seconds)
    spread = float(np.ptp(seconds))
    print(
        json.dumps(
            {
                "benchmark": "search_front",
                "architectures": ARCHITECTURES,
                "seconds_median": median,
                "seconds_spread": spread,
                "one_by_one_seconds": peer,
                "times_faster": peer / median,
            }
        )
    )


if __name__ == "__main__":
    main()
