"""An NVIDIA GPU of this machine, for who asks from afar: the modules that read it at home are sent along."""

from typing import Any, Dict

from netdyno.devices.agent.frames import Message
from netdyno.devices.nvidia.nvml import Gpu, Nvml
from netdyno.devices.nvidia.power import power_meter


class RemoteGpu:
    """What the driver says of one GPU."""

    def __init__(self, identifier: str) -> None:
        self._gpu = Gpu(Nvml(), identifier)
        self._meter, self._problems = power_meter(self._gpu)

    def describe(self) -> Message:
        """What does not change."""
        meter: Dict[str, Any] = {}
        if self._meter is not None:
            meter = {"name": self._meter.name, "settle_s": self._meter.settle_s, "note": self._meter.note}
        about = {"id": self._gpu.id, "name": self._gpu.name, "uuid": self._gpu.uuid, "facts": self._gpu.facts()}
        return dict(about, meter=meter, problems=self._problems)

    def state(self) -> Message:
        """What may change while measuring."""
        return {"state": self._gpu.state()}

    @property
    def sampled(self) -> bool:
        """Whether the meter has to be read often."""
        return self._meter is not None and self._meter.sampled

    def read_mj(self) -> float:
        """Energy since an arbitrary moment."""
        if self._meter is None:
            raise ValueError("this GPU tells no energy")
        return self._meter.read_mj()
