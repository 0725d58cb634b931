"""A Jetson board at the other end of a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from netdyno.devices.agents import CUDA, understood
from netdyno.devices.device import DeviceInfo
from netdyno.devices.host import Host
from netdyno.devices.jetson.device import METER, SETTLE_S, rail_problems, require_jetson, total_note
from netdyno.devices.jetson.host import JetsonHost
from netdyno.devices.jetson.meter import TegrastatsMeter, tegrastats_meter
from netdyno.devices.nvidia.device import RUNTIMES
from netdyno.devices.ssh.connection import CONNECT_S
from netdyno.devices.ssh.device import SshDevice, cpu_formats, short
from netdyno.devices.ssh.meter import RemoteMeter


class SshJetson(SshDevice):
    """A Jetson: its CPU's runtimes, TensorRT on its GPU, and the power of its rails.

    Raises:
        DeviceError: the machine cannot be reached, is no Jetson, or has none of the runtimes.
    """

    machine: type[Host] = JetsonHost
    places: Mapping[str, str] = {"tensorrt": CUDA}

    def find_formats(self, there: Mapping[str, str]) -> dict[str, str]:
        """Runtimes and their formats; TensorRT first where the board has its program."""
        host = self.host()
        assert isinstance(host, JetsonHost)
        self._monitors = require_jetson(host)
        said = self.ask({"do": "cuda"}, timeout_s=CONNECT_S)
        with understood(self.address.target):
            self._tensorrt = short(said["versions"].get("tensorrt", ""))
        if not self._tensorrt:
            return super().find_formats(there)
        return {"tensorrt": RUNTIMES["tensorrt"], **cpu_formats(there)}

    def info(self) -> DeviceInfo:
        """The board, its memory and system, and the versions of its runtimes."""
        info = super().info()
        return replace(info, versions={**info.versions, "tensorrt": self._tensorrt}) if self._tensorrt else info

    def make_meter(self) -> RemoteMeter | TegrastatsMeter | None:
        """The power of the whole board, from its rails if they make up a total, else from ``tegrastats``."""
        rails = [rail.files for rail in self._monitors.total()]
        if rails:
            return RemoteMeter(self.connect(), {"rails": rails}, METER, SETTLE_S, total_note(self._monitors))
        return tegrastats_meter(self.connect(), self.address.target)

    def meter_problems(self) -> Sequence[str]:
        """Why nothing tells the board's power."""
        return [] if self.meters() else rail_problems(self._monitors)
