"""Models on a phone by Google's ``benchmark_model``, each call a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact, TensorSpec
from netdyno.base.errors import ModelError, NetdynoError, WorkerLost
from netdyno.devices.agents import MOST_BYTES, understood
from netdyno.devices.android import fetch
from netdyno.devices.android.benchmark_log import Operators, Summary
from netdyno.devices.android.cores import Cluster
from netdyno.devices.android.files import Files
from netdyno.devices.android.process import parted
from netdyno.devices.android.runner import PhoneRunner, PhoneWorker
from netdyno.devices.android.tool import SILENCE_S, BenchmarkTool, Call, Feed
from netdyno.devices.android.transport import FOLDER, Transport
from netdyno.devices.device import LoadReading, Settings
from netdyno.devices.feeding import feed
from netdyno.devices.operators import OperatorProfile, OperatorTimes
from netdyno.devices.signature import Tensor, tflite_signature
from netdyno.devices.types import require_plain
from netdyno.devices.wire import Arrays, Frame
from netdyno.devices.workers import Loaded

_PROGRAM = "benchmark_model"
_MIB = 1 << 20
_COARSE_BELOW_US = 200
"""Half a µs is more than a quarter of a percent of that."""


class GoogleRunner(PhoneRunner):
    """The file of ``path``, or the program that Google publishes, fetched where ``fetch`` allows it."""

    formats: Mapping[str, str] = {"litert": "tflite", "litert-gpu": "tflite", "litert-nnapi": "tflite"}

    def __init__(
        self,
        transport: Transport,
        machine: str,
        files: Files,
        clusters: Sequence[Cluster] = (),
        *,
        path: str = "",
        fetch: bool = True,
    ) -> None:
        super().__init__(transport, machine, files, clusters)
        self._given = path
        self._fetch = fetch
        self._program: bytes | None = None
        self._tool: BenchmarkTool | None = None

    def prepare(self) -> None:
        """Have the program here, as the user gave it, or fetched."""
        if self._program is None:
            self._program = (
                fetch.given(Path(self._given), self.machine)
                if self._given
                else fetch.published(self.machine, fetch=self._fetch)
            )

    def versions(self) -> Mapping[str, str]:
        """The program's digest: builds of it differ in speed."""
        program = self._program
        with contextlib.suppress(NetdynoError):  # it is told when it is needed
            program = program or (
                fetch.given(Path(self._given), self.machine) if self._given else fetch.cached(self.machine)
            )
        return {"runner": f"{_PROGRAM} {hashlib.sha256(program).hexdigest()[:12]}"} if program else {}

    def start(self, kind: str, settings: Settings) -> PhoneWorker:
        """What knows the models that the program is to run."""
        return GoogleWorker(self, self.prefix(settings))

    def tool(self) -> BenchmarkTool:
        """The program on the phone."""
        self.prepare()
        assert self._program is not None
        folder = self.files.install({_PROGRAM: self._program})
        if self._tool is None:
            self._tool = BenchmarkTool(self.transport, f"{folder}/{_PROGRAM}")
        return self._tool

    def profile_operators(self, artifact: Artifact, settings: Settings, inferences: int) -> OperatorProfile:
        """Mean times of operators over all inferences, and the model's without the profiler beside them."""
        worker = GoogleWorker(self, self.prefix(settings))
        worker.load(0, artifact, settings)
        found = worker.profile(0, inferences)
        whole_us = (worker.run(0, inferences)[:1] / 1e3).tolist()
        with understood(self.transport.serial):
            rows = found.expanded()
            if not rows or not all(row.latency_ms >= 0 for row in rows):
                raise ValueError("no operator, or times that nothing takes")
        operators = [
            OperatorTimes(row.type, row.name, row.provider, latency_us=[1e3 * row.latency_ms]) for row in rows
        ]
        return OperatorProfile(operators, whole_us, partitions=found.partitions)

    def unmetered(self, settings: Settings) -> str:
        """Each call is a process that loads the model first."""
        return "each call of benchmark_model is mostly its start; --runner builtin can tell"


@dataclass
class _Model:
    path: str
    inputs: tuple[TensorSpec, ...]
    outputs: list[Tensor]
    settings: Settings
    feed: Feed | None = None


class GoogleWorker(PhoneWorker):
    """The models of a session: nothing of them stays in a process, only files."""

    def __init__(self, runner: GoogleRunner, prefix: Sequence[str]) -> None:
        self._prefix = prefix
        self._transport, self._files = runner.transport, runner.files
        self._tool = runner.tool()
        self._models: dict[int, _Model] = {}
        self._ended = False

    @property
    def alive(self) -> bool:
        """Whether it was not ended."""
        return not self._ended

    def require_alive(self) -> None:
        """Make sure that it was not ended; raises WorkerLost."""
        if self._ended:
            raise WorkerLost("its models were given up; open it again")

    def load(self, number: int, artifact: Artifact, settings: Settings) -> Loaded:
        """Bring a model there and run it once; its inputs are read off the file, since the program tells none."""
        found, outputs = tflite_signature(artifact)
        fed = feed(artifact, found)
        inputs = fed.specs
        for name, _, dtype in (*found, *outputs):
            require_plain(name, dtype)
        model = _Model(self._files.bring(artifact.data), inputs, outputs, settings)
        self._models[number] = model
        self._feed(model, fed.arrays)
        if not self._tool.shapes and any(side < 0 for _, sides, _ in found for side in sides):
            raise ModelError("its inputs have open shapes, which this benchmark_model cannot be told")
        log, _ = self._tool.run(1, self._call(model))
        with understood(self._transport.serial):
            if log.load_us is None or log.first_us is None:
                raise ValueError("no time of loading")
            reading = LoadReading(log.load_us / 1e3, log.first_us / 1e3)
        return Loaded(inputs, reading, averaged=True)

    def _feed(self, model: _Model, arrays: Arrays) -> None:
        if self._tool.shapes and any(not spec.shape for spec in model.inputs):
            raise ModelError("benchmark_model cannot be told of an input without dimensions")
        files = [self._files.bring(np.ascontiguousarray(arrays[spec.name]).tobytes()) for spec in model.inputs]
        model.feed = Feed([spec.shape for spec in model.inputs], files)

    def _flags(self, model: _Model) -> list[str]:
        runtime = model.settings.runtime or "litert"
        flags = [f"--graph={model.path}", f"--num_threads={model.settings.threads}", self._tool.delegate(runtime)]
        return flags + (model.feed.flags() if model.feed else [])

    def _call(self, model: _Model, *flags: str, silence_s: float = SILENCE_S, writes: str = "") -> Call:
        return Call([*self._flags(model), *flags], self._prefix, silence_s, writes)

    def run_all(self, turns: Sequence[tuple[int, int]], timeout_s: float) -> Iterator[NDArray[np.int64]]:
        """Latency of each model's inferences."""
        for number, repeat in turns:
            yield self.run(number, repeat, silence_s=timeout_s)

    def run(
        self, number: int, repeat: int, *flags: str, silence_s: float = SILENCE_S, writes: str = ""
    ) -> NDArray[np.int64]:
        """Latency in ns of each inference: their median, where the program tells it, else their mean."""
        call = self._call(self._models[number], *flags, silence_s=silence_s, writes=writes)
        summary = self._tool.run(repeat, call)[0].summary
        assert summary is not None
        return np.full(repeat, max(round(1e3 * typical_us(summary)), 1), np.int64)

    def profile(self, number: int, repeat: int) -> Operators:
        """Operators as the program's own profiler tells them."""
        return self._tool.operators(repeat, self._call(self._models[number], writes=f"{FOLDER}/profile"))

    def peak_bytes(self, artifact: Artifact, settings: Settings) -> int:
        """By how much the program's memory grows from its start until the model has run."""
        self.load(0, artifact, settings)
        log, _ = self._tool.run(1, self._call(self._models.pop(0)))
        with understood(self._transport.serial):
            if log.memory_mb is None or not 0 <= log.memory_mb * _MIB < MOST_BYTES:
                raise ValueError("no memory that a phone has")
            return int(log.memory_mb * _MIB)

    def ask(self, request: Frame, *, timeout_s: float, most_bytes: int = 0) -> Frame:
        """Answer as a worker of this machine does."""
        self.require_alive()
        message = request.message
        number, repeat = message["session"], message.get("repeat", 1)
        if message["do"] == "close":
            self._models.pop(number, None)
            return Frame({})
        model = self._models[number]
        if request.arrays:
            if not self._tool.feeds:
                raise ModelError("this benchmark_model takes no inputs and gives no outputs")
            self._feed(model, request.arrays)
        if message["do"] != "run" or not message.get("outputs", True):
            return Frame({}, {"latency_ns": self.run(number, repeat, silence_s=timeout_s)})
        if not self._tool.feeds:
            raise ModelError("this benchmark_model gives no outputs")
        if any(side < 0 for _, sides, _ in model.outputs for side in sides):
            raise ModelError("its outputs have open shapes, which benchmark_model does not tell")
        file = f"{FOLDER}/outputs"
        latency_ns = self.run(number, repeat, f"--output_filepath={file}", silence_s=timeout_s, writes=file)
        with understood(self._transport.serial):
            outputs = parted(self._transport.pull(file), model.outputs)
        return Frame({}, {"latency_ns": latency_ns, **{f"output:{name}": array for name, array in outputs.items()}})

    def end(self) -> None:
        """Give the models up; a second call does nothing."""
        self._ended = True
        self._models.clear()


def typical_us(summary: Summary) -> float:
    """The median, where the program tells it; it tells whole µs, so of what is fast the mean is nearer the truth."""
    median_us = summary.median_us
    coarse = median_us is not None and median_us < _COARSE_BELOW_US and median_us.is_integer()
    return summary.average_us if median_us is None or coarse else median_us
