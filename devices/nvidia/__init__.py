"""NVIDIA GPUs as their driver shows them: facts, state, and what power they draw."""

from netdyno.devices.nvidia.nvml import Gpu, Nvml
from netdyno.devices.nvidia.power import power_meter

__all__ = ["Gpu", "Nvml", "power_meter"]
