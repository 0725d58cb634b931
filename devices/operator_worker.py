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

from netdyno.base.scratch import scratch_folder
from netdyno.devices.agent import models
from netdyno.devices.agent.limits import default_limit, limit_memory
from netdyno.devices.agent.main import end_with, trouble
from netdyno.devices.agent.work import arrays_of, model_source
from netdyno.devices.litert_profile import LiteRtProfiler
from netdyno.devices.onnxruntime_profile import parse_profile
from netdyno.devices.operators import OperatorProfile, OperatorTimes, to_wire
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

    def __init__(self, source: Any, request: Request, folder: Path) -> None:
        self._model = request.load("onnxruntime", source, profile=str(folder / "profile"))
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
        text = Path(self._model.session.end_profiling()).read_text(encoding="utf-8")
        operators = parse_profile(text, "its profile")
        for operator in operators:
            del operator.latency_us[: self._warm_up]
        return [operator for operator in operators if operator.latency_us]


class Request:
    """A model and what it is fed, as they came; models are loaded and fed all alike."""

    def __init__(self, frame: Frame) -> None:
        self.message = frame.message
        self.threads, self.inferences = int(self.message["threads"]), int(self.message["inferences"])
        self.raw = {name: (array.dtype.name, array.shape, array.tobytes()) for name, array in frame.arrays.items()}

    def source(self, runtime: str) -> Any:
        """The model's bytes, or the path of its file for a runtime that opens it itself."""
        return model_source(models.runtime_class(runtime, "cpu"), self.message, self.raw)

    def arrays(self) -> dict[str, Any]:
        """What every input is fed."""
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
            signature = request.message.get("options", {}).get("signature", "")
            profiler = LiteRtProfiler(source, request.arrays(), request.threads, signature)
        profiler.warm_up(WARM_UP)
        plain.time_runs(WARM_UP)
        whole_us: list[float] = []
        for _ in range(-(-request.inferences // TURN)):
            profiler.run(TURN)
            whole_us += [latency_ns / 1e3 for latency_ns in plain.time_runs(TURN)]
        return OperatorProfile(profiler.operators(), whole_us)


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
