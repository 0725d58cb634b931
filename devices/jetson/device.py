"""The Jetson that netdyno runs on: its CPU's runtimes, its rails' power, its own state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from netdyno.base.errors import DeviceError
from netdyno.devices.agents import CUDA, Connection
from netdyno.devices.cpu import CpuDevice
from netdyno.devices.device import DeviceInfo
from netdyno.devices.jetson.host import JetsonHost
from netdyno.devices.jetson.meter import TegrastatsMeter, tegrastats_meter
from netdyno.devices.jetson.rails import Monitors, find_monitors
from netdyno.devices.meters import Meter, SampledPower
from netdyno.devices.nvidia.device import cuda_versions
from netdyno.devices.tree import LocalTree
from netdyno.devices.workers import SILENCE_S

_ON_GPU = {"tensorrt": "tensorrt", "torch": "torch", "onnxruntime-cuda": "onnxruntime"}
"""Runtimes of the GPU by the names that they have on a device that runs models on its CPU too."""
METER = "jetson-rails"
SETTLE_S = 0.3
"""The monitors average over some of their conversions, and tell it then."""
NO_TOTAL = "this board's power monitors do not make up a total: {}; and tegrastats tells none: {}"


class JetsonDevice(CpuDevice):
    """This Jetson, the runtimes of its CPU and of its GPU; ``root`` is where its ``/proc`` and ``/sys`` hang.

    Raises:
        DeviceError: this is no Jetson.
    """

    kind = "jetson"

    def __init__(
        self,
        identifier: str = "jetson",
        *,
        root: Path = Path("/"),
        lock_wait_s: float = 120.0,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._tree = LocalTree(root)
        host = JetsonHost(self._tree)
        super().__init__(identifier, host=host, lock_wait_s=lock_wait_s, silence_s=silence_s)
        self._monitors = require_jetson(host)
        self._printed: TegrastatsMeter | None = None
        self._unprinted = ""
        self._gpu_versions = gpu_versions(self.connection)
        self.formats = {**dict.fromkeys(self._gpu_versions, "onnx"), **self.formats}
        self.places = dict.fromkeys(self._gpu_versions, CUDA)

    def info(self) -> DeviceInfo:
        """The board, its memory and system, and the versions of the runtimes."""
        info = super().info()
        return replace(info, versions={**info.versions, **self._gpu_versions})

    def meters(self) -> tuple[Meter, ...]:
        """The power of the whole board, from its rails if they make up a total, else from ``tegrastats``."""
        rails = self._monitors.total()

        def read_w() -> float:
            return sum(rail.read_mw(self._tree) for rail in rails) / 1e3

        if rails:
            return (SampledPower(METER, read_w, settle_s=SETTLE_S, note=total_note(self._monitors)),)
        if self._printed is None or not self._printed.alive:
            worker = self.connection.start("control")
            self._printed, self._unprinted = tegrastats_meter(worker, self.connection.target)
        return () if self._printed is None else (self._printed,)

    def meter_problems(self) -> Sequence[str]:
        """Why nothing tells the board's power."""
        return [] if self.meters() else rail_problems(self._monitors, self._unprinted)

    def close(self) -> None:
        """End the workers and let other users in; sessions that are still open are gone then."""
        if self._printed is not None:
            self._printed.close()
        super().close()


def gpu_versions(connection: Connection) -> dict[str, str]:
    """The versions of what runs on a Jetson's GPU, by runtime, the default first.

    Raises:
        DeviceError: it does not answer.
    """
    found = cuda_versions(connection)
    return {name: found[there] for name, there in _ON_GPU.items() if there in found}


def require_jetson(host: JetsonHost) -> Monitors:
    """The power monitors of a machine that is a Jetson; there may be none (Nano 2GB).

    Raises:
        DeviceError: it is no Jetson.
    """
    monitors = find_monitors(host.tree)
    if not monitors.rails and "jetson" not in host.name().lower():
        raise DeviceError(f"no Jetson here, but {host.name()}: neither its name nor power monitors of one")
    return monitors


def total_note(monitors: Monitors) -> str:
    """What the meter of a board's total holds."""
    return f"sampled power of {' + '.join(rail.name for rail in monitors.total())}"


def rail_problems(monitors: Monitors, unprinted: str) -> list[str]:
    """Why a board's rails do not tell its power, if so; ``unprinted`` is why ``tegrastats`` does not."""
    if monitors.total():
        return []
    return [NO_TOTAL.format(", ".join(rail.name for rail in monitors.rails) or "there are none", unprinted)]
