"""A stand-in for Google's ``benchmark_model``, which cannot be had here: what it prints was really measured.

``stand_in.py FORM RUNNER LIBRARY FLAG…`` has netdyno's own runner measure, and prints that in the forms that the tool
documents. FORM is the build: ``proto`` (today's), ``csv``, ``text`` (the oldest), or ``compiled`` (that of LiteRT's
compiled models, which only warns of flags that it does not know).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from netdyno.devices.android.benchmark_proto import message_type
from netdyno.devices.litert_events import BUILTIN, DELEGATED, Event, OperatorEvents

COMMON = ["graph", "num_threads", "num_runs", "min_secs", "max_secs", "warmup_runs", "warmup_min_secs", "help"]
COMMON += ["report_peak_memory_footprint"]
CLASSIC = [*COMMON, "use_xnnpack", "use_gpu", "input_layer", "input_layer_shape", "input_layer_value_files"]
CLASSIC += ["enable_op_profiling"]
FLAGS = {
    "text": CLASSIC,
    "csv": [*CLASSIC, "profiling_output_csv_file", "use_nnapi"],
    "proto": [*CLASSIC, "use_nnapi", "op_profiling_output_mode", "op_profiling_output_file", "output_filepath"],
    "compiled": [*COMMON, "use_cpu", "use_gpu", "use_npu", "use_profiler"],
}
MERGED = {"use_gpu": "TfLiteGpuDelegateV2", "use_nnapi": "TfLiteNnapiDelegate"}
HEADER = "[node type]", "[start]", "[first]", "[avg ms]", "[%]", "[cdf%]", "[mem KB]", "[times called]", "[Name]"


class Runner:
    """netdyno's runner as a process."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.strip():
                said: dict[str, Any] = json.loads(line)
                if "refused" in said:
                    sys.exit(f"ERROR: Failed to run the model: {said['refused']}")
                return said
        sys.exit(f"ERROR: the runner ended with {self._process.wait()}")


def main(form: str, command: list[str], arguments: list[str]) -> None:
    given = dict(argument[2:].partition("=")[::2] for argument in arguments)
    if "help" in given:
        print("usage: benchmark_model <flags>\nFlags:")
        print("\n".join(f"\t--{flag}=x\tstring\toptional\t" for flag in FLAGS[form]))
        sys.exit(1)
    for flag in set(given) - set(FLAGS[form]):
        print(f"WARNING: Unrecognized commandline argument: {flag}" if form == "compiled" else f"ERROR: --{flag}?")
        if form != "compiled":
            sys.exit(1)
    print("netdyno's stand-in for benchmark_model: the figures are those of netdyno's own runner")
    print(f"INFO: Graph: [{given['graph']}]")
    runner = Runner(command)
    before = runner.ask("memory")["bytes"]
    loaded = runner.ask(f"load 0 {given['num_threads']} {given['graph']}")
    feed(runner, 0, given, loaded)
    first = runner.ask("run 0 1")["ns"][0] / 1e3
    warm = runner.ask(f"run 0 {given.get('warmup_runs', 1)}")["ns"]
    times = [ns / 1e3 for ns in runner.ask(f"run 0 {given['num_runs']}")["ns"]]
    grown = (runner.ask("memory")["bytes"] - before) / 2**20
    tell(form, times, first, loaded["load_ns"] / 1e3, statistics.mean(warm) / 1e3, grown)
    if "output_filepath" in given:
        runner.ask(f"read 0 {given['output_filepath']}")
    if given.get("enable_op_profiling") == "true":
        tell_operators(form, given, operators(runner, given, loaded))


def feed(runner: Runner, number: int, given: dict[str, str], loaded: dict[str, Any]) -> None:
    """The files that were given, or zeros."""
    files = [part.partition(":")[2] for part in given.get("input_layer_value_files", "").split(",") if part]
    content = [Path(file).read_bytes() for file in files] or [bytes(size) for *_, size in loaded["inputs"]]
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(b"".join(content))
        runner.ask(f"feed {number} {file.name}")


def tell(form: str, us: list[float], first: float, load: float, warm: float, grown: float) -> None:
    """The summary of the inferences, in the words of the tool."""
    spread = statistics.pstdev(us)
    told = f"count={len(us)} first={us[0]:.6g} curr={us[-1]:.6g} min={min(us):.6g} max={max(us):.6g}"
    told += f" avg={statistics.mean(us):.6g} std={spread:.0f}"
    if form in ("proto", "compiled"):
        ordered = sorted(us)
        told += f" p5={ordered[len(us) // 20]:.6g} median={statistics.median(us):.6g} p95={ordered[-1]:.6g}"
    print(f"INFO: {told}\n")
    totals = f"Init: {load:.0f}, First inference: {first:.6g}, Warmup (avg): {warm:.6g}"
    print(f"INFO: Inference timings in us: {totals}, Inference (avg): {statistics.mean(us):.6g}")
    print(f"INFO: Memory footprint delta from the start of the tool (MB): init={grown:.6g} overall={grown:.6g}")


def operators(runner: Runner, given: dict[str, str], loaded: dict[str, Any]) -> list[tuple[str, str, int, float]]:
    """Type, name, kind of event and mean time in ms of each operator."""
    runner.ask(f"profile 1 {given['num_threads']} {given['graph']}")
    feed(runner, 1, given, loaded)
    runner.ask("run 1 3")
    found = OperatorEvents()
    events = runner.ask(f"events 1 {given['num_runs']}")["events"]
    found.add([Event(str(tag), int(kind), int(us)) for tag, kind, us in events], int(given["num_runs"]))
    kinds = [kind for _, kind, _ in events if kind in (BUILTIN, DELEGATED)]
    means = [statistics.mean(own.latency_us) / 1e3 for own in found.operators()]
    return [(own.type, own.name, kind, ms) for own, kind, ms in zip(found.operators(), kinds, means, strict=False)]


def tell_operators(form: str, given: dict[str, str], found: list[tuple[str, str, int, float]]) -> None:
    """The main graph, in which a delegate is one row, and what is inside of that, as far as the build tells it."""
    merged = next((name for flag, name in MERGED.items() if given.get(flag) == "true"), "TfLiteXNNPackDelegate")
    inside = [(kind, name, ms) for kind, name, event, ms in found if event == DELEGATED]
    rows = [(kind, name, ms) for kind, name, event, ms in found if event == BUILTIN]
    if inside:
        rows.insert(0, (merged, "[output]:1", sum(ms for *_, ms in inside)))
    inside = [] if merged != "TfLiteXNNPackDelegate" else inside
    if form == "proto":
        Path(given["op_profiling_output_file"]).write_bytes(proto(rows, inside, int(given["num_runs"])))
        return
    tabbed = form == "text"
    title = "Operator-wise Profiling Info for Regular Benchmark Runs:\n"
    text = title + table(rows, tabbed=tabbed)
    text += f"\nDelegate internal: \n{table(inside, tabbed=tabbed)}" if inside else ""
    if tabbed:
        print(text)
    else:
        Path(given["profiling_output_csv_file"]).write_text(text)


def table(rows: list[tuple[str, str, float]], *, tabbed: bool) -> str:
    """The table in run order."""
    header = HEADER if tabbed else [cell.strip("[]").replace("avg ms", "avg_ms").lower() for cell in HEADER]
    cells = [[kind, "0.0", f"{ms:.6f}", f"{ms:.6f}", "1%", "1%", "0.0", "1", f"[{name}]"] for kind, name, ms in rows]
    lines = ["\t" + "\t".join(line) if tabbed else ", ".join(line) for line in [list(header), *cells]]
    return "\n".join(["============================== Run Order ==============================", *lines, ""])


def proto(rows: list[tuple[str, str, float]], inside: list[tuple[str, str, float]], count: int) -> bytes:
    """Both as a message."""
    profile = message_type("BenchmarkProfilingData")(model_name="stand-in")
    sections = [(profile.runtime_profile.subgraph_profiles.add(), rows)]
    sections += [(profile.runtime_profile.delegate_profiles.add(delegate_name="XNNPack"), inside)] if inside else []
    for section, own in sections:
        for order, (kind, name, ms) in enumerate(own):
            row = section.per_op_profiles.add(node_type=kind, name=name, times_called=1, run_order=order)
            row.inference_microseconds.sum, row.inference_microseconds.count = round(1e3 * ms * count), count
    content: bytes = profile.SerializeToString()
    return content


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:4], sys.argv[4:])
