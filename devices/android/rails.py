"""Energy of a phone's power rails, which its PMICs count: from the kernel's driver, or from the HAL's own dump.

The driver (Pixel 6 and newer) tells the time in ms and each rail's energy in µWs since an arbitrary moment::

    t=473204
    CH3(T=473204)[S2M_VDD_CPUCL2], 761330

On most phones only root may read that. The HAL of power stats reads the same, and tells it in mWs when it is dumped::

    ============= PowerStats HAL 2.0 energy meter ==============
              [S2M_VDD_CPUCL2]:CPU(BIG)             761.33 mWs
    ========== End of PowerStats HAL 2.0 energy meter ==========

Other forms are not read: the service itself lists channels without their energy.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from netdyno.base.errors import MeasurementInvalid
from netdyno.devices.android.loop import Answer
from netdyno.devices.meters import Meter

COMPUTE = {
    "VDD_CPUCL0": "little cores",
    "VDD_CPUCL1": "middle cores",
    "VDD_CPUCL2": "big cores",
    "VDD_CPU0": "little cores",
    "VDD_CPU1": "middle cores",
    "VDD_CPU2": "big cores",
    "VDD_G3D": "GPU",
    "VDD_GPU": "GPU",
    "VDD_TPU": "TPU",
    "VDD_MIF": "memory interface",
    "VDD_INT": "fabric",
}
"""What makes up the total, by the rail's name behind its regulator's (``S2M_``, which differs by generation).

Only switching regulators (S…), which stand side by side. What is left out may hold others, or be held by them:
``VSYS_…`` feeds several, and the linear regulators (L…) may hang on a switching one.
"""
_NEEDED = ("little cores", "middle cores", "big cores")
"""Without one of the clusters a sum would look like a reading of all of them."""
_RAIL = re.compile(r"S\d{1,2}[MS]_(?P<part>[A-Z0-9_]{1,40})", re.ASCII)

DRIVER_SCRIPT = 'for f in /sys/bus/iio/devices/iio:device*/energy_value; do echo; cat "$f"; done'
HAL_SCRIPT = "dumpsys android.hardware.power.stats.IPowerStats/default; echo; dumpsys powerstats"
PERIOD_S = 0.1
SETTLE_S = 0.5
"""The driver refreshes what it tells only once there are enough conversions, some 100 ms."""
_MOST_WATTS = 200.0
"""More than any phone draws: a counter that seems to have gained more was set anew."""

_DRIVER_LINE = re.compile(r"CH\d{1,2}\(T=\d{1,18}\)\[(?P<rail>[\w.-]{1,60})\],\s*(?P<uws>\d{1,18})", re.ASCII)
_HAL_SECTION = re.compile(r"^=+ PowerStats HAL [\d.]+ energy meter =+$(?P<lines>.*?)^=+ End of ", re.DOTALL | re.M)
_ENERGY = r"\d{1,15}\.\d{1,6}"
_HAL_LINE = re.compile(
    rf"\[(?P<rail>[\w.-]{{1,60}})\](?::\S{{0,60}})?\s+(?P<mws>{_ENERGY}) mWs(?:\s+\(\s*-?{_ENERGY}\))?", re.ASCII
)
"""Where it is asked to, it adds in brackets what came since it was asked before."""


def parse_driver(text: str) -> dict[str, float]:
    """Energy in mJ of each rail, as the driver's files tell them one after the other.

    Raises:
        MeasurementInvalid: it tells none, or one twice.
    """
    found = (_DRIVER_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return _once((each["rail"], float(each["uws"]) / 1e3) for each in found if each)


def parse_hal(text: str) -> dict[str, float]:
    """Energy in mJ of each rail, as the HAL's dump tells them.

    Raises:
        MeasurementInvalid: it tells none, or one twice.
    """
    lines = (line.strip() for section in _HAL_SECTION.finditer(text) for line in section["lines"].splitlines())
    found = map(_HAL_LINE.fullmatch, lines)
    return _once((each["rail"], float(each["mws"])) for each in found if each)


def _once(told: Iterable[tuple[str, float]]) -> dict[str, float]:
    rails: dict[str, float] = {}
    for rail, energy_mj in told:
        if rail in rails:
            raise MeasurementInvalid(f"tells the rail {rail} twice")
        rails[rail] = energy_mj
    if not rails:
        raise MeasurementInvalid("tells no rail's energy")
    return rails


def compute_rails(rails: Collection[str]) -> dict[str, str]:
    """The rails that make up the total, by what they feed.

    Raises:
        MeasurementInvalid: a cluster of cores is not among them, or a part stands twice.
    """
    chosen: dict[str, str] = {}
    for rail in rails:
        found = _RAIL.fullmatch(rail)
        part = COMPUTE.get(found["part"]) if found else None
        if part is not None and chosen.setdefault(part, rail) != rail:
            raise MeasurementInvalid(f"two rails of the {part}: {chosen[part]}, {rail}")
    if missing := [part for part in _NEEDED if part not in chosen]:
        raise MeasurementInvalid(
            f"makes up no total: no rail of the {', '.join(missing)}, but {', '.join(sorted(rails)[:20])}"
        )
    return chosen


class RailMeter(Meter):
    """The sum of the rails of what computes, in mJ since this meter was made; it is the same on a charger.

    ``ask`` has the phone tell its counters, ``parse`` gives each rail's mJ; ``clock`` gives this machine's seconds.

    Raises:
        MeasurementInvalid: the rails make up no total.
        DeviceError: the phone is lost.
    """

    settle_s = SETTLE_S

    def __init__(
        self,
        name: str,
        ask: Callable[[], Answer],
        parse: Callable[[str], Mapping[str, float]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._ask, self._parse, self._clock = ask, parse, clock
        self._asked_s = clock()
        answer = ask()
        with self._naming():
            rails_mj = parse(answer.text)
            self._rails = compute_rails(rails_mj)
        self._last_mj, self._last_up_s, self._total_mj = self._own(rails_mj), answer.up_s, 0.0
        listed = " + ".join(f"{rail} ({part})" for part, rail in self._rails.items())
        self.note = f"{listed}: what computes, not the whole phone"

    def read_mj(self) -> float:
        """Energy in mJ since this meter was made.

        Raises:
            MeasurementInvalid: a counter went backwards, or is not told any more.
            DeviceError: the phone is lost.
        """
        now_s = self._clock()
        if now_s - self._asked_s < PERIOD_S:
            return self._total_mj
        self._asked_s = now_s
        answer = self._ask()
        with self._naming():
            now_mj = self._own(self._parse(answer.text))
        gains_mj = [now - last for now, last in zip(now_mj, self._last_mj, strict=True)]
        elapsed_s = answer.up_s - self._last_up_s
        self._last_mj, self._last_up_s = now_mj, answer.up_s
        most_mj = 1e3 * _MOST_WATTS * (elapsed_s + SETTLE_S)
        if elapsed_s < 0 or min(gains_mj) < 0 or sum(gains_mj) > most_mj:
            raise MeasurementInvalid(f"{self.name}: an energy counter was set anew")
        self._total_mj += sum(gains_mj)
        return self._total_mj

    def _own(self, rails_mj: Mapping[str, float]) -> list[float]:
        if missing := [rail for rail in self._rails.values() if rail not in rails_mj]:
            raise MeasurementInvalid(f"does not tell {', '.join(missing)} any more")
        return [rails_mj[rail] for rail in self._rails.values()]

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Errors of what was told, with the name of what told it."""
        try:
            yield
        except MeasurementInvalid as error:
            raise MeasurementInvalid(f"{self.name}: {error}") from error
