"""Energy of one inference: a window of repeated work, idle measured next to it (rule 5 of DESIGN.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from netdyno.base.errors import InputError, MeasurementInvalid
from netdyno.devices.device import Device, Session, Settings
from netdyno.devices.meters import Meter, Trace

WINDOW_S = 5.0
"""Counters tick about every 100 ms; a window has to be long against that."""
IDLE_S = 1.0
JITTER_S = 0.2
PROBE_S = 0.5


@dataclass(frozen=True)
class Window:
    """Energy while a candidate ran ``inferences`` times, and what the device draws idle.

    ``flag`` says why not to trust it, if so.
    """

    gross_mj: float
    idle_w: float
    seconds: float
    inferences: int
    flag: str = ""

    @property
    def net_mj(self) -> float:
        """Energy beyond idle, all inferences together; 1 W is 1 mJ a ms."""
        return self.gross_mj - 1e3 * self.idle_w * self.seconds


def require_meter(device: Device, settings: Settings) -> Meter:
    """The device's energy meter, for work under these settings.

    Raises:
        InputError: it has none that can be read, or none that could tell; the message says why.
        MeasurementInvalid: its counter stands still, or what it would tell now means nothing.
    """
    meters = device.meters()
    if why := device.unmetered(settings):
        raise InputError(f"no energy from {device.id}: {why}", device=device.id)
    if not meters and (why := device.unfit()):
        raise MeasurementInvalid(f"no energy from {device.id}: {why}", device=device.id)
    if not meters:
        why = "; ".join(device.meter_problems()) or "it has no meter"
        raise InputError(f"no energy from {device.id}: {why}", device=device.id)
    with Trace(meters[0]) as trace:  # one that stands still is found out now, not after minutes
        began = time.monotonic()
        time.sleep(PROBE_S)
        trace.power_w(began, time.monotonic())
    return meters[0]


def measure_window(
    device: Device, session: Session, meter: Meter, repeat: int, phase: float, window_s: float = WINDOW_S
) -> Window:
    """Idle for about a second, then work for at least ``window_s``; ``phase`` from 0 to 1 shifts both against ticks.

    Both begin before they count, for as long as the meter needs to settle: then it may lag, and what it lags is
    alike at both ends.

    Raises:
        MeasurementInvalid: the counter stands still.
        WorkerLost: the process that runs the model died.
    """
    before = device.state()
    with Trace(meter) as trace:
        time.sleep(meter.settle_s)
        began = time.monotonic()
        time.sleep(IDLE_S + JITTER_S * phase)
        idle_w = trace.power_w(began, time.monotonic())
        _work(session, repeat, meter.settle_s)
        began = time.monotonic()
        inferences = _work(session, repeat, window_s)
        ended = time.monotonic()
        gross_w = trace.power_w(began, ended)
    flag = "; ".join(device.faults(before, device.state()))
    return Window(1e3 * gross_w * (ended - began), idle_w, ended - began, inferences, flag)


def _work(session: Session, repeat: int, seconds: float) -> int:
    """Run for at least so long; returns the number of inferences."""
    inferences, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        session.work(repeat)
        inferences += repeat
    return inferences


def energy_columns(windows: Sequence[Window]) -> dict[str, float]:
    """Net energy of one inference and mean net power, medians over windows; nothing where they are not above idle.

    Windows in which the device was not itself do not count.
    """
    trusted = [window for window in windows if not window.flag]
    if not trusted:
        return {}
    energy_mj = median(window.net_mj / window.inferences for window in trusted)
    power_w = median(window.net_mj / 1e3 / window.seconds for window in trusted)
    return {"energy_mj": energy_mj, "power_w": power_w} if energy_mj > 0 and power_w > 0 else {}
