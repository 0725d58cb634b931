"""The NVIDIA GPU of an identifier such as ``cuda:0``: what runs on it, its state, its energy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from netdyno.base.errors import DeviceError
from netdyno.devices.agents import CUDA, AgentDevice, Connection, LocalConnection, understood
from netdyno.devices.device import DeviceInfo
from netdyno.devices.host import Host
from netdyno.devices.lock import DeviceLock
from netdyno.devices.meters import Meter
from netdyno.devices.nvidia.nvml import Gpu, Nvml, gpu_faults
from netdyno.devices.nvidia.power import power_meter
from netdyno.devices.wire import Frame
from netdyno.devices.worker import WorkerBase
from netdyno.devices.workers import SILENCE_S

RUNTIMES = {"torch": "onnx", "onnxruntime": "onnx", "tensorrt": "onnx"}
"""What may run on a GPU, the default first: PyTorch replays whole graphs, ONNX Runtime is what many apps ship, and
TensorRT is the fastest but takes seconds for each model and call."""
NO_RUNTIME = "no runtime for it: install PyTorch or onnxruntime-gpu built for CUDA, or TensorRT with trtexec"
_ASK_S = 60.0


def cuda_versions(connection: Connection) -> dict[str, str]:
    """The versions of what runs on the GPUs of a machine, by runtime.

    Raises:
        DeviceError: it does not answer.
    """
    worker = connection.start("control")
    try:
        said = worker.ask(Frame({"do": "cuda"}), timeout_s=_ASK_S).message
    finally:
        worker.end()
    with understood(connection.target):
        return {name: str(said["versions"][name])[:100] for name in RUNTIMES if name in said["versions"]}


class CudaDevice(AgentDevice):
    """One NVIDIA GPU of this machine.

    ``host`` is how the machine shows itself, ``lock_wait_s`` how long another user is waited for.

    Raises:
        InputError: no such identifier, or the GPU is cut into slices (MIG).
        MissingExtra: the driver's Python package is not installed.
        DeviceError: there is no such GPU, or nothing that runs on it.
    """

    place = CUDA

    def __init__(
        self,
        identifier: str = "cuda:0",
        *,
        host: Host | None = None,
        lock_wait_s: float = 120.0,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._nvml = Nvml()
        self._gpu = Gpu(self._nvml, identifier)
        super().__init__(self._gpu.id, LocalConnection(), silence_s)
        self._host = Host() if host is None else host
        self.gpu = self._gpu.uuid
        self._lock = DeviceLock(lock_name(self.gpu), wait_s=lock_wait_s)
        self._versions = self.find_runtimes()
        if not self._versions:
            raise DeviceError(f"{self.id}: {self._gpu.name} has {NO_RUNTIME}", device=self.id)
        self.formats: Mapping[str, str] = {name: RUNTIMES[name] for name in RUNTIMES if name in self._versions}
        self.places = dict.fromkeys(self.formats, self.place)

    @staticmethod
    def identifiers() -> list[str]:
        """The GPUs that programs of this process see."""
        with Nvml() as nvml:
            return [f"cuda:{number}" for number in range(len(nvml.visible()))]

    def find_runtimes(self) -> Mapping[str, str]:
        """The versions of what runs on GPUs here, by runtime."""
        return cuda_versions(self.connection)

    def info(self) -> DeviceInfo:
        """The GPU, its driver, the machine around it, and the versions of the runtimes."""
        facts = {"host": self._host.name(), **self._host.facts(), **self._gpu.facts()}
        return DeviceInfo(self.id, "cuda", self._gpu.name, facts, dict(self._versions))

    def state(self) -> Mapping[str, str | int | float]:
        """Clocks, temperature, throttling, power limit and computing processes of the GPU; the host's own state."""
        return gpu_state(self._host, self._gpu.state(), self.workers("work"))

    def faults(
        self, before: Mapping[str, str | int | float], after: Mapping[str, str | int | float]
    ) -> Sequence[str]:
        """Throttling, a changed power limit, other programs on the GPU."""
        return cuda_faults(before, after)

    def hold(self) -> None:
        """Keep other processes of this user from the GPU until :meth:`close`.

        Raises:
            DeviceBusy: another process holds it.
        """
        self._lock.acquire()

    def meters(self) -> tuple[Meter, ...]:
        """The best of what the driver offers."""
        meter, _ = power_meter(self._gpu)
        return () if meter is None else (meter,)

    def meter_problems(self) -> Sequence[str]:
        """Why the driver tells no energy."""
        meter, reasons = power_meter(self._gpu)
        return reasons if meter is None else []

    def close(self) -> None:
        """End the workers and let other users in; sessions that are still open are gone then."""
        self.restart()
        self._lock.release()
        self._nvml.close()


def lock_name(uuid: str) -> str:
    """What the lock of a GPU is called, which says nothing of the unit."""
    return f"cuda-{hashlib.sha256(uuid.encode()).hexdigest()[:16]}"


def gpu_state(
    host: Host, gpu: Mapping[str, str | int | float], workers: Mapping[str, Sequence[WorkerBase]]
) -> dict[str, str | int | float]:
    """The state of a GPU and its machine; what computes there beside our own ``workers`` is told apart."""
    state = {**{f"host_{name}": value for name, value in host.state().items()}, **gpu}
    if "compute_processes" in state:
        # A worker of TensorRT computes nothing itself, and its programs have ended when somebody asks.
        own = sum(worker.alive for name, each in workers.items() if name != "tensorrt" for worker in each)
        state["other_processes"] = max(0, int(state.pop("compute_processes")) - own)
    return state


def cuda_faults(before: Mapping[str, str | int | float], after: Mapping[str, str | int | float]) -> list[str]:
    """Why readings of a GPU between two states are not to be trusted."""
    busy = before.get("other_processes") or after.get("other_processes")
    return [*gpu_faults(before, after), *(["other programs compute on this GPU"] if busy else [])]
