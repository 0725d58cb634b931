"""The process that profiles operators: ``python -m netdyno.devices.operator_worker RUNTIME LIMIT``.

Runtimes profile for as long as a process lives, or leave files behind; so it answers one request and ends. The same
model is loaded once more without the profiler, and both take turns, so that drift hits them alike.
"""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

from netdyno.devices.agent.limits import default_limit, limit_memory
from netdyno.devices.agent.main import end_with, trouble
from netdyno.devices.litert_profile import LiteRtProfiler
from netdyno.devices.onnxruntime_profile import parse_profile
from netdyno.devices.operators import OperatorProfile, OperatorTimes, to_wire
from netdyno.devices.runtimes import Model, default_inputs
from netdyno.devices.wire import Frame, receive, send

WARM_UP = 5
TURN = 10
"""Inferences with the profiler, then as many without."""


class Profiler(Protocol):
    """A model whose operators are timed."""

    def warm_up(self, inferences: int) -> None:
        """Run without keeping the times."""

    def run(self, inferences: int) -> None:
        """Run, and keep the operators' times."""

    def operators(self) -> list[OperatorTimes]:
        """The operators with their times, once all is run."""


class OnnxRuntimeProfiler:
    """ONNX Runtime's profiler: it writes a file, which is read in the end."""

    def __init__(self, data: bytes, plain: Model, threads: int, folder: Path) -> None:
        shapes = {spec.name: spec.shape for spec in plain.inputs}
        self._model = Model("onnxruntime", data, shapes, threads, profile=str(folder / "profile"))
        self._model.feed(default_inputs(plain.inputs))
        self._warm_up = 0

    def warm_up(self, inferences: int) -> None:
        """Run; these times are left out in the end."""
        self._warm_up += inferences
        self.run(inferences)

    def run(self, inferences: int) -> None:
        """Run; the profiler is always on."""
        for _ in range(inferences):
            self._model.run()

    def operators(self) -> list[OperatorTimes]:
        """Read the profile."""
        text = Path(self._model.loaded.session.end_profiling()).read_text(encoding="utf-8")
        operators = parse_profile(text, "its profile")
        for operator in operators:
            del operator.latency_us[: self._warm_up]
        return [operator for operator in operators if operator.latency_us]


def profile(runtime: str, request: Frame) -> OperatorProfile:
    """Profile the model of a request."""
    data = request.arrays["model"].tobytes()
    threads, inferences = request.message["threads"], request.message["inferences"]
    plain = load_model(runtime, request.message, data)
    inputs = default_inputs(plain.inputs)
    plain.feed(inputs)
    with tempfile.TemporaryDirectory() as folder:
        profiler: Profiler
        if runtime == "onnxruntime":
            profiler = OnnxRuntimeProfiler(data, plain, threads, Path(folder))
        else:
            profiler = LiteRtProfiler(data, inputs, threads)
        profiler.warm_up(WARM_UP)
        plain.time_runs(WARM_UP)
        whole_us: list[float] = []
        for _ in range(-(-inferences // TURN)):
            profiler.run(TURN)
            whole_us += (plain.time_runs(TURN) / 1e3).tolist()
        return OperatorProfile(profiler.operators(), whole_us)


def load_model(runtime: str, message: dict[str, Any], data: bytes) -> Model:
    """A model from its bytes, with the shapes and threads that the message gives.

    Raises:
        ModelError: the runtime refuses it; runtimes also raise types of their own.
    """
    shapes = {name: tuple(shape) for name, shape in message["shapes"].items()}
    return Model(runtime, data, shapes, message["threads"])


def main(runtime: str, limit: str) -> None:
    """Answer one request, whose model may take ``limit`` bytes of memory, or the usual share of it for 0."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    stream = socket.socket(fileno=0)
    end_with(stream.fileno())
    limit_memory(int(limit) or default_limit())
    try:
        reply = to_wire(profile(runtime, receive(stream)))
    except Exception as error:
        reply = Frame(trouble(error))
    send(stream, reply)
    while stream.recv(1 << 16):  # a request that did not fit into memory is sent to its end before this is read
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
