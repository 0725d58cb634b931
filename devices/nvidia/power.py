"""Energy of an NVIDIA GPU, from the best of what its driver offers.

In this order: the energy counter (Volta and newer), power now, power averaged over a second, and the plain power
reading, which is either of the two by GPU and driver. All change about every 100 ms, however often they are read;
what a sensor sees in between differs by GPU (Z. Yang, K. Adamek, W. Armour, "Part-time Power Measurements:
nvidia-smi's Lack of Attention", 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from netdyno.base.errors import DeviceError, MeasurementInvalid
from netdyno.devices.meters import Meter, SampledPower
from netdyno.devices.nvidia.nvml import Gpu

POWER_AVERAGE, POWER_INSTANT = 185, 186
SCOPE_GPU, SCOPE_MODULE = 0, 1
_SUPERCHIPS = ("GH200", "GB200", "GB300")
"""GPU and CPU on one module; the sensor of power is the module's."""

COUNTER_SETTLE_S = 0.5
AVERAGE_SETTLE_S = 1.5
SAMPLED = "sampled power: shorter changes than the sensor's 100 ms go unseen"
UNKNOWN_AVERAGE = "plain power reading: an average over an unknown time, up to a second"


class EnergyCounter(Meter):
    """The GPU's own energy counter, in mJ since the driver was loaded.

    Raises:
        MeasurementInvalid: it reads zero.
        DeviceError: this GPU has none.
    """

    name = "nvml-energy"
    settle_s = COUNTER_SETTLE_S

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self.read_mj()

    def read_mj(self) -> float:
        """Energy in mJ since the driver was loaded.

        Raises:
            MeasurementInvalid: it reads zero.
            DeviceError: it cannot be read any more.
        """
        energy_mj = self._gpu.require("nvmlDeviceGetTotalEnergyConsumption")
        if not energy_mj > 0:
            raise MeasurementInvalid(f"{self._gpu.id}: the energy counter reads {energy_mj}", device=self._gpu.id)
        return float(energy_mj)


def power_meter(gpu: Gpu) -> tuple[Meter | None, list[str]]:
    """The best meter that this GPU has, and a line for each better one that it has not."""
    reasons: list[str] = []
    for make in _meters(gpu):
        try:
            return make(), reasons
        except (DeviceError, MeasurementInvalid) as error:
            reasons.append(str(error))
    return None, reasons


def _meters(gpu: Gpu) -> Iterator[Callable[[], Meter]]:
    """What to try, best first."""
    yield partial(EnergyCounter, gpu)
    superchip = any(chip in str(gpu.ask("nvmlDeviceGetName")) for chip in _SUPERCHIPS)
    scopes = (SCOPE_MODULE, SCOPE_GPU) if superchip else (SCOPE_GPU, SCOPE_MODULE)
    for scope in scopes:
        yield partial(_of_field, gpu, "nvml-power-instant", POWER_INSTANT, scope, COUNTER_SETTLE_S)
    for scope in scopes:
        yield partial(_of_field, gpu, "nvml-power-average", POWER_AVERAGE, scope, AVERAGE_SETTLE_S)
    yield partial(_of_usage, gpu)


def _of_usage(gpu: Gpu) -> SampledPower:
    def read_w() -> float:
        return float(gpu.require("nvmlDeviceGetPowerUsage")) / 1e3

    return SampledPower("nvml-power-usage", read_w, settle_s=AVERAGE_SETTLE_S, note=UNKNOWN_AVERAGE)


def _of_field(gpu: Gpu, name: str, field: int, scope: int, settle_s: float) -> SampledPower:
    """A meter of one of the driver's fields, each value of which has a return code of its own."""
    of_module = " of the whole module" if scope == SCOPE_MODULE else ""

    def read_w() -> float:
        power_mw = gpu.field(field, scope)
        if power_mw is None:
            raise DeviceError(f"{gpu.id}: the driver has no field {field}{of_module} here", device=gpu.id)
        return power_mw / 1e3

    return SampledPower(name, read_w, settle_s=settle_s, note=f"{SAMPLED}{';' + of_module if of_module else ''}")
