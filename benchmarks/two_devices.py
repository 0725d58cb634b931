"""Whether two devices measure the same: ``python benchmarks/two_devices.py cpu ssh://localhost/cpu [RUNTIME]``.

Profiles OFA MobileNetV3 width 1.0 at 224 px on each, and prints one JSON line: the median difference between their
layers, the rank correlation, and how many layers differ beyond what chance does (corrected over all layers).
"""

from __future__ import annotations

import json
import sys

import numpy as np
from table_error import agreement

import netdyno as nd
from netdyno.profiler.compare import compare_tables


def main(first: str, second: str, runtime: str = "onnxruntime") -> None:
    space = nd.space("ofa-mobilenetv3", width=1.0, resolutions=[224])
    tables = []
    for identifier in (first, second):
        with nd.device(identifier) as device:
            tables.append(nd.profile(space, device, runtime=runtime))
    changes = compare_tables(*tables).of("latency_ms")
    unseen = [table.conditions["validation"]["latency_ms"]["unseen"] for table in tables]
    document = {
        "runtime": runtime,
        **agreement(*tables),
        "layers": len(changes),
        "layers_that_differ": sum(change.significant for change in changes),
        "median_change_pct": 100 * float(np.median([change.fraction for change in changes])),
        "mape_pct": [each["calibrated"]["mape_pct"] for each in unseen],
        "noise_floor_pct": [each["noise_floor_pct"] for each in unseen],
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main(*sys.argv[1:])
