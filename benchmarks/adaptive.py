"""How near to the best cascade there is does optimisation come in 25 evaluations?

All networks of a space that is small enough are trained, so that the best cascade of any two or three of them is
known. Bayesian optimisation with sweeps, without, and networks sized without a cascade are set against it, for the
least cost at an accuracy and the least error at a cost, with the last network on the device or on a server. The
server here is this machine over the loopback: what an image takes to it and back is measured. The best cascade of
each kind is shipped, and its program run on every validation image. Prints one JSON line; killed, the same command
goes on.

    netdyno profile cnn-caffenet:resolution=16,width=0.1,every=2 --metrics latency,memory --out build/adaptive/table
    OMP_NUM_THREADS=1 python benchmarks/adaptive.py build/adaptive/table --out build/adaptive
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from netdyno.cascades import Cascades
from netdyno.nas.adaptive.bundle import RUNNER
from netdyno.nas.adaptive.cascade import as_arrays, decide
from netdyno.nas.adaptive.execution import Link
from netdyno.nas.adaptive.optimise import optimise
from netdyno.nas.adaptive.problem import CascadeProblem, Design, Goal
from netdyno.nas.data import load_data
from netdyno.nas.space import parse_space
from netdyno.profiler.table import load_table

EVALUATIONS = 25
METHODS = ("bo-plus", "bo", "static")
SHARE = 0.3
"""Of the largest network's cost: the budget where the error is minimised."""
BEHIND = 1.0
"""Points by which the error may lie above the largest network's where the cost is minimised."""
FASTER = 0.2
"""Latency of a network on the server, as a share of that on the device."""
NEAR = 1.05
PINGS = 200
TIE = 1e-9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/adaptive"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--networks", type=int, nargs="+", default=[2, 3])
    options = parser.parse_args()

    space = parse_space(load_table(options.table).conditions["subject"])
    image = space.resolution(space.largest()) ** 2 * 3 * 4
    round_trip_ms = measure_round_trip(image)
    local = Cascades(space, options.table, options.out, training="train:steps=500,batch=64")
    remote = Remote(local, Link(round_trip_ms))
    most = local.costs(np.stack([space.largest()]))[0]
    error = local.answers(space.largest()).error_pct
    result: dict[str, Any] = {
        "benchmark": "adaptive",
        "networks_of_the_space": int(np.prod(space.cardinalities)),
        "loopback_round_trip_ms": round(round_trip_ms, 4),
    }
    goals = {"least cost": Goal(error_pct=error + BEHIND), "least error": Goal(cost=SHARE * most)}
    for networks, (where, costing), (what, goal) in product(
        options.networks, (("local", local.costs), ("remote", remote.costs)), goals.items()
    ):
        problem = CascadeProblem(space, networks, local.answers, costing, goal)
        name = f"{networks} networks, {where}, {what}"
        result[name] = compared(problem, options.seeds)
        best = optimise(problem, "bo-plus", EVALUATIONS, 0)[-1]
        result[name]["decisions_that_differ"] = differing(local, best)
        print(json.dumps({name: result[name]}), file=sys.stderr, flush=True)
    print(json.dumps(result))


class Remote:
    """The last network of a cascade on a server that is faster by a factor."""

    def __init__(self, local: Cascades, link: Link) -> None:
        self._local, self._link = local, link

    def costs(self, X: np.ndarray) -> np.ndarray:
        """What an image costs at each network, ``(networks,)``."""
        costs = self._local.costs(X)
        costs[-1:] = self._link.cost("latency_ms", FASTER * costs[-1:])
        return costs


def compared(problem: CascadeProblem, seeds: int) -> dict[str, Any]:
    """Values that are minimised, in units of the best that there is."""
    best = exhaustive(problem)
    unit = value(problem, [best])[0]
    reached = {
        method: np.stack(
            [value(problem, optimise(problem, method, EVALUATIONS, seed)) / unit for seed in range(seeds)]
        )
        for method in METHODS
    }
    final = {method: own[:, -1] for method, own in reached.items()}
    near = reached["bo-plus"].mean(axis=0) <= NEAR
    return {
        "best": {"error_pct": round(best.error_pct, 3), "cost": round(best.cost, 6)},
        **{method: [round(float(each), 4) for each in own] for method, own in final.items()},
        "bo_plus_within_5_pct_after": int(near.argmax()) + 1 if near.any() else None,
        **{f"ahead_of_{other}": paired(final[other] - final["bo-plus"]) for other in ("bo", "static")},
    }


def exhaustive(problem: CascadeProblem) -> Design:
    """The best cascade of all, smaller networks first."""
    return optimise(problem, "grid", int(np.prod(problem.space.cardinalities)) ** problem.networks)[-1]


def value(problem: CascadeProblem, designs: list[Design]) -> np.ndarray:
    """What is minimised, ``(n,)``; infinite where a cascade breaks the limit."""
    error, cost = (np.array([getattr(each, name) for each in designs]) for name in ("error_pct", "cost"))
    broken, found = problem.goal.split(error, cost)
    return np.where(broken > 0, np.inf, found)


def paired(differences: np.ndarray) -> dict[str, Any]:
    """In how many seeds ahead and behind, and the mean of paired differences with its 95 % interval by Student's t.

    Without a mean where one of both did not keep to the limit.
    """
    told: dict[str, Any] = {"ahead": int((differences > TIE).sum()), "behind": int((differences < -TIE).sum())}
    if not np.isfinite(differences).all():
        return told
    half = stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / len(differences) ** 0.5
    mean = differences.mean()
    interval = [round(float(mean - half), 4), round(float(mean + half), 4)]
    return told | {"mean": round(float(mean), 4), "interval": interval}


def differing(cascades: Cascades, design: Design) -> int:
    """On how many validation images the shipped program decides otherwise than the search did."""
    bundle, _ = cascades.ship(design, ["onnx"])
    data = load_data("digits", "val")
    std, mean = (np.reshape(each, (-1, 1, 1)) for each in (data.std, data.mean))
    np.save(bundle.path.parent / "images.npy", data.images * std + mean)
    command = [sys.executable, bundle.path / RUNNER, bundle.path.parent / "images.npy"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = np.array([line.split()[1] for line in done.stdout.splitlines()], int) - 1
    margins, _ = as_arrays([cascades.answers(genes) for genes in design.X])
    return int((told != decide(margins, design.thresholds)).sum())


def measure_round_trip(size: int) -> float:
    """Median milliseconds for an image of so many bytes to a server on the loopback, and a class back."""
    with echo(size) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        for _ in range(PINGS):
            began = time.perf_counter()
            connection.sendall(b"\0" * size)
            connection.recv(8)
            times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(times))


@contextmanager
def echo(size: int) -> Iterator[int]:
    """A server on the loopback that answers each image with eight bytes; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection:
                left = size
                while got := connection.recv(left):
                    left -= len(got)
                    if not left:
                        connection.sendall(b"\0" * 8)
                        left = size

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
    thread.join(timeout=5)


if __name__ == "__main__":
    main()
