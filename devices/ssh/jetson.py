"""A Jetson board at the other end of a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from netdyno.devices.agents import CUDA
from netdyno.devices.device import DeviceInfo
from netdyno.devices.host import Host
from netdyno.devices.jetson.device import METER, SETTLE_S, gpu_versions, rail_problems, require_jetson, total_note
from netdyno.devices.jetson.host import JetsonHost
from netdyno.devices.jetson.meter import TegrastatsMeter, tegrastats_meter
from netdyno.devices.ssh.device import SshDevice, cpu_formats
from netdyno.devices.ssh.meter import RemoteMeter


class SshJetson(SshDevice):
    """A Jetson: the runtimes of its CPU and of its GPU, and the power of its rails.

    Raises:
        DeviceError: the machine cannot be reached, is no Jetson, or has none of the runtimes.
    """

    machine: type[Host] = JetsonHost
    _unprinted = ""

    def find_formats(self, there: Mapping[str, str]) -> dict[str, str]:
        """Runtimes and their formats; those of the GPU first."""
        host = self.host()
        assert isinstance(host, JetsonHost)
        self._monitors = require_jetson(host)
        self._gpu_versions = gpu_versions(self.connection)
        self.places = dict.fromkeys(self._gpu_versions, CUDA)
        on_gpu = dict.fromkeys(self._gpu_versions, "onnx")
        return {**on_gpu, **cpu_formats(there)} if on_gpu else super().find_formats(there)

    def info(self) -> DeviceInfo:
        """The board, its memory and system, and the versions of its runtimes."""
        info = super().info()
        return replace(info, versions={**info.versions, **self._gpu_versions})

    def make_meter(self) -> RemoteMeter | TegrastatsMeter | None:
        """The power of the whole board, from its rails if they make up a total, else from ``tegrastats``."""
        rails = [rail.files for rail in self._monitors.total()]
        if rails:
            return RemoteMeter(self.connect(), {"rails": rails}, METER, SETTLE_S, total_note(self._monitors))
        meter, self._unprinted = tegrastats_meter(self.connect(), self.address.target)
        return meter

    def meter_problems(self) -> Sequence[str]:
        """Why nothing tells the board's power."""
        return [] if self.meters() else rail_problems(self._monitors, self._unprinted)
