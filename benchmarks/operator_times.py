"""Whether operators' times add up to the whole: the largest and the smallest subnet, and models of others.

``python benchmarks/operator_times.py MODEL…`` profiles the largest and smallest OFA MobileNetV3 of width 1.0 at
224 px in both runtimes, and the model files named, on one thread; it prints one JSON line with the operators'
sum over an inference measured without the profiler, in turns with it. It should lie between 0.9 and 1.1. ONNX models
of others come with the onnx package (``onnx/backend/test/data/light``), TFLite ones with mediapipe's wheels.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import netdyno as nd
from netdyno.base.artifact import Artifact
from netdyno.devices import Settings
from netdyno.exporters import write
from netdyno.exporters.read import read_model
from netdyno.profiler.operators import profile_operators
from netdyno.profiler.roofs import measure_roofs

FORMATS = ("onnx", "tflite")
LIMITS = (0.9, 1.1)


def models(paths: list[str]) -> Iterator[tuple[str, Artifact]]:
    space = nd.space("ofa-mobilenetv3", width=1.0, resolutions=[224])
    for name, genes in (("smallest", space.smallest()), ("largest", space.largest())):
        for file_format in FORMATS:
            yield f"{name}.{file_format}", write(space.graph(genes), file_format)
    for path in paths:
        yield Path(path).name, read_model(Path(path))


def main(paths: list[str]) -> None:
    found = {}
    with nd.device("cpu") as device:
        for name, artifact in models(paths):
            settings = Settings(device.runtime_for(artifact, Settings()))
            report = profile_operators(artifact, device, settings, measure_roofs(device, settings))
            found[name] = {"operators": len(report.operators), "whole_ms": report.whole_ms, "covered": report.covered}
    holds = all(LIMITS[0] <= each["covered"] <= LIMITS[1] for each in found.values())
    print(json.dumps({"models": found, "holds": holds}))


if __name__ == "__main__":
    main(sys.argv[1:])
