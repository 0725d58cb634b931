from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netdyno.devices.cpu import CpuDevice
from netdyno.devices.device import Settings
from netdyno.devices.meters import Meter
from netdyno.devices.workers import WorkerSession
from netdyno.profiler import energy, measure
from netdyno.profiler.energy import Window, energy_columns, measure_window, require_meter
from netdyno.profiler.layers import Layer
from netdyno.profiler.measure import Method
from netdyno.profiler.profile import profile_layers
from netdyno.profiler.profiling import Profiling

pytestmark = pytest.mark.alone

Refuses = Callable[[Callable[[], object]], str]
IDLE_W, WORK_W = 10.0, 40.0


class Counter(Meter):
    """A machine that draws 10 W idle, and 40 W more while it works."""

    name = "counter"

    def __init__(self) -> None:
        self.worked: tuple[float, float | None] = 0.0, None  # seconds until now, and since when again
        self._began = time.monotonic()

    def read_mj(self) -> float:
        now, (worked_s, since) = time.monotonic(), self.worked
        worked_s += now - since if since else 0.0
        return 1e3 * (IDLE_W * (now - self._began) + WORK_W * worked_s)


def test_idle_is_taken_off(cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path) -> None:
    """The journal keeps each window, and the same call again takes none."""
    meter, work = Counter(), WorkerSession.work
    windows: list[Window] = []

    def counted(self: WorkerSession, repeat: int) -> None:
        (worked_s, _), began = meter.worked, time.monotonic()
        meter.worked = worked_s, began
        work(self, repeat)
        meter.worked = worked_s + time.monotonic() - began, None

    def short(*arguments: Any) -> Window:
        windows.append(measure_window(*arguments, window_s=0.5))
        return windows[-1]

    method = Method(visit_s=0.0005, warm_up_s=0.0005, least_rounds=3, most_rounds=3, memory=False, energy_windows=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerSession, "work", counted)
        patch.setattr(CpuDevice, "meters", lambda _: (meter,))
        patch.setattr(CpuDevice, "faults", lambda *_: [])
        patch.setattr(measure, "measure_window", short)
        patch.setattr(energy, "IDLE_S", 0.2)
        for _ in range(2):
            bench = Profiling(cpu, Settings("onnxruntime"), method, tmp_path / "t")
            table = profile_layers(tiny_layers[-1:], bench, subject="x")
    assert len(windows) == 4
    assert windows[0].idle_w == pytest.approx(IDLE_W, rel=0.05)
    table.check()
    for _, row in table.layers.iterrows():
        assert row["power_w"] == pytest.approx(WORK_W, rel=0.15)
        assert row["energy_mj"] == pytest.approx(row["power_w"] * row["latency_ms"], rel=0.5)


def test_columns_by_hand() -> None:
    windows = [Window(6000.0, 10.0, 0.5, 100), Window(7000.0, 10.0, 0.5, 100), Window(4000.0, 10.0, 0.5, 100)]
    assert energy_columns(windows[:2]) == {"energy_mj": 15.0, "power_w": 3.0}
    assert energy_columns(windows) == {"energy_mj": 10.0, "power_w": 2.0}, "a window below idle counts, too"
    assert energy_columns(windows[2:]) == {}, "nothing above idle is no reading of zero"
    flagged = replace(windows[2], flag="throttled by heat")
    assert energy_columns([*windows[:2], flagged]) == {"energy_mj": 15.0, "power_w": 3.0}
    assert energy_columns([flagged]) == {}


def test_a_machine_without_a_meter_says_so(tmp_path: Path, refuses: Refuses) -> None:
    with CpuDevice(sys=tmp_path) as device:
        assert "no RAPL package counters" in refuses(lambda: require_meter(device, Settings()))
