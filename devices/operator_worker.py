"""The process that profiles operators: ``python -m netdyno.devices.operator_worker RUNTIME``.

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

from netdyno.base.errors import ModelError
from netdyno.devices.agent.main import end_with, refusal
from netdyno.devices.litert_profile import LiteRtProfiler
from netdyno.devices.litert_shapes import tensor_shapes
from netdyno.devices.onnxruntime_nodes import describe, original_graph, read_graph
from netdyno.devices.onnxruntime_profile import parse_nodes
from netdyno.devices.operators import WARM_UP, OperatorProfile, OperatorTimes, to_wire, turns
from netdyno.devices.runtimes import Model, default_inputs
from netdyno.devices.wire import Frame, receive, send

_LARGEST_GRAPH = 1 << 30
"""Bytes of a model of which a second copy is written."""


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
        self._graph = folder / "graph.onnx"
        options = {"profile": str(folder / "profile")}
        try:
            graph = str(self._graph) if len(data) <= _LARGEST_GRAPH else ""
            self._model = Model("onnxruntime", data, shapes, threads, **options, graph=graph)
        except Exception:  # not every graph that can be run can be written; runtimes raise types of their own
            self._model = Model("onnxruntime", data, shapes, threads, **options)
        self._model.feed(default_inputs(plain.inputs))
        self._data = data
        self._warm_up = self._inferences = 0

    def warm_up(self, inferences: int) -> None:
        """Run; these times are left out in the end."""
        self._warm_up += inferences
        self.run(inferences)

    def run(self, inferences: int) -> None:
        """Run; the profiler is always on."""
        self._inferences += inferences
        for _ in range(inferences):
            self._model.run()

    def operators(self) -> list[OperatorTimes]:
        """Read the profile.

        Raises:
            ModelError: it tells of other inferences than were run.
        """
        text = Path(self._model.loaded.session.end_profiling()).read_text(encoding="utf-8")
        nodes, inferences = parse_nodes(text, "its profile", self._warm_up)
        if inferences != self._inferences - self._warm_up:
            raise ModelError(f"the profile ends after {inferences} inferences: it has more events than are kept")
        operators = describe(nodes, inferences, read_graph(self._graph), lambda: original_graph(self._data))
        for operator in operators:  # where it did not run it took no time
            operator.latency_us.extend([0.0] * (inferences - len(operator.latency_us)))
        return operators


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
        warm_up = min(WARM_UP, inferences)
        profiler.warm_up(warm_up)
        whole_us: list[float] = []
        if inferences > 1:
            plain.time_runs(warm_up)
        for turn in turns(inferences):
            profiler.run(turn)
            if inferences > 1:
                whole_us += (plain.time_runs(turn) / 1e3).tolist()
        tensors = tensor_shapes(data, inputs) if runtime == "litert" else ()
        return OperatorProfile(profiler.operators(), whole_us, tensors=tensors)


def load_model(runtime: str, message: dict[str, Any], data: bytes) -> Model:
    """A model from its bytes, with the shapes and threads that the message gives.

    Raises:
        ModelError: the runtime refuses it; runtimes also raise types of their own.
    """
    shapes = {name: tuple(shape) for name, shape in message["shapes"].items()}
    return Model(runtime, data, shapes, message["threads"])


def main(runtime: str) -> None:
    """Answer one request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    stream = socket.socket(fileno=0)
    end_with(stream.fileno())
    request = receive(stream)
    try:
        reply = to_wire(profile(runtime, request))
    except Exception as error:
        reply = Frame({"refused": refusal(error)})
    send(stream, reply)


if __name__ == "__main__":
    main(sys.argv[1])
