"""ONNX Runtime's own profiles, ``SessionOptions.enable_profiling``: an operator's time within each inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netdyno.devices.onnxruntime_profile import parse_profile
from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.formats.content import read_decoded
from netdyno.profiler.formats.rows import OperatorReading, operator_rows
from netdyno.profiler.table import LookupTable, make_rows


def read_onnxruntime_json(path: Path, choice: Choice) -> LookupTable:
    """The operators in execution order; each latency is the median over the inferences that were profiled.

    Raises:
        InputError: not such a file.
    """
    choice.forbid(path)
    operators = parse_profile(read_decoded(path), str(path))
    readings = [
        OperatorReading(each.type, each.name, float(np.median(each.latency_us)) / 1e3, len(each.latency_us))
        for each in operators
    ]
    conditions = {"format": "onnxruntime-json", "runtime": "onnxruntime"}
    return LookupTable(path.stem, conditions, make_rows("layer", operator_rows(path, readings)))
