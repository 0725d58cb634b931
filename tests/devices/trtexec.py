"""A stand-in for NVIDIA's ``trtexec``, which needs a GPU: it takes the same options and writes the same files.

An "engine" is the ONNX model behind a word; its times and outputs are really ONNX Runtime's, on the CPU.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HEADER = "&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec"
ENGINE = b"ENGINE"
KNOWN = {
    "onnx", "saveEngine", "loadEngine", "iterations", "duration", "warmUp", "noTF32", "useCudaGraph", "exportTimes",
    "exportOutput", "exportProfile", "loadInputs", "shapes",
}  # fmt: skip


def main(arguments: list[str]) -> int:
    print(HEADER)
    if arguments == ["--help"]:
        return 0
    options = dict(argument.removeprefix("--").partition("=")[::2] for argument in arguments)
    if unknown := set(options) - KNOWN:
        return fail(f"Unknown option: --{unknown.pop()}")
    data = Path(options["onnx"]).read_bytes() if "onnx" in options else Path(options["loadEngine"]).read_bytes()
    try:
        session = onnxruntime.InferenceSession(data.removeprefix(ENGINE), providers=["CPUExecutionProvider"])
    except Exception:
        return fail("ModelImporter.cpp:729: Failed to parse the model")
    opened = [i.name for i in session.get_inputs() if not all(isinstance(side, int) for side in i.shape)]
    if bool(opened) != ("shapes" in options):
        return fail("Static model does not take explicit shapes" if not opened else "Dynamic dimensions required")
    if "saveEngine" in options:
        Path(options["saveEngine"]).write_bytes(ENGINE + data)
        return 0
    run(session, options)
    return 0


def run(session: Any, options: dict[str, str]) -> None:
    shapes = dict(pair.split(":") for pair in options.get("shapes", "").split(",") if pair)
    files = dict(pair.split(":", 1) for pair in options.get("loadInputs", "").split(",") if pair)
    inputs = {}
    for given in session.get_inputs():
        shape = [int(side) for side in shapes[given.name].split("x")] if given.name in shapes else given.shape
        dtype = {"tensor(float)": np.float32, "tensor(int64)": np.int64}[given.type]
        inputs[given.name] = np.zeros(shape, dtype)
        if given.name in files:
            inputs[given.name] = np.fromfile(files[given.name], dtype).reshape(shape)
    began = time.perf_counter()
    times = []
    for _ in range(int(options["iterations"]) + 1):  # it runs ahead by one
        start = time.perf_counter()
        outputs = session.run(None, inputs)
        times.append((start - began, time.perf_counter() - began))
    if "exportTimes" in options:
        entries = [
            {"startComputeMs": float(f"{1e3 * start:.6g}"), "computeMs": 1e3 * (end - start)} for start, end in times
        ]
        Path(options["exportTimes"]).write_text(json.dumps(entries))
    if "exportOutput" in options:
        results = zip(session.get_outputs(), outputs, strict=True)
        told = [
            {"name": output.name, "dimensions": "x".join(map(str, array.shape)), "values": array.ravel().tolist()}
            for output, array in results
        ]
        Path(options["exportOutput"]).write_text(json.dumps(told))
    if "exportProfile" in options:
        mean_ms = 1e3 * sum(end - start for start, end in times) / len(times)
        layer = {"name": "all of it", "timeMs": mean_ms, "averageMs": mean_ms, "percentage": 100}
        Path(options["exportProfile"]).write_text(json.dumps([{"count": len(times)}, layer]))
    print(
        "[I] [TRT] [MemUsageChange] TensorRT-managed allocation in IExecutionContext creation: CPU +0, GPU +2, ",
        end="",
    )
    print("now: CPU 0, GPU 3 (MiB)")


def fail(why: str) -> int:
    print(f"[11/24/2026-12:00:00] [E] {why}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
