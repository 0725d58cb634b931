"""Error and rank correlation of accuracy predictors fitted to few of the 2,162 published measured architectures.

Prints one JSON line: mean over 3 random splits, for every method. Needs the reference data
(../shared/refdata or $NETDYNO_REFDATA).

    OMP_NUM_THREADS=1 python benchmarks/accuracy_predictor.py
"""

from __future__ import annotations

import json
import time

import numpy as np
from linas import SPACE, read
from scipy.stats import kendalltau

from netdyno.nas.accuracy.predictor import fit_accuracy
from netdyno.nas.regression import METHODS

TRAINING = (100, 150, 1000)
SPLITS = 3


def main() -> None:
    X, accuracy, _ = read("mbnv3w10_*.csv")
    X, first = np.unique(SPACE.canonical(X), axis=0, return_index=True)
    accuracy = accuracy[first]
    told: dict[str, dict[str, dict[str, float]]] = {}
    for n in TRAINING:
        told[str(n)] = {}
        for method in METHODS:
            rows = []
            for seed in range(SPLITS):
                seen, unseen = np.split(np.random.default_rng(seed).permutation(len(X)), [n])
                began = time.perf_counter()
                fitted = fit_accuracy(SPACE, X[seen], accuracy[seen], seed, method)
                seconds = time.perf_counter() - began
                found = fitted(X[unseen])
                mape = 100 * np.abs(found / accuracy[unseen] - 1).mean()
                rows.append([mape, kendalltau(found, accuracy[unseen]).statistic, seconds])
            mean = np.mean(rows, axis=0).round(4).tolist()
            told[str(n)][method] = dict(zip(("mape_pct", "kendall_tau", "fit_seconds"), mean, strict=True))
    print(json.dumps({"benchmark": "accuracy_predictor", "architectures": len(X), "training": told}))


if __name__ == "__main__":
    main()
