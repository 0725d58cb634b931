"""netdyno's own runner on a phone; it is experimental until phones confirm it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact
from netdyno.base.errors import DeviceError, InputError, ModelError, WorkerLost
from netdyno.devices.agents import LONGEST_US, MOST_BYTES, understood
from netdyno.devices.android import runtime
from netdyno.devices.android.process import (
    MOST_MODELS,
    MOST_TOGETHER,
    TIMEOUT_S,
    RunnerProcess,
    joined,
    parted,
    tensors,
)
from netdyno.devices.android.runner import PhoneRunner, PhoneWorker
from netdyno.devices.device import LoadReading, Settings
from netdyno.devices.feeding import Fed, feed
from netdyno.devices.litert_events import Event, OperatorEvents
from netdyno.devices.operators import WARM_UP, OperatorProfile, turns
from netdyno.devices.signature import Tensor
from netdyno.devices.types import require_plain
from netdyno.devices.wire import Arrays, Frame
from netdyno.devices.workers import Loaded

_PLAIN, _PROFILED = 0, 1
"""Numbers of the models that profiling takes."""


class BuiltinRunner(PhoneRunner):
    """The runner of this folder's ``runner/runner.c``, with LiteRT's library and the C library of Linux."""

    formats: Mapping[str, str] = {"litert": "tflite"}
    together = MOST_TOGETHER
    note = "netdyno's own runner is experimental until a phone confirms it"

    def prepare(self) -> None:
        """Find the runner and its libraries here."""
        _ = self.programs

    @cached_property
    def programs(self) -> Mapping[str, bytes]:
        """What has to be on the phone, by name; raises as :meth:`prepare` does."""
        return runtime.runtime_files(self.machine)

    def versions(self) -> Mapping[str, str]:
        """Digests of the runner and of LiteRT's library, whose version is not written in it."""
        try:
            digests = {
                name: hashlib.sha256(self.programs[name]).hexdigest()[:12] for name in ("runner", runtime.LIBRARY)
            }
        except DeviceError:
            return {}
        return {"runner": f"builtin {digests['runner']}", "litert": f"{runtime.LIBRARY} {digests[runtime.LIBRARY]}"}

    def start(self, kind: str, settings: Settings) -> PhoneWorker:
        """A process of the runner, or what starts one for each model that is weighed."""
        start = partial(BuiltinWorker, self, self.prefix(settings))
        return start() if kind == "work" else MemoryWorker(start)

    def profile_operators(self, artifact: Artifact, settings: Settings, inferences: int) -> OperatorProfile:
        """Operators by LiteRT's profiler; the same model without it takes turns, so that drift hits both alike."""
        worker = BuiltinWorker(self, self.prefix(settings))
        try:
            worker.load(_PLAIN, artifact, settings)
            worker.load(_PROFILED, artifact, settings, profiled=True)
            events = OperatorEvents()
            whole_us: list[float] = []
            warm_up = min(WARM_UP, inferences)
            worker.run(_PLAIN, warm_up)
            worker.run(_PROFILED, warm_up)
            for turn in turns(inferences):
                worker.add_events(_PROFILED, events, turn)
                whole_us += (worker.run(_PLAIN, turn) / 1e3).tolist()
        finally:
            worker.end()
        operators = events.operators()
        if not operators:
            raise ModelError("LiteRT's profiler told of no operator")
        return OperatorProfile(operators, whole_us)


@dataclass(frozen=True)
class _Model:
    """A model that the runner keeps: its number there, its inputs' names in order, and its outputs."""

    slot: int
    inputs: list[str]
    outputs: list[Tensor]


class BuiltinWorker(PhoneWorker):
    """A process of the runner and the models that it keeps."""

    def __init__(self, runner: BuiltinRunner, prefix: Sequence[str]) -> None:
        self._transport, self._files = runner.transport, runner.files
        programs = self._files.install(runner.programs)
        self.process = RunnerProcess(self._transport, programs, runtime.loader(runner.machine), prefix)
        self._models: dict[int, _Model] = {}

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.process.alive

    def require_alive(self) -> None:
        """Make sure that it can be asked; raises WorkerLost."""
        if not self.process.alive:
            raise WorkerLost("its worker process is gone; open it again")

    def load(self, number: int, artifact: Artifact, settings: Settings, *, profiled: bool = False) -> Loaded:
        """Load a model, feed it its default inputs, and run it once."""
        slots = {model.slot for model in self._models.values()}
        slot = next(slot for slot in itertools.count() if slot not in slots)
        if slot >= MOST_MODELS:
            raise DeviceError(f"{self._transport.serial}: the runner keeps {MOST_MODELS} models at most")
        try:
            return self._load(number, slot, artifact, settings, "profile" if profiled else "load")
        except InputError:
            self._models.pop(number, None)
            self.process.ask(f"close {slot}")
            raise

    def _load(self, number: int, slot: int, artifact: Artifact, settings: Settings, how: str) -> Loaded:
        requests = [f"{how} {slot} {settings.threads} {self._files.bring(artifact.data)}"]
        if artifact.inputs:  # what the model will say most likely; asked for at once
            guess = feed(artifact, [(spec.name, spec.shape, spec.dtype) for spec in artifact.inputs])
            self._models[number] = _Model(slot, [spec.name for spec in guess.specs], [])
            requests += self._first(number, guess)
        answers = self.process.ask_all(requests)
        said = next(answers)
        with understood(self._transport.serial):
            found, outputs = tensors(said["inputs"]), tensors(said["outputs"])
            load_ms = float(said["load_ns"]) / 1e6
        if any(side < 0 for _, sides, _ in found for side in sides):
            raise ModelError("its inputs have open shapes, which netdyno's runner does not take")
        fed = feed(artifact, found)
        for name, _, dtype in (*found, *outputs):
            require_plain(name, dtype)
        self._models[number] = _Model(slot, [spec.name for spec in fed.specs], outputs)
        if fed.specs != artifact.inputs:
            answers = self.process.ask_all(self._first(number, fed))
        _, first = answers
        with understood(self._transport.serial):
            first_ms = float(first["ns"][0]) / 1e6
        return Loaded(fed.specs, LoadReading(load_ms, first_ms))

    def _first(self, number: int, fed: Fed) -> list[str]:
        """The requests that feed a model, and run it for the first time."""
        return [self._feeding(number, fed.arrays), f"run {self._models[number].slot} 1"]

    def feed(self, number: int, arrays: Arrays) -> None:
        """Set all inputs of a model."""
        self.process.ask(self._feeding(number, arrays))

    def _feeding(self, number: int, arrays: Arrays) -> str:
        model = self._models[number]
        return f"feed {model.slot} {self._files.bring(joined(arrays, model.inputs))}"

    def run(self, number: int, repeat: int, timeout_s: float = TIMEOUT_S) -> NDArray[np.int64]:
        """Latency in ns of each inference."""
        (latency_ns,) = self.run_all([(number, repeat)], timeout_s)
        return latency_ns

    def run_all(self, turns: Sequence[tuple[int, int]], timeout_s: float) -> Iterator[NDArray[np.int64]]:
        """Latency in ns of each inference of several models, by number and how often, in one request."""
        requests = [f"run {self._models[number].slot} {repeat}" for number, repeat in turns]
        for said in self.process.ask_all(requests, timeout_s):
            with understood(self._transport.serial):
                latency_ns = np.array([int(ns) for ns in said["ns"]], np.int64)
            yield latency_ns

    def add_events(self, number: int, found: OperatorEvents, repeat: int) -> None:
        """Run a model that is profiled, and add its operators' times."""
        said = self.process.ask(f"events {self._models[number].slot} {repeat}")
        with understood(self._transport.serial):
            events = [Event(str(tag), int(kind), int(elapsed_us)) for tag, kind, elapsed_us in said["events"]]
            if not all(0 <= event.elapsed_us < LONGEST_US for event in events):
                raise ValueError("times that nothing takes")
        found.add(events, repeat)

    def outputs(self, number: int) -> Arrays:
        """The last inference's outputs."""
        path, model = f"{self.process.folder}/outputs", self._models[number]
        self.process.ask(f"read {model.slot} {path}")
        with understood(self._transport.serial):
            return parted(self._transport.pull(path), model.outputs)

    def peak_bytes(self, artifact: Artifact, settings: Settings) -> int:
        """Peak memory that a model adds to a process that had none before, its file and inputs included."""
        before = self.process.ask("memory")
        self.load(0, artifact, settings)
        self.run(0, 1)
        after = self.process.ask("memory")
        with understood(self._transport.serial):
            taken = int(after["bytes"]) - int(before["bytes"])
            if not 0 <= taken < MOST_BYTES:
                raise ValueError("memory that no phone has")
            return taken

    def ask(self, request: Frame, *, timeout_s: float, most_bytes: int = 0) -> Frame:
        """Answer as a worker of this machine does."""
        self.require_alive()
        message = request.message
        number = message["session"]
        if message["do"] == "close":
            if number in self._models:
                self.process.ask(f"close {self._models.pop(number).slot}")
            return Frame({})
        if request.arrays:
            self.feed(number, request.arrays)
        latency_ns = self.run(number, message["repeat"], timeout_s)
        wanted = message["do"] == "run" and message.get("outputs", True)
        outputs = self.outputs(number) if wanted else {}
        return Frame({}, {"latency_ns": latency_ns, **{f"output:{name}": array for name, array in outputs.items()}})

    def end(self) -> None:
        """End the process; a second call does nothing."""
        self.process.end()


class MemoryWorker(PhoneWorker):
    """Starts a process for each model that is weighed, so that none finds what another has left."""

    def __init__(self, start: Callable[[], BuiltinWorker]) -> None:
        self._start = start

    @property
    def alive(self) -> bool:
        """There is nothing that could have ended."""
        return True

    def require_alive(self) -> None:
        """There is nothing that could have ended."""

    def peak_bytes(self, artifact: Artifact, settings: Settings) -> int:
        """Peak memory of a model in a process of its own."""
        worker = self._start()
        try:
            return worker.peak_bytes(artifact, settings)
        finally:
            worker.end()

    def load(self, number: int, artifact: Artifact, settings: Settings) -> Loaded:
        """It keeps no models."""
        raise DeviceError("models are only weighed here")

    def ask(self, request: Frame, *, timeout_s: float, most_bytes: int = 0) -> Frame:
        """It keeps nothing that could be asked about."""
        raise DeviceError("models are only weighed here")

    def end(self) -> None:
        """Nothing to end."""
