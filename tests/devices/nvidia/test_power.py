"""Energy of scripted GPUs: what the driver tells is known to lag, to tick, and to look only part of the time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netdyno.base.errors import DeviceError, MeasurementInvalid
from netdyno.devices.device import Samples, Session
from netdyno.devices.nvidia import Gpu, Nvml, power_meter
from netdyno.devices.nvidia.nvml import gpu_faults
from netdyno.profiler.energy import Window, measure_window

pytestmark = pytest.mark.alone

Install = Callable[..., Nvml]
NOT_SUPPORTED = 3
SCRIPTS = 50
VISIT_S = 0.1


class Work(Session):
    """Loads a scripted GPU from its first run on."""

    def __init__(self, driver: Any, index: int) -> None:
        self._driver, self._index = driver, index
        self.loaded = False

    def run(self, inputs: Mapping[str, NDArray[np.generic]] | None = None, repeat: int = 1) -> Samples:
        if not self.loaded:
            self._driver.load(self._index)
        self.loaded = True
        time.sleep(VISIT_S)
        return Samples(np.full(repeat, 1e9 * VISIT_S / repeat, np.int64), {})

    def peak_memory_bytes(self) -> int:
        return 1

    def close(self) -> None:
        self.loaded = False


class Holder:
    """As much of a device as a window of energy asks for."""

    def __init__(self, gpu: Gpu) -> None:
        self.state, self.faults = gpu.state, gpu_faults


def naive_w(gpu: Gpu, seconds: float) -> float:
    """What a sampler makes of the plain power reading during a run."""
    readings, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        readings.append(gpu.require("nvmlDeviceGetPowerUsage") / 1e3)
        time.sleep(0.05)
    return float(np.mean(readings))


def measure(gpu: Gpu, work: Work, **options: Any) -> Window:
    meter, _ = power_meter(gpu)
    assert meter is not None
    holder: Any = Holder(gpu)
    return measure_window(holder, work, meter, 10, 0.5, **options)


def test_half_duty_loads(nvml: Install, gpu_script: Callable[..., Any], driver: Any, capsys: Any) -> None:
    """Random lag, phase and period; 5 s windows are within 2 %, where a sampler is far off."""
    generator = random.Random(0)  # noqa: S311
    scripts = [
        gpu_script(
            index,
            idle_w=generator.uniform(20, 90),
            on_w=generator.uniform(150, 600),
            period_s=generator.choice((generator.uniform(0.02, 0.25), 0.1)),
            phase_s=generator.uniform(0, 0.1),
            lag_s=generator.uniform(0, 0.35),
        )
        for index in range(SCRIPTS)
    ]
    library = nvml(*scripts)
    gpus = [Gpu(library, f"cuda:{index}") for index in range(SCRIPTS)]
    with ThreadPoolExecutor(2 * SCRIPTS) as pool:
        works = [Work(driver, index) for index in range(SCRIPTS)]
        windows = list(pool.map(measure, gpus, works))
        naive = list(pool.map(naive_w, gpus, [5.0] * SCRIPTS))
    known_w = [(each.idle_w + each.on_w) / 2 for each in scripts]
    ours = [abs(w.gross_mj / 1e3 / w.seconds / known - 1) for w, known in zip(windows, known_w, strict=True)]
    theirs = [abs(sampled / known - 1) for sampled, known in zip(naive, known_w, strict=True)]
    with capsys.disabled():
        text = "energy counter: median {:.2%}, worst {:.2%}; plain readings: median {:.2%}, worst {:.2%}"
        print("", text.format(median(ours), max(ours), median(theirs), max(theirs)))
    assert all(window.seconds >= 5 for window in windows)
    assert max(ours) < 0.02
    assert max(theirs) > 0.1
    idle = [abs(window.idle_w / each.idle_w - 1) for window, each in zip(windows, scripts, strict=True)]
    assert max(idle) < 0.02


@pytest.mark.parametrize("moment_s", [0.0, 3.0, 4.4])
def test_a_frozen_counter_is_an_error(
    moment_s: float, nvml: Install, gpu_script: Callable[..., Any], driver: Any
) -> None:
    gpu = Gpu(nvml(gpu_script(frozen_at_s=time.monotonic() + moment_s)))
    with pytest.raises(MeasurementInvalid, match="stands still"):
        measure(gpu, Work(driver, 0), window_s=3.0)


def test_zeros_are_not_taken(nvml: Install, gpu_script: Callable[..., Any], driver: Any) -> None:
    gpu = Gpu(nvml(gpu_script(zero=1)))
    meter, reasons = power_meter(gpu)
    assert meter is None
    assert reasons[0] == "cuda:0: the energy counter reads 0"
    assert all("no reading of a device that runs" in reason or "has no field" in reason for reason in reasons[1:])
    driver.install(gpu_script())
    meter, _ = power_meter(gpu)
    assert meter is not None
    driver.install(gpu_script(zero=1))
    with pytest.raises(MeasurementInvalid, match="reads 0"):
        meter.read_mj()


def test_throttling_flags_the_window(nvml: Install, gpu_script: Callable[..., Any], driver: Any) -> None:
    gpu = Gpu(nvml(gpu_script(throttle_field=75, throttle_at_s=time.monotonic() + 2.5)))
    assert measure(gpu, Work(driver, 0), window_s=1.0).flag == "throttled by heat"


@pytest.mark.parametrize(
    ("changes", "name", "note"),
    [
        ({}, "nvml-energy", ""),
        ({"energy_code": NOT_SUPPORTED}, "nvml-power-instant", "sampled"),
        ({"energy_code": NOT_SUPPORTED, "module_scope": 1}, "nvml-power-instant", "module"),
        ({"energy_code": NOT_SUPPORTED, "module_scope": 1, "name": b"GH200"}, "nvml-power-instant", "module"),
        ({"energy_code": NOT_SUPPORTED, "field_code": NOT_SUPPORTED}, "nvml-power-usage", "unknown time"),
    ],
)
def test_the_best_meter_there_is(
    changes: dict[str, Any], name: str, note: str, nvml: Install, gpu_script: Callable[..., Any], driver: Any
) -> None:
    gpu = Gpu(nvml(gpu_script(sense_s=0.1, **changes)))
    meter, reasons = power_meter(gpu)
    assert meter is not None
    assert (meter.name, note in meter.note) == (name, True)
    assert bool(reasons) == (name != "nvml-energy")
    window = measure(gpu, Work(driver, 0), window_s=1.5)
    assert window.idle_w == pytest.approx(60, rel=0.02)
    assert window.gross_mj / 1e3 / window.seconds == pytest.approx(180, rel=0.1)


def test_no_meter_at_all(nvml: Install, gpu_script: Callable[..., Any]) -> None:
    codes = {"energy_code": NOT_SUPPORTED, "field_code": NOT_SUPPORTED, "usage_code": NOT_SUPPORTED}
    meter, reasons = power_meter(Gpu(nvml(gpu_script(**codes))))
    assert meter is None
    assert len(reasons) == 6


def test_a_lost_gpu_is_an_error(nvml: Install, gpu_script: Callable[..., Any], driver: Any) -> None:
    gpu = Gpu(nvml(gpu_script()))
    meter, _ = power_meter(gpu)
    assert meter is not None
    driver.install(gpu_script(energy_code=15))
    with pytest.raises(DeviceError, match="lost"):
        meter.read_mj()
