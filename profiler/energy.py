"""Energy of one inference from a cumulative counter: a window of repeated work, idle measured next to it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from netdyno.base.errors import InputError
from netdyno.devices.device import Device, Session
from netdyno.devices.meters import Meter

WINDOW_S = 5.0
"""Counters tick, and smooth, over up to a second; a window has to be long against that."""
IDLE_S = 1.0
JITTER_S = 0.2
STANDSTILL_S = 0.2


@dataclass(frozen=True)
class Window:
    """What a counter gained while a candidate ran ``inferences`` times, and what the device draws idle."""

    gross_mj: float
    idle_w: float
    seconds: float
    inferences: int

    @property
    def net_mj(self) -> float:
        """Energy beyond idle, all inferences together; 1 W is 1 mJ a ms."""
        return self.gross_mj - 1e3 * self.idle_w * self.seconds


def require_meter(device: Device) -> Meter:
    """The device's energy meter.

    Raises:
        InputError: it has none that can be read; the message says why.
        MeasurementInvalid: its counter stands still.
    """
    meters = device.meters()
    if meters:  # one that stands still is found out now, not after minutes
        meters[0].read_mj()
        time.sleep(STANDSTILL_S)
        meters[0].read_mj()
    else:
        why = "; ".join(device.meter_problems()) or "it has no meter"
        raise InputError(f"no energy from {device.id}: {why}", device=device.id)
    return meters[0]


def measure_window(session: Session, meter: Meter, repeat: int, phase: float, window_s: float = WINDOW_S) -> Window:
    """Idle for about a second, then run for at least ``window_s``; ``phase`` from 0 to 1 shifts both against ticks.

    Raises:
        MeasurementInvalid: the counter stands still.
        WorkerLost: the process that runs the model died.
    """
    before, began = meter.read_mj(), time.monotonic()
    time.sleep(IDLE_S + JITTER_S * phase)
    idle_w = (meter.read_mj() - before) / 1e3 / (time.monotonic() - began)
    inferences, before, began = 0, meter.read_mj(), time.monotonic()
    while time.monotonic() - began < window_s:
        session.run(repeat=repeat)
        inferences += repeat
    return Window(meter.read_mj() - before, idle_w, time.monotonic() - began, inferences)


def energy_columns(windows: Sequence[Window]) -> dict[str, float]:
    """Net energy of one inference and mean net power, medians over windows; nothing where they are not above idle."""
    if not windows:
        return {}
    energy_mj = median(window.net_mj / window.inferences for window in windows)
    power_w = median(window.net_mj / 1e3 / window.seconds for window in windows)
    return {"energy_mj": energy_mj, "power_w": power_w} if energy_mj > 0 and power_w > 0 else {}
