"""Devices whose models run in worker processes, on this machine or on another, their sessions and their meters."""

from __future__ import annotations

import contextlib
import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact, TensorSpec
from netdyno.base.errors import DeviceError, InputError, ModelError, WorkerLost
from netdyno.devices.device import DEFAULT_SETTINGS, Device, LoadReading, Samples, Session, Settings
from netdyno.devices.meters import Meter
from netdyno.devices.wire import Frame
from netdyno.devices.worker import Crashed, Hung, WorkerBase

SILENCE_S = 120.0
"""Seconds that an answer may take without a budget: a large model on a slow board loads in less."""
OUTPUT_BYTES = 1 << 30
"""The most that a model's outputs may hold when they are asked for; timing asks for none."""
_TIME_BYTES = 8
_SLOWER_THAN_FIRST = 10
_LONGEST_MS = 1e9


@dataclass(frozen=True)
class Loaded:
    """What a worker says of a model that it has loaded: its inputs, concrete, and what loading took.

    ``averaged`` is that of :class:`Session`.
    """

    inputs: tuple[TensorSpec, ...]
    reading: LoadReading
    averaged: bool = False

    def __post_init__(self) -> None:
        if not all(0 <= ms < _LONGEST_MS for ms in (self.reading.load_ms, self.reading.first_ms)):
            raise DeviceError("the worker told times that nothing takes")


class WorkerDevice(Device):
    """A device with one worker process for each setting, which all sessions opened with it share.

    A worker starts with the first of them. After :meth:`close`, a later :meth:`open` takes the device again.
    ``silence_s`` is how long a worker may stay silent, beyond the expected time, before it counts as hung.
    """

    def __init__(self, identifier: str, silence_s: float) -> None:
        self.id = identifier
        self.silence_s = silence_s
        self._workers: dict[tuple[str, str, int, str, int], WorkerBase] = {}
        self._numbers = itertools.count()

    @abstractmethod
    def start_worker(self, kind: str, runtime: str, settings: Settings) -> WorkerBase:
        """A new process that keeps a runtime's models (``work``) or measures their memory (``memory``).

        It is for all models of the same threads and cores; that of memory for those of all threads.

        Raises:
            InputError: ``settings`` ask for what there is not here.
            DeviceError: it cannot be started.
        """

    @abstractmethod
    def load_model(self, worker: WorkerBase, number: int, artifact: Artifact, settings: Settings) -> Loaded:
        """Have a worker load an artifact as its session of that number.

        Raises:
            ModelError: the runtime refuses it.
            Crashed: it crashed on it.
            DeviceError: the worker is lost, or what it runs on.
        """

    @abstractmethod
    def measure_memory(self, worker: WorkerBase, artifact: Artifact, settings: Settings) -> int:
        """Have a worker measure an artifact's peak memory in bytes; raises as :meth:`load_model` does."""

    def open(self, artifact: Artifact, settings: Settings = DEFAULT_SETTINGS) -> WorkerSession:
        """Load an artifact in the worker of these settings.

        Raises:
            ModelError: the runtime refuses it, or crashed on it.
            UnknownName: no such runtime here.
            DeviceBusy: another process holds the device.
            DeviceError: the worker was killed or hangs, or the connection to it is lost.
        """
        runtime = self.runtime_for(artifact, settings)
        self.hold()
        number = next(self._numbers)
        try:
            worker = self._worker("work", runtime, settings)
            loaded = self.load_model(worker, number, artifact, settings)
        except Crashed as error:
            raise self.refused(artifact, f"{runtime} {error}") from error
        except ModelError as error:
            raise self.refused(artifact, f"{runtime} refuses it: {error}") from error
        except DeviceError as error:
            raise self.lost(artifact, error) from error
        return WorkerSession(self, worker, number, runtime, artifact, settings, loaded)

    def peak_memory_bytes(self, artifact: Artifact, runtime: str, settings: Settings) -> int:
        """Peak memory of an artifact, its file included, over a process that has imported the runtime only.

        Raises:
            ModelError: the runtime refuses it.
            DeviceError: the process that measures died, or the connection to it is lost.
        """
        try:
            return self.measure_memory(self._worker("memory", runtime, settings), artifact, settings)
        except DeviceError as error:
            raise self.lost(artifact, error) from error

    def workers(self, kind: str) -> dict[str, list[WorkerBase]]:
        """The workers of a kind by runtime, dead ones included."""
        found: dict[str, list[WorkerBase]] = {}
        for (its_kind, runtime, *_), worker in self._workers.items():
            if its_kind == kind:
                found.setdefault(runtime, []).append(worker)
        return found

    def restart(self) -> None:
        """End the workers; what is opened next starts new ones."""
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()

    def lost(self, artifact: Artifact, error: DeviceError) -> DeviceError:
        """The error of a call that lost its worker, or the way to it; of the same type."""
        kind = WorkerLost if isinstance(error, WorkerLost) and not isinstance(error, Hung) else type(error)
        return kind(f"{artifact.name}: {error}", device=self.id, artifact=artifact.name)

    def refused(self, artifact: Artifact, why: str) -> ModelError:
        """The error of a model that the runtime does not take."""
        return ModelError(f"{artifact.name}: {why}", device=self.id, artifact=artifact.name)

    def _worker(self, kind: str, runtime: str, settings: Settings) -> WorkerBase:
        """The living worker of that kind, a new one if need be."""
        threads = settings.threads if kind == "work" else 0
        key = (kind, runtime, threads, settings.cores, settings.memory_limit_bytes)
        worker = self._workers.get(key)
        if worker is None or not worker.alive:
            if worker is not None:
                worker.end()
            self.check(settings)
            worker = self._workers[key] = self.start_worker(kind, runtime, settings)
        return worker


class WorkerSession(Session):
    """A model loaded in a worker, known there by its number."""

    def __init__(
        self,
        device: WorkerDevice,
        worker: WorkerBase,
        number: int,
        runtime: str,
        artifact: Artifact,
        settings: Settings,
        loaded: Loaded,
    ) -> None:
        self.inputs, self.load, self.averaged = loaded.inputs, loaded.reading, loaded.averaged
        self._device = device
        self.worker = worker
        self.number = number
        self._runtime = runtime
        self._artifact = artifact
        self._settings = settings
        self._closed = False

    def run(self, inputs: Mapping[str, NDArray[np.generic]] | None = None, repeat: int = 1) -> Samples:
        """Run and time ``repeat`` inferences; see :meth:`Session.run`."""
        self._require_open()
        if repeat < 1:
            raise InputError(f"repeat must be at least 1, not {repeat}", artifact=self._artifact.name)
        if inputs is not None:
            self._check(inputs)
        arrays = dict(self.ask({"do": "run"}, repeat, inputs or {}, OUTPUT_BYTES).arrays)
        latency_ns = self._checked(arrays.pop("latency_ns", np.zeros(0)), repeat)
        return Samples(latency_ns, {name.removeprefix("output:"): value for name, value in arrays.items()})

    def time(self, repeat: int) -> NDArray[np.int64]:
        """Latency in ns of each of ``repeat`` inferences; outputs stay where they are."""
        arrays = self.ask({"do": "run", "outputs": False}, repeat).arrays
        return self._checked(arrays.get("latency_ns", np.zeros(0)), repeat)

    def work(self, repeat: int) -> None:
        """Run ``repeat`` times as fast as can be."""
        self.ask({"do": "work"}, repeat)

    def _checked(self, latency_ns: NDArray[Any], repeat: int) -> NDArray[np.int64]:
        """Times as the worker told them, if they can be."""
        if latency_ns.dtype != np.int64 or latency_ns.shape != (repeat,) or not (latency_ns > 0).all():
            text = f"{self._artifact.name}: the worker told times that nothing takes"
            raise DeviceError(text, device=self._device.id, artifact=self._artifact.name)
        return latency_ns

    def ask(
        self,
        message: dict[str, Any],
        repeat: int,
        inputs: Mapping[str, NDArray[Any]] | None = None,
        most_bytes: int = 0,
    ) -> Frame:
        """Answer of the worker about its model, after ``repeat`` inferences: their times, and ``most_bytes`` else.

        Raises:
            ModelError: the runtime refuses what was asked.
            DeviceError: the worker is lost, or the way to it.
        """
        self._require_open()
        request = Frame({**message, "session": self.number, "repeat": int(repeat)}, inputs or {})
        with self._told():
            timeout_s = self._device.silence_s + self.expected_s(repeat)
            return self.worker.ask(request, timeout_s=timeout_s, most_bytes=most_bytes + _TIME_BYTES * int(repeat))

    def expected_s(self, repeat: int) -> float:
        """How long so many inferences may take before something is wrong."""
        return _SLOWER_THAN_FIRST * self.load.first_ms * repeat / 1e3

    def take(self, timed: Iterator[NDArray[Any]], repeat: int) -> NDArray[np.int64]:
        """Its own of what the worker tells of several sessions; raises as :meth:`ask` does."""
        self._require_open()
        with self._told():
            return self._checked(next(timed), repeat)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the worker as those of this model."""
        try:
            yield
        except ModelError as error:
            raise self._device.refused(self._artifact, f"{self._runtime} cannot run it: {error}") from error
        except DeviceError as error:
            raise self._device.lost(self._artifact, error) from error

    def peak_memory_bytes(self) -> int:
        """Peak memory of the artifact; see :meth:`WorkerDevice.peak_memory_bytes`."""
        self._require_open()
        return self._device.peak_memory_bytes(self._artifact, self._runtime, self._settings)

    def close(self) -> None:
        """Free the model in its worker; nothing to free if the worker is gone."""
        if not self._closed and self.worker.alive:
            request = Frame({"do": "close", "session": self.number})
            with contextlib.suppress(DeviceError):
                self.worker.ask(request, timeout_s=self._device.silence_s)
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise InputError(f"{self._artifact.name}: the session is closed", artifact=self._artifact.name)
        try:
            self.worker.require_alive()
        except WorkerLost as error:
            raise self._device.lost(self._artifact, error) from error

    def _check(self, inputs: Mapping[str, NDArray[np.generic]]) -> None:
        """Make sure that every input is given, as the model has it."""
        specs = {spec.name: spec for spec in self.inputs}
        if set(inputs) != set(specs):
            text = f"the inputs are {', '.join(specs) or 'none'}, not {', '.join(inputs) or 'none'}"
            raise InputError(f"{self._artifact.name}: {text}", artifact=self._artifact.name)
        for name, array in inputs.items():
            spec = specs[name]
            if array.shape != spec.shape or array.dtype != np.dtype(spec.dtype):
                text = f"input {name!r} is {spec.dtype} {spec.shape}, not {array.dtype} {array.shape}"
                raise InputError(f"{self._artifact.name}: {text}", artifact=self._artifact.name)


class WorkerMeter(Meter):
    """A meter that a worker process reads, here or on another machine."""

    def __init__(self, worker: WorkerBase) -> None:
        self.worker = worker

    @property
    def alive(self) -> bool:
        """Whether it still reads."""
        return self.worker.alive

    def close(self) -> None:
        """End the process that reads it."""
        self.worker.end()
