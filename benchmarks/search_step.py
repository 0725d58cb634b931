"""What a step of a differentiable search costs: the superkernel beside the largest plain network and multi-path.

Prints one JSON line. A step is forward, loss with the logarithm of the runtime, backward and the optimiser, on random
images; all take turns in the same run. Peak memory is that of a process of its own for each, above what it has before
there is a network. Ratios are those of the single path to the plain network, and to multi-path with the same
candidates.

    OMP_NUM_THREADS=1 python benchmarks/search_step.py [--rounds 7] [--batch 64] [--width 0.25]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netdyno.nas.search.differentiable.multi_path import MIXES, MultiPath
from netdyno.nas.search.differentiable.runtime import ExactRuntime
from netdyno.nas.search.differentiable.single_path import GatedPath, SoftmaxPath
from netdyno.nas.space import make_space
from netdyno.nas.spaces.single_path import SinglePath
from netdyno.nas.supernets.recipe import optimiser_of
from netdyno.nas.supernets.single_path import SinglePathSupernet
from netdyno.nas.supernets.store import make_supernet
from netdyno.profiler.cost.cost import LayerCost
from netdyno.profiler.table import LookupTable, make_rows

SPACES = ("single-path", "single-path-plus")
KINDS = ("plain", "single-path", "sigmoid", "softmax", *(f"multi-path {mix}" for mix in MIXES))
PENALTY = 0.1
STEPS = 3
"""Of a process that tells its memory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--memory", nargs=2, metavar=("SPACE", "KIND"), help="only this one's memory, in MB")
    args = parser.parse_args()
    if args.memory:
        print(peak_mb(*args.memory, args))
    else:
        found = {name: compare(name, args) for name in SPACES}
        print(json.dumps({"benchmark": "search_step", "batch": args.batch, "width": args.width, **found}))


def compare(name: str, args: argparse.Namespace) -> dict[str, object]:
    """Median seconds and memory of each kind of step, and the ratios that matter."""
    steps = {kind: make_step(name, kind, args) for kind in KINDS}
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(args.rounds + 1):
        for kind, step in steps.items():
            begin = time.perf_counter()
            step()
            if number:  # the first is a warm-up
                seconds[kind].append(time.perf_counter() - begin)
    median = {kind: statistics.median(own) for kind, own in seconds.items()}
    memory = {kind: ask_memory(name, kind, args) for kind in KINDS}
    return {
        "seconds": {kind: round(value, 4) for kind, value in median.items()},
        "spread": {kind: round(max(own) / min(own) - 1, 2) for kind, own in seconds.items()},
        "peak_mb": memory,
        "single_path_by_plain": round(median["single-path"] / median["plain"], 2),
        "single_path_by": {
            kind: {"time": round(median["single-path"] / median[kind], 2)}
            | {"memory": round(memory["single-path"] / memory[kind], 2)}
            for kind in KINDS
            if kind.startswith("multi-path")
        },
    }


def ask_memory(name: str, kind: str, args: argparse.Namespace) -> float:
    """Peak memory of a process of its own, MB."""
    options = [f"--batch={args.batch}", f"--width={args.width}", "--memory", name, kind]
    answer = subprocess.run([sys.executable, __file__, *options], check=True, capture_output=True, text=True)
    return float(answer.stdout)


def peak_mb(name: str, kind: str, args: argparse.Namespace) -> float:
    """How far this process grows by the network and a few steps, MB."""
    before = resident_mb()
    step = make_step(name, kind, args)
    for _ in range(STEPS):
        step()
    return round(resident_mb() - before, 1)


def resident_mb() -> float:
    """The most memory that this process has had; what ``getrusage`` tells begins with its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def make_step(name: str, kind: str, args: argparse.Namespace) -> Callable[[], None]:
    """One step of a kind, ready to be called."""
    torch.manual_seed(0)
    space = make_space(name, width=args.width, resolution=64, classes=10)
    assert isinstance(space, SinglePath)
    network = make_network(space, kind).train()
    optimiser = optimiser_of(network.parameters(), 1e-2)
    images = torch.randn(args.batch, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (args.batch,))

    def step() -> None:
        optimiser.zero_grad()
        answer: Tensor | tuple[Tensor, Tensor] = network(images)
        logits, runtime = (answer, None) if isinstance(answer, Tensor) else answer
        loss = F.cross_entropy(logits, labels)
        (loss if runtime is None else loss + PENALTY * runtime.log()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def make_network(space: SinglePath, kind: str) -> nn.Module:
    """The largest plain network, or a relaxation."""
    supernet, cost = make_supernet(space), cost_of(space)
    assert isinstance(supernet, SinglePathSupernet)
    match kind:
        case "plain":
            return supernet.extract(space.largest())
        case "single-path" | "sigmoid":
            return GatedPath(supernet, ExactRuntime(cost, space), hard=kind == "single-path")
        case "softmax":
            return SoftmaxPath(supernet, cost.torch())
    return MultiPath(space, cost.torch(), kind.removeprefix("multi-path "))


def cost_of(space: SinglePath) -> LayerCost:
    """What runtime it is does not matter for what a step costs."""
    rows = {layer.key: {"latency_ms": 0.02 + layer.macs / 1e8} for layer in space.vocabulary()}
    return LookupTable("macs", {}, make_rows("layer", rows)).cost(space)


if __name__ == "__main__":
    main()
