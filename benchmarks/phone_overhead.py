"""What the way to a phone costs: ``python benchmarks/phone_overhead.py android:SERIAL``.

Measures the first 50 layers of OFA MobileNetV3 width 1.0 at 224 px with netdyno's own runner, as `netdyno profile`
does, and prints one JSON line: of the whole time, what the runner worked (loading and running models, in its own
words), what starting processes and reading the state took, and what the way there costs, which is pushing files
and asking; the rest is writing models and the journal.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import netdyno as nd
from netdyno.devices.android import builtin
from netdyno.devices.android.files import Files
from netdyno.devices.android.process import RunnerProcess
from netdyno.profiler.measure import Method
from netdyno.profiler.profile import profile_layers
from netdyno.profiler.profiling import Profiling

MODELS = 50
spent: Counter[str] = Counter()


@contextmanager
def counted(what: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        spent[what] += time.perf_counter() - began


class Process(RunnerProcess):
    """Counts what starting takes, and what the runner says that it worked."""

    def __init__(self, *about: Any) -> None:
        with counted("starting"):
            super().__init__(*about)

    def ask_all(self, requests: Sequence[str], *about: Any) -> Iterator[dict[str, Any]]:
        with counted("asking"):
            answers = list(super().ask_all(requests, *about))
        for said in answers:
            worked = (sum(said.get("ns", ())) + said.get("load_ns", 0)) / 1e9
            spent["working"] += worked
            spent["asking"] -= worked
            yield said


class CountedFiles(Files):
    def bring(self, *about: Any) -> str:
        with counted("pushing"):
            return super().bring(*about)


def main(identifier: str) -> None:
    space = nd.space("ofa-mobilenetv3", width=1.0, resolutions=[224])
    layers = space.vocabulary()[:MODELS]
    builtin.RunnerProcess = Process  # type: ignore[misc]
    with nd.device(identifier, runner="builtin") as device, counted("whole"):
        device._files.__class__ = CountedFiles  # type: ignore[attr-defined]
        state = device.state
        device.state = counted("state")(state)  # type: ignore[method-assign]
        table = profile_layers(
            layers, Profiling(device, method=Method(memory="--memory" in sys.argv)), subject="50 layers"
        )
    measuring = spent["working"]
    document = {
        "models": len(layers),
        "valid": int((table.layers["valid"] == 1).sum()),
        **{f"{name}_s": round(seconds, 3) for name, seconds in sorted(spent.items())},
        "transport_pct_of_measuring": round(100 * (spent["asking"] + spent["pushing"]) / measuring, 1),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main(sys.argv[1])
