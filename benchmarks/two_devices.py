"""Whether two devices measure the same: ``python benchmarks/two_devices.py cpu ssh://localhost/cpu``.

For a phone add ``--runtime litert --runner builtin --budget 120s``; ``python tests/devices/android/phone.py`` starts
one that is none, on this machine.

Profiles OFA MobileNetV3 width 1.0 at 224 px on each, and prints one JSON line: the median difference between their
layers with and without its sign, the rank correlation, and how many layers differ beyond what chance does (corrected
over all layers).
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from table_error import agreement

import netdyno as nd
from netdyno.base.units import parse_duration
from netdyno.profiler.compare import compare_tables


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("devices", nargs=2)
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--runner", default="", help="of a phone")
    parser.add_argument("--budget", default="", help="for each; default: when tight")
    chosen = parser.parse_args()
    space = nd.space("ofa-mobilenetv3", width=1.0, resolutions=[224])
    budget_s = parse_duration(chosen.budget) if chosen.budget else None
    tables = []
    for identifier in chosen.devices:
        options = {"runner": chosen.runner} if chosen.runner and identifier.startswith("android") else {}
        with nd.device(identifier, **options) as device:
            tables.append(nd.profile(space, device, runtime=chosen.runtime, budget_s=budget_s))
    changes = compare_tables(*tables).of("latency_ms")
    fractions = np.array([change.fraction for change in changes])
    unseen = [table.conditions.get("validation", {}).get("latency_ms", {}).get("unseen") for table in tables]
    document = {
        "runtime": chosen.runtime,
        **agreement(*tables),
        "layers": len(changes),
        "layers_that_differ": sum(change.significant for change in changes),
        "median_change_pct": 100 * float(np.median(fractions)),
        "median_difference_pct": 100 * float(np.median(np.abs(fractions))),
        "p90_difference_pct": 100 * float(np.percentile(np.abs(fractions), 90)),
        "mape_pct": [each and each["calibrated"]["mape_pct"] for each in unseen],
        "noise_floor_pct": [each and each["noise_floor_pct"] for each in unseen],
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
