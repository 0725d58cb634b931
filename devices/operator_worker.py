"""The process that profiles operators: ``python -m netdyno.devices.operator_worker RUNTIME LIMIT``.

Runtimes profile for as long as a process lives, or leave files behind; so it answers one request and ends. The same
model is loaded once more without the profiler, and both take turns, so that drift hits them alike.
"""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from typing import Any, Protocol

from netdyno.base.errors import ModelError
from netdyno.base.scratch import scratch_folder
from netdyno.devices.agent import models
from netdyno.devices.agent.limits import default_limit, limit_memory
from netdyno.devices.agent.main import end_with, trouble
from netdyno.devices.agent.work import arrays_of, model_source
from netdyno.devices.litert_profile import LiteRtProfiler
from netdyno.devices.litert_shapes import tensor_shapes
from netdyno.devices.onnxruntime_nodes import describe, read_graph, size_of
from netdyno.devices.onnxruntime_profile import parse_nodes
from netdyno.devices.operators import WARM_UP, OperatorProfile, OperatorTimes, to_wire, turns
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

    def __init__(self, source: Any, request: Request, folder: Path) -> None:
        self._graph, self._source = folder / "graph.onnx", source
        options = {"profile": str(folder / "profile")}
        try:
            graph = str(self._graph) if size_of(source) <= _LARGEST_GRAPH else ""
            self._model = request.load("onnxruntime", source, **options, graph=graph)
        except Exception:  # not every graph that can be run can be written; runtimes raise types of their own
            self._model = request.load("onnxruntime", source, **options)
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
        text = Path(self._model.session.end_profiling()).read_text(encoding="utf-8")
        nodes, inferences = parse_nodes(text, "its profile", self._warm_up)
        if inferences != self._inferences - self._warm_up:
            raise ModelError(f"the profile ends after {inferences} inferences: it has more events than are kept")
        executed = read_graph(self._graph) if self._graph.exists() else None
        operators = describe(nodes, inferences, executed, lambda: read_graph(self._source))
        for operator in operators:  # where it did not run it took no time
            operator.latency_us.extend([0.0] * (inferences - len(operator.latency_us)))
        return operators


class Request:
    """A model and what it is fed, as they came; models are loaded and fed all alike."""

    def __init__(self, frame: Frame) -> None:
        self.message = frame.message
        self.threads, self.inferences = int(self.message["threads"]), int(self.message["inferences"])
        self.raw = {name: (array.dtype.name, array.shape, array.tobytes()) for name, array in frame.arrays.items()}

        self.signature = str(self.message.get("options", {}).get("signature", ""))

    def source(self, runtime: str) -> Any:
        """The model's bytes, or the path of its file for a runtime that opens it itself."""
        return model_source(models.runtime_class(runtime, "cpu"), self.message, self.raw)

    def arrays(self) -> dict[str, Any]:
        """Values of every input."""
        return arrays_of(self.raw, self.message["types"])

    def load(self, runtime: str, source: Any, **options: Any) -> Any:
        """A model that is ready to run."""
        options = {**self.message.get("options", {}), **options}
        model = models.runtime_class(runtime, "cpu")(source, self.threads, **options)
        model.allocate(self.message["shapes"])
        model.feed(self.arrays())
        return model


def profile(runtime: str, frame: Frame) -> OperatorProfile:
    """Profile the model of a request."""
    request = Request(frame)
    source = request.source(runtime)
    plain = request.load(runtime, source)
    with scratch_folder() as folder:
        profiler: Profiler
        if runtime == "onnxruntime":
            profiler = OnnxRuntimeProfiler(source, request, folder)
        else:
            profiler = LiteRtProfiler(source, request.arrays(), request.threads, request.signature)
        warm_up = min(WARM_UP, request.inferences)
        profiler.warm_up(warm_up)
        whole_us: list[float] = []
        if request.inferences > 1:
            plain.time_runs(warm_up)
        for turn in turns(request.inferences):
            profiler.run(turn)
            if request.inferences > 1:
                whole_us += [latency_ns / 1e3 for latency_ns in plain.time_runs(turn)]
        tensors = tensor_shapes(source, request.arrays(), request.signature) if runtime == "litert" else ()
        return OperatorProfile(profiler.operators(), whole_us, tensors=tensors)


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
