"""How wrong a table is on networks that it was not calibrated on, and how far two runs of it agree.

``python benchmarks/table_error.py RUNTIME [RESOLUTION…]`` profiles OFA MobileNetV3 width 1.0 on one thread of this
CPU, twice from scratch where there is one resolution, and prints one JSON line: the error of the calibrated cost on
40 unseen random networks beside the noise floor, that of the plain sum of isolated layers from the same run, the
seconds each run took, and the agreement of the two. A run whose noise floor is above 1.5 % is void.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import netdyno as nd
from netdyno.profiler.table import LookupTable

FLOOR_PCT = 1.5
LIMITS_PCT = {True: 2.0, False: 3.0}


def profile(runtime: str, resolutions: list[int]) -> tuple[LookupTable, float]:
    began = time.monotonic()
    space = nd.space("ofa-mobilenetv3", width=1.0, resolutions=resolutions)
    with nd.device("cpu") as device:
        table = nd.profile(space, device, runtime=runtime)
    return table, time.monotonic() - began


def figures(table: LookupTable, seconds: float) -> dict[str, Any]:
    stated = table.conditions["validation"]["latency_ms"]
    found = {
        "seconds": round(seconds, 1),
        "calibration_networks": int((table.networks["method"] == "measured: calibration").sum()),
        "unseen_networks": stated["unseen"]["networks"],
        "mape_pct": stated["unseen"]["calibrated"]["mape_pct"],
        "isolated_mape_pct": stated["unseen"]["isolated"]["mape_pct"],
        "noise_floor_pct": stated["unseen"]["noise_floor_pct"],
    }
    return found | ({"between_mape_pct": stated["between"]["calibrated"]["mape_pct"]} if "between" in stated else {})


def agreement(first: LookupTable, second: LookupTable) -> dict[str, float]:
    one, other = (table.layers["latency_ms"].to_numpy(float) for table in (first, second))
    return {
        "median_difference_pct": 100 * float(np.median(np.abs(other / one - 1))),
        "spearman": float(spearmanr(one, other).statistic),
    }


def main(runtime: str, *sizes: str) -> None:
    resolutions = [int(size) for size in sizes] or [224]
    single = len(resolutions) == 1
    runs = [profile(runtime, resolutions) for _ in range(2 if single else 1)]
    document: dict[str, Any] = {"runtime": runtime, "resolutions": resolutions}
    document["runs"] = [figures(*run) for run in runs]
    if single:
        document["two_runs"] = agreement(runs[0][0], runs[1][0])
    document["void"] = any(run["noise_floor_pct"] > FLOOR_PCT for run in document["runs"])
    document["holds"] = all(run["mape_pct"] <= LIMITS_PCT[single] for run in document["runs"])
    print(json.dumps(document))


if __name__ == "__main__":
    main(*sys.argv[1:])
