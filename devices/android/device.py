"""An Android phone as a device: what it is, and what of it changes; a runner runs the models there."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact
from netdyno.base.errors import DeviceError, InputError
from netdyno.devices.android import runtime
from netdyno.devices.android.builtin import BuiltinRunner
from netdyno.devices.android.energy import PhoneEnergy
from netdyno.devices.android.files import Files
from netdyno.devices.android.find import connect
from netdyno.devices.android.google import GoogleRunner
from netdyno.devices.android.phone import PhoneHost, read_phone, read_state
from netdyno.devices.android.runner import PhoneRunner, PhoneWorker
from netdyno.devices.android.server import server_devices
from netdyno.devices.device import DeviceInfo, Session, Settings
from netdyno.devices.feeding import feed
from netdyno.devices.inputs import FedInput
from netdyno.devices.lock import DeviceLock
from netdyno.devices.meters import Meter
from netdyno.devices.operators import OperatorProfile
from netdyno.devices.signature import tflite_signature
from netdyno.devices.worker import WorkerBase
from netdyno.devices.workers import SILENCE_S, Loaded, WorkerDevice, WorkerSession

_LOGGER = logging.getLogger("netdyno")
BUILTIN = "builtin"
_PREFIX = "android:"


class AndroidDevice(WorkerDevice):
    """The phone of an identifier such as ``android:SERIAL`` or ``android:HOST:PORT``; ``android`` is the only one.

    ``runner`` runs its models: Google's ``benchmark_model``, fetched once where ``fetch`` allows it; the file of that
    path; or ``builtin``, netdyno's own.

    Raises:
        DeviceError: there is no such phone, or it does not let itself be used.
    """

    def __init__(
        self,
        identifier: str = "android",
        *,
        runner: str = "",
        fetch: bool = True,
        lock_wait_s: float = 120.0,
        silence_s: float = SILENCE_S,
    ) -> None:
        with ExitStack() as stack:
            self._transport = stack.enter_context(connect(identifier.partition(":")[2]))
            self._phone = read_phone(self._transport)
            serial = self._phone.properties.get("ro.serialno") or self._transport.serial  # one phone, reached any way
            super().__init__(f"{_PREFIX}{hashlib.sha256(serial.encode()).hexdigest()[:8]}", silence_s)
            self._choose(runner, fetch)
            stack.pop_all()
        self._lock = DeviceLock(self.id, wait_s=lock_wait_s)
        self._energy = PhoneEnergy(self._transport)
        self._told = False

    def _choose(self, runner: str, fetch: bool) -> None:
        """Choose what runs its models.

        Raises:
            DeviceError: nothing does on its processor.
        """
        kind = self._phone.properties.get("ro.product.cpu.abi") or str(self._phone.facts()["architecture"])
        if kind not in runtime.MACHINES:
            known = ", ".join(runtime.MACHINES)
            raise DeviceError(f"{self._transport.serial}: no runner for {kind}, but for {known}", device=self.id)
        self._files = Files(self._transport)
        about = (self._transport, runtime.MACHINES[kind], self._files, self._phone.clusters())
        self._runner: PhoneRunner = (
            BuiltinRunner(*about) if runner == BUILTIN else GoogleRunner(*about, path=runner, fetch=fetch)
        )
        self.formats, self.together = self._runner.formats, self._runner.together

    @staticmethod
    def identifiers() -> list[str]:
        """The phones that a running adb server has; without one, the one on USB, if there is one."""
        known = server_devices()
        return ["android"] if known is None else [f"{_PREFIX}{serial}" for serial in known]

    def info(self) -> DeviceInfo:
        """The phone, its processor and system, and the versions of what runs models there."""
        return DeviceInfo(self.id, "android", self._phone.name(), self._phone.facts(), self._runner.versions())

    def state(self) -> Mapping[str, str | int | float]:
        """Thermal status, temperatures, battery, screen, clocks, governor and load."""
        return read_state(self._transport, self._phone)

    def faults(
        self, before: Mapping[str, str | int | float], after: Mapping[str, str | int | float]
    ) -> Sequence[str]:
        """Throttling, another governor, a charger that came or went, the screen."""
        return PhoneHost.faults(before, after)

    def prepare(self) -> None:
        """Have the runner on this machine, and say once how the phone is reached and what is to be known.

        Raises:
            DeviceError: it is not to be had.
        """
        self._runner.prepare()
        if not self._told:
            note = f"; {self._runner.note}" if self._runner.note else ""
            _LOGGER.warning("%s: by %s%s", self._phone.name(), self._transport.way, note)
        self._told = True

    def hold(self) -> None:
        """Keep other processes of this user from the phone until :meth:`close`.

        Raises:
            DeviceBusy: another process holds it.
        """
        self._lock.acquire()

    def meters(self) -> tuple[Meter, ...]:
        """Its power rails where they can be read, else its battery while nothing else powers it."""
        return self._energy.meters()

    def meter_problems(self) -> Sequence[str]:
        """Why there is no better meter."""
        return self._energy.problems()

    def unfit(self) -> str:
        """Why what its battery tells means nothing now."""
        return self._energy.invalid()

    def unmetered(self, settings: Settings) -> str:
        """Why energy cannot be told of the runner's work."""
        return self._runner.unmetered(settings)

    def start_worker(self, kind: str, runtime: str, settings: Settings) -> WorkerBase:
        """The runner as what keeps models, or as what weighs them."""
        if settings.cold_cache:
            raise InputError(f"{self.id}: there is no way to empty the caches of a phone", device=self.id)
        if settings.memory_limit_bytes:
            raise InputError(f"{self.id}: a phone limits memory itself; leave out --memory-limit", device=self.id)
        self.prepare()
        return self._runner.start(kind, settings)

    def load_model(self, worker: WorkerBase, number: int, artifact: Artifact, settings: Settings) -> Loaded:
        """Have the runner load an artifact."""
        assert isinstance(worker, PhoneWorker)
        if artifact.feeding.signature:
            raise InputError("a signature cannot be chosen on a phone", device=self.id)
        return worker.load(number, artifact, settings)

    def inputs_of(self, artifact: Artifact) -> tuple[FedInput, ...]:
        """Inputs that a model is fed; see :meth:`Device.inputs_of`."""
        return feed(artifact, tflite_signature(artifact)[0]).inputs

    def time_all(self, turns: Sequence[tuple[Session, int]]) -> Iterator[NDArray[np.int64]]:
        """Latencies of several sessions in one request, where one worker keeps them."""
        mine = [(session, repeat) for session, repeat in turns if isinstance(session, WorkerSession)]
        workers = {session.worker for session, _ in mine}
        worker = next(iter(workers), None)
        if len(workers) > 1 or not isinstance(worker, PhoneWorker):
            yield from super().time_all(turns)
            return
        timeout_s = self.silence_s + sum(session.expected_s(repeat) for session, repeat in mine)
        timed = worker.run_all([(session.number, repeat) for session, repeat in mine], timeout_s)
        for session, repeat in mine:
            yield session.take(timed, repeat)

    def measure_memory(self, worker: WorkerBase, artifact: Artifact, settings: Settings) -> int:
        """Peak memory in bytes that an artifact adds to a runner of its own."""
        assert isinstance(worker, PhoneWorker)
        return worker.peak_bytes(artifact, settings)

    def profile_operators(self, artifact: Artifact, settings: Settings, inferences: int) -> OperatorProfile:
        """Times of each operator, as the runner can tell them."""
        self.runtime_for(artifact, settings)
        self.hold()
        self.prepare()
        return self._runner.profile_operators(artifact, settings, inferences)

    def close(self) -> None:
        """End what runs there, remove what was brought there, and let other users in."""
        try:
            self.restart()
            if self._lock.held:
                self._files.remove()
        except DeviceError:  # it is gone; what it still holds goes when it is next used
            self._workers.clear()
        self._energy.close()
        self._transport.close()
        self._lock.release()
