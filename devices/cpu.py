"""This machine's CPU, through ONNX Runtime or LiteRT; models run in worker processes."""

from __future__ import annotations

import contextlib
import itertools
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact, TensorSpec
from netdyno.base.errors import InputError, ModelError, NetdynoError, WorkerLost
from netdyno.devices.device import DEFAULT_SETTINGS, Device, DeviceInfo, LoadReading, Samples, Session, Settings
from netdyno.devices.host import Host, host_faults
from netdyno.devices.lock import DeviceLock
from netdyno.devices.meters import Meter
from netdyno.devices.operators import OperatorProfile, from_wire
from netdyno.devices.rapl import rapl_meters
from netdyno.devices.wire import Frame
from netdyno.devices.worker import Crashed, Worker

_PACKAGES = ("numpy", "onnxruntime", "ai-edge-litert")
_SLOWER_THAN_FIRST = 10


class CpuDevice(Device):
    """The CPU of this machine.

    There is one worker process for each setting, which all sessions opened with it share; it starts with the
    first of them. After :meth:`close`, a later :meth:`open` takes the device again.

    ``proc`` and ``sys`` are where Linux shows the machine, ``lock_wait_s`` is how long another user is waited
    for, ``silence_s`` how long a worker may stay silent, beyond the expected time, before it counts as hung.
    """

    formats: Mapping[str, str] = {"onnxruntime": "onnx", "litert": "tflite"}

    def __init__(
        self,
        identifier: str = "cpu",
        *,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        lock_wait_s: float = 120.0,
        silence_s: float = 600.0,
    ) -> None:
        if identifier != "cpu":
            raise InputError(f"no such device: {identifier!r}; this machine's CPU is 'cpu'", device=identifier)
        self.id = identifier
        self.silence_s = silence_s
        self._sys = sys
        self._host = Host(proc, sys)
        self._lock = DeviceLock(identifier, wait_s=lock_wait_s)
        self._workers: dict[tuple[str, ...], Worker] = {}
        self._numbers = itertools.count()

    def info(self) -> DeviceInfo:
        """The processor, its memory and system, and the versions of the runtimes."""
        versions = {"python": platform.python_version()}
        for package in _PACKAGES:
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                continue
        return DeviceInfo(self.id, "cpu", self._host.cpu_name(), self._host.facts(), versions)

    def state(self) -> Mapping[str, str | int | float]:
        """Clocks, governor, load, steal, throttling and temperature, as far as the machine tells them."""
        return self._host.state()

    def faults(
        self, before: Mapping[str, str | int | float], after: Mapping[str, str | int | float]
    ) -> Sequence[str]:
        """Throttling, another governor or power supply, time stolen by other machines on the host."""
        return host_faults(before, after)

    def restart(self) -> None:
        """End the workers; what is opened next starts new ones."""
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()

    def hold(self) -> None:
        """Keep other processes of this user from the CPU until :meth:`close`.

        Raises:
            DeviceBusy: another process holds it.
        """
        self._lock.acquire()

    def open(self, artifact: Artifact, settings: Settings = DEFAULT_SETTINGS) -> Session:
        """Load an artifact in the worker of these settings.

        Raises:
            ModelError: the runtime refuses it, or crashed on it.
            UnknownName: no such runtime here.
            DeviceBusy: another process holds the CPU.
            WorkerLost: the worker was killed or hangs.
        """
        runtime = self.runtime_for(artifact, settings)
        self.hold()
        worker = self._worker("netdyno.devices.cpu_worker", runtime, threads=settings.threads)
        number = next(self._numbers)
        message = {"do": "load", "session": number, **model_message(artifact, settings)}
        try:
            reply = worker.ask(Frame(message, model_arrays(artifact)), timeout_s=self.silence_s)
        except Crashed as error:
            raise self.refused(artifact, f"{runtime} {error}") from error
        except ModelError as error:
            raise self.refused(artifact, f"{runtime} refuses it: {error}") from error
        except WorkerLost as error:
            raise self.lost(artifact, error) from error
        return CpuSession(self, worker, number, runtime, artifact, settings, reply.message)

    def meters(self) -> tuple[Meter, ...]:
        """The energy counters of the processor packages, where they can be read."""
        readable, _ = rapl_meters(self._sys)
        return readable

    def meter_problems(self) -> Sequence[str]:
        """Why the processor packages' counters cannot be read."""
        _, problems = rapl_meters(self._sys)
        return problems

    def profile_operators(self, artifact: Artifact, settings: Settings, inferences: int) -> OperatorProfile:
        """Times of each operator; see :meth:`Device.profile_operators`. Each call has a process of its own."""
        self.hold()
        runtime = self.runtime_for(artifact, settings)
        worker = Worker("netdyno.devices.operator_worker", runtime)
        message = model_message(artifact, settings) | {"inferences": inferences}
        try:
            # It answers once, after all inferences, with the profiler and without.
            timeout_s = self.silence_s * (1 + inferences)
            reply = worker.ask(Frame(message, model_arrays(artifact)), timeout_s=timeout_s)
        except (ModelError, Crashed) as error:
            raise self.refused(artifact, f"{runtime}'s profiler: {error}") from error
        except WorkerLost as error:
            raise self.lost(artifact, error) from error
        finally:
            worker.end()
        return from_wire(reply)

    def peak_memory_bytes(self, artifact: Artifact, runtime: str, settings: Settings) -> int:
        """Peak memory of an artifact, its file included, over a process that has imported the runtime only.

        Raises:
            ModelError: the runtime refuses it.
            WorkerLost: the process that measures died.
        """
        worker = self._worker("netdyno.devices.memory_worker", runtime)
        request = Frame(model_message(artifact, settings), model_arrays(artifact))
        try:
            return int(worker.ask(request, timeout_s=self.silence_s).message["bytes"])
        except WorkerLost as error:
            raise self.lost(artifact, error) from error

    def close(self) -> None:
        """End the workers and let other users in; sessions that are still open are gone then."""
        self.restart()
        self._lock.release()

    def lost(self, artifact: Artifact, error: NetdynoError) -> WorkerLost:
        """The error of a call that lost its worker."""
        return WorkerLost(f"{artifact.name}: {error}", device=self.id, artifact=artifact.name)

    def refused(self, artifact: Artifact, why: str) -> ModelError:
        """The error of a model that the runtime does not take."""
        return ModelError(f"{artifact.name}: {why}", device=self.id, artifact=artifact.name)

    def _worker(self, module: str, runtime: str, threads: int = 0) -> Worker:
        """The living worker of that kind, a new one if need be; ``threads`` keeps settings apart."""
        key = (module, runtime, str(threads))
        worker = self._workers.get(key)
        if worker is None or not worker.alive:
            if worker is not None:
                worker.end()
            worker = self._workers[key] = Worker(module, runtime)
        return worker


class CpuSession(Session):
    """A model loaded in a worker, known there by its number."""

    def __init__(
        self,
        device: CpuDevice,
        worker: Worker,
        number: int,
        runtime: str,
        artifact: Artifact,
        settings: Settings,
        loaded: Mapping[str, Any],
    ) -> None:
        self.inputs = tuple(TensorSpec(name, tuple(shape), dtype) for name, shape, dtype in loaded["inputs"])
        self.load = LoadReading(loaded["load_ms"], loaded["first_ms"])
        self._device = device
        self._worker = worker
        self._number = number
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
        message = {"do": "run", "session": self._number, "repeat": int(repeat)}
        timeout_s = self._device.silence_s + _SLOWER_THAN_FIRST * self.load.first_ms * repeat / 1e3
        try:
            reply = self._worker.ask(Frame(message, inputs or {}), timeout_s=timeout_s)
        except ModelError as error:
            raise self._device.refused(self._artifact, f"{self._runtime} cannot run it: {error}") from error
        except WorkerLost as error:
            raise self._device.lost(self._artifact, error) from error
        arrays = dict(reply.arrays)
        latency_ns = arrays.pop("latency_ns")
        return Samples(latency_ns, {name.removeprefix("output:"): value for name, value in arrays.items()})

    def peak_memory_bytes(self) -> int:
        """Peak memory of the artifact; see :meth:`CpuDevice.peak_memory_bytes`."""
        self._require_open()
        return self._device.peak_memory_bytes(self._artifact, self._runtime, self._settings)

    def close(self) -> None:
        """Free the model in its worker; nothing to free if the worker is gone."""
        if not self._closed and self._worker.alive:
            request = Frame({"do": "close", "session": self._number})
            with contextlib.suppress(WorkerLost):
                self._worker.ask(request, timeout_s=self._device.silence_s)
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise InputError(f"{self._artifact.name}: the session is closed", artifact=self._artifact.name)
        try:
            self._worker.require_alive()
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


def model_message(artifact: Artifact, settings: Settings) -> dict[str, Any]:
    """What a worker needs to know to load an artifact."""
    return {"shapes": {spec.name: spec.shape for spec in artifact.inputs}, "threads": settings.threads}


def model_arrays(artifact: Artifact) -> dict[str, NDArray[np.uint8]]:
    """The bytes of an artifact as a frame carries them."""
    return {"model": np.frombuffer(artifact.data, np.uint8)}
