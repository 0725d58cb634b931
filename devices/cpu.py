"""This machine's CPU, through ONNX Runtime or LiteRT; models run in worker processes."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from netdyno.base.artifact import Artifact
from netdyno.base.errors import InputError, ModelError, WorkerLost
from netdyno.devices.agents import AgentDevice, LocalConnection
from netdyno.devices.device import DeviceInfo, Settings
from netdyno.devices.host import Host
from netdyno.devices.lock import DeviceLock
from netdyno.devices.meters import Meter
from netdyno.devices.operators import OperatorProfile, from_wire
from netdyno.devices.rapl import rapl_meters
from netdyno.devices.wire import Frame
from netdyno.devices.worker import Crashed, python_worker
from netdyno.devices.workers import SILENCE_S

PROFILE_BYTES = 1 << 28
"""The most that a profile of operators may hold: a hundred inferences of a hundred thousand operators fit."""
_PACKAGES = ("numpy", "onnxruntime", "ai-edge-litert")


class CpuDevice(AgentDevice):
    """The CPU of this machine.

    ``host`` is how it shows itself, ``sys`` where its energy counters are, ``lock_wait_s`` how long another user is
    waited for.
    """

    kind = "cpu"
    formats: Mapping[str, str] = {"onnxruntime": "onnx", "litert": "tflite"}

    def __init__(
        self,
        identifier: str = "cpu",
        *,
        host: Host | None = None,
        sys: Path = Path("/sys"),
        lock_wait_s: float = 120.0,
        silence_s: float = SILENCE_S,
    ) -> None:
        if identifier != self.kind:
            text = f"no such device: {identifier!r}; this machine's {self.kind} is {self.kind!r}"
            raise InputError(text, device=identifier)
        super().__init__(identifier, LocalConnection(), silence_s)
        self._sys = sys
        self._host = Host() if host is None else host
        self._lock = DeviceLock("cpu", wait_s=lock_wait_s)

    def info(self) -> DeviceInfo:
        """The processor, its memory and system, and the versions of the runtimes."""
        versions = {"python": platform.python_version()}
        for package in _PACKAGES:
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                continue
        return DeviceInfo(self.id, self._host.kind, self._host.name(), self._host.facts(), versions)

    def state(self) -> Mapping[str, str | int | float]:
        """Clocks, governor, load, steal, throttling and temperature, as far as the machine tells them."""
        return self._host.state()

    def faults(
        self, before: Mapping[str, str | int | float], after: Mapping[str, str | int | float]
    ) -> Sequence[str]:
        """Throttling, another governor or power supply, time stolen by other machines on the host."""
        return self._host.faults(before, after)

    def hold(self) -> None:
        """Keep other processes of this user from the CPU until :meth:`close`.

        Raises:
            DeviceBusy: another process holds it.
        """
        self._lock.acquire()

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
        runtime = self.runtime_for(artifact, settings)
        if runtime in self.places:
            return super().profile_operators(artifact, settings, inferences)
        self.check(settings)
        self.hold()
        about, inputs = self.fed(artifact, settings).on_wire()
        message, model = self.local_model(artifact, runtime)
        message |= about | {"threads": settings.threads, "inferences": inferences}
        if artifact.feeding.signature:
            message["options"] = {"signature": artifact.feeding.signature}
        worker = python_worker("netdyno.devices.operator_worker", runtime, str(settings.memory_limit_bytes))
        try:
            # It answers once, after all inferences, with the profiler and without.
            timeout_s = self.silence_s * (1 + inferences)  # the deadline is what bounds it
            request = Frame(message, model | inputs)
            reply = worker.ask(request, timeout_s=timeout_s, most_bytes=PROFILE_BYTES)
        except (ModelError, Crashed) as error:
            raise self.refused(artifact, f"{runtime}'s profiler: {error}") from error
        except WorkerLost as error:
            raise self.lost(artifact, error) from error
        finally:
            worker.end()
        return from_wire(reply)

    def close(self) -> None:
        """End the workers and let other users in; sessions that are still open are gone then."""
        self.restart()
        self._lock.release()
