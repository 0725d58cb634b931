"""An Android phone as a device: models run by netdyno's own runner, which is experimental until phones confirm it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from netdyno.base.artifact import Artifact
from netdyno.base.errors import DeviceError, ModelError, WorkerLost
from netdyno.devices.agents import understood
from netdyno.devices.android import runtime
from netdyno.devices.android.find import connect
from netdyno.devices.android.phone import PhoneHost, read_phone
from netdyno.devices.android.server import server_devices
from netdyno.devices.android.transport import FOLDER, Transport
from netdyno.devices.android.worker import RUNTIME, Runner, Tensor, joined, parted, tensors
from netdyno.devices.device import DeviceInfo, LoadReading, Settings
from netdyno.devices.lock import DeviceLock
from netdyno.devices.runtimes import Arrays, concrete, default_inputs, require_dtype
from netdyno.devices.wire import Frame
from netdyno.devices.worker import WorkerBase
from netdyno.devices.workers import Loaded, WorkerDevice

_LOGGER = logging.getLogger("netdyno")
NO_METER = "energy of a phone is not read yet"
_PREFIX = "android:"
_MOST_BYTES = 1 << 50


class AndroidDevice(WorkerDevice):
    """The phone of an identifier such as ``android:SERIAL`` or ``android:HOST:PORT``; ``android`` is the only one.

    Raises:
        DeviceError: there is no such phone, or it does not let itself be used.
    """

    formats: Mapping[str, str] = {"litert": "tflite"}

    def __init__(self, identifier: str = "android", *, lock_wait_s: float = 120.0, silence_s: float = 600.0) -> None:
        self._transport = connect(identifier.partition(":")[2])
        digest = hashlib.sha256(self._transport.serial.encode()).hexdigest()[:8]
        super().__init__(f"{_PREFIX}{digest}", silence_s)
        self._lock = DeviceLock(self.id, wait_s=lock_wait_s)
        self._phone = read_phone(self._transport)
        kind = self._phone.properties.get("ro.product.cpu.abi") or str(self._phone.facts()["architecture"])
        if kind not in runtime.MACHINES:
            known = ", ".join(runtime.MACHINES)
            raise DeviceError(f"{self._transport.serial}: no runner for {kind}, but for {known}", device=self.id)
        self._machine = runtime.MACHINES[kind]
        self._files = Files(self._transport)
        self._told = False

    @staticmethod
    def identifiers() -> list[str]:
        """The phones that a running adb server has; without one, the one on USB, if there is one."""
        known = server_devices()
        return ["android"] if known is None else [f"{_PREFIX}{serial}" for serial in known]

    def info(self) -> DeviceInfo:
        """The phone, its processor and system, and the versions of what runs models there."""
        runner = hashlib.sha256(runtime.runner(self._machine)).hexdigest()[:12]
        versions = {"runner": f"builtin {runner}", "litert": self._files.library_version(self._machine)}
        return DeviceInfo(self.id, "android", self._phone.name(), self._phone.facts(), versions)

    def state(self) -> Mapping[str, str | int | float]:
        """Thermal status, temperatures, battery, clocks, governor and load."""
        return read_phone(self._transport).state()

    def faults(
        self, before: Mapping[str, str | int | float], after: Mapping[str, str | int | float]
    ) -> Sequence[str]:
        """Throttling, another governor, a charger that came or went."""
        return PhoneHost.faults(before, after)

    def hold(self) -> None:
        """Keep other processes of this user from the phone until :meth:`close`.

        Raises:
            DeviceBusy: another process holds it.
        """
        self._lock.acquire()

    def meter_problems(self) -> Sequence[str]:
        """Why there is no meter."""
        return [NO_METER]

    def start_worker(self, kind: str, runtime_name: str) -> WorkerBase:
        """A process of the runner, or what starts one for each model whose memory is asked for."""
        self._files.install(self._machine)
        if not self._told:
            _LOGGER.warning("%s: netdyno's own runner is experimental until a phone confirms it", self._phone.name())
            self._told = True
        make = RunnerWorker if kind == "work" else MemoryWorker
        return make(self._transport, self._machine, self._files)

    def load_model(self, worker: WorkerBase, number: int, artifact: Artifact, settings: Settings) -> Loaded:
        """Have the runner load an artifact that the phone already keeps."""
        assert isinstance(worker, RunnerWorker)
        return worker.load(number, artifact, settings)

    def measure_memory(self, worker: WorkerBase, artifact: Artifact, settings: Settings) -> int:
        """Peak memory in bytes that an artifact adds to a runner of its own."""
        assert isinstance(worker, MemoryWorker)
        return worker.peak_bytes(artifact, settings)

    def close(self) -> None:
        """End what runs there, remove what was brought there, and let other users in."""
        try:
            self.restart()
            self._files.remove()
        except DeviceError:  # it is gone; what it still holds goes when it is next used
            self._workers.clear()
        self._transport.close()
        self._lock.release()


class Files:
    """What netdyno has brought to a phone: its runtime, models and inputs, each once, by digest."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._there: set[str] = set()
        self._version = ""

    def install(self, machine: str) -> None:
        """Bring the runner and its libraries; those that an earlier run left may be others, and are removed first."""
        if RUNTIME in self._there:
            return
        self._transport.script(f"rm -rf {RUNTIME} {FOLDER}/run-* {FOLDER}.*; true")
        for name, data in runtime.runtime_files(machine).items():
            self.bring(data, f"{RUNTIME}/{name}", 0o755)
        # Not every way of writing a file keeps its mode.
        self._transport.script(f"chmod 755 {RUNTIME}/*").check(f"{self._transport.serial}: {RUNTIME}")
        self._there.add(RUNTIME)

    def bring(self, data: bytes, path: str = "", mode: int = 0o644) -> str:
        """Have a file there, by its digest where no path is given; returns its path."""
        path = path or f"{FOLDER}/files/{hashlib.sha256(data).hexdigest()}"
        if path not in self._there:
            if self._transport.size(path) != len(data):
                self._transport.push(data, path, mode)
            self._there.add(path)
        return path

    def library_version(self, machine: str) -> str:
        """LiteRT's library by its digest: its version is not written in it."""
        if not self._version:
            data = runtime.runtime_files(machine)[runtime.LIBRARY]
            self._version = f"{runtime.LIBRARY} {hashlib.sha256(data).hexdigest()[:12]}"
        return self._version

    def remove(self) -> None:
        """Remove all of it."""
        if self._there:
            self._transport.script(f"rm -rf {FOLDER} {FOLDER}.*; true")
            self._there.clear()


class RunnerWorker(WorkerBase):
    """A runner and the models that it keeps."""

    def __init__(self, transport: Transport, machine: str, files: Files) -> None:
        self._transport, self._files = transport, files
        self.runner = Runner(transport, runtime.loader(machine))
        self._inputs: dict[int, list[str]] = {}
        self._outputs: dict[int, list[Tensor]] = {}

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.runner.alive

    def require_alive(self) -> None:
        """Make sure that it can be asked; raises WorkerLost."""
        if not self.runner.alive:
            raise WorkerLost("its worker process is gone; open it again")

    def load(self, number: int, artifact: Artifact, settings: Settings) -> Loaded:
        """Load a model, feed it its default inputs, and run it once."""
        path = self._files.bring(artifact.data)
        said = self.runner.ask(f"load {number} {settings.threads} {path}")
        with understood(self._transport.serial):
            found, outputs = tensors(said["inputs"]), tensors(said["outputs"])
            load_ms = float(said["load_ns"]) / 1e6
        shapes = {spec.name: spec.shape for spec in artifact.inputs}
        if any(side <= 0 for _, sides, _ in found for side in sides):
            raise ModelError("its inputs have open shapes, which netdyno's runner does not take")
        inputs = concrete(found, shapes)
        for name, _, dtype in outputs:
            require_dtype(name, dtype)
        self._inputs[number], self._outputs[number] = [spec.name for spec in inputs], outputs
        self.feed(number, default_inputs(inputs))
        return Loaded(inputs, LoadReading(load_ms, float(self.run(number, 1)[0]) / 1e6))

    def feed(self, number: int, arrays: Arrays) -> None:
        """Set all inputs of a model."""
        path = self._files.bring(joined(arrays, self._inputs[number]))
        self.runner.ask(f"feed {number} {path}")

    def run(self, number: int, repeat: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Latency in ns of each inference."""
        said = self.runner.ask(f"run {number} {repeat}")
        with understood(self._transport.serial):
            return np.array([int(ns) for ns in said["ns"]], np.int64)

    def outputs(self, number: int) -> Arrays:
        """The last inference's outputs."""
        path = f"{self.runner.folder}/outputs"
        self.runner.ask(f"read {number} {path}")
        with understood(self._transport.serial):
            return parted(self._transport.pull(path), self._outputs[number])

    def ask(self, request: Frame, *, timeout_s: float) -> Frame:
        """Answer as a worker of this machine does; the runner itself tells that it lives, whatever the timeout."""
        self.require_alive()
        message = request.message
        number = message["session"]
        if message["do"] == "close":
            self.runner.ask(f"close {number}")
            return Frame({})
        if request.arrays:
            self.feed(number, request.arrays)
        latency_ns = self.run(number, message["repeat"])
        wanted = message["do"] == "run" and message.get("outputs", True)
        outputs = self.outputs(number) if wanted else {}
        return Frame({}, {"latency_ns": latency_ns, **{f"output:{name}": array for name, array in outputs.items()}})

    def end(self) -> None:
        """End the runner; a second call does nothing."""
        self.runner.end()


class MemoryWorker(WorkerBase):
    """Starts a runner for each model whose memory is asked for, so that none finds what another has left."""

    def __init__(self, transport: Transport, machine: str, files: Files) -> None:
        self._make: Callable[[], RunnerWorker] = lambda: RunnerWorker(transport, machine, files)
        self._serial = transport.serial

    @property
    def alive(self) -> bool:
        """There is nothing that could have ended."""
        return True

    def require_alive(self) -> None:
        """There is nothing that could have ended."""

    def peak_bytes(self, artifact: Artifact, settings: Settings) -> int:
        """Peak memory that a model adds to a runner, its file and inputs included."""
        worker = self._make()
        try:
            before = worker.runner.ask("memory")
            worker.load(0, artifact, settings)
            worker.run(0, 1)
            after = worker.runner.ask("memory")
        finally:
            worker.end()
        with understood(self._serial):
            taken = int(after["bytes"]) - int(before["bytes"])
            if not 0 <= taken < _MOST_BYTES:
                raise ValueError("memory that no phone has")
            return taken

    def ask(self, request: Frame, *, timeout_s: float) -> Frame:
        """It keeps nothing that could be asked about."""
        raise DeviceError("nothing is kept here")

    def end(self) -> None:
        """Nothing to end."""
