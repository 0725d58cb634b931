"""Power of a phone from its battery's current and voltage, whose sign and unit differ by vendor.

The current is that of the gauge of the battery, and the phone's only while nothing else feeds it. Where two cells
stand in series, a phone may tell the voltage of one: nothing in what it tells shows that.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from netdyno.base.errors import MeasurementInvalid
from netdyno.devices.android.loop import Answer
from netdyno.devices.android.phone import parse_battery
from netdyno.devices.android.transport import Transport
from netdyno.devices.meters import LONGEST_GAP_S, Meter

ADVICE = "use adb over Wi-Fi with the cable unplugged, or a hub that switches its power off"
POWERED = f"something else than the battery powers the phone, so what its battery tells means nothing: {ADVICE}"
FROZEN = "what the phone tells of its battery is frozen: adb shell dumpsys battery reset"
UNKNOWN = f"the phone does not tell whether its battery alone powers it: {ADVICE}"

IDLE_W = (0.05, 6.0)
"""What a phone draws that does nothing in particular; narrower than the factor between the units."""
_MOST_WATTS = 60.0
_CELL_V = (2.5, 10.0)
"""One cell nearly empty, two in series full."""
PERIOD_S = 0.1
SETTLE_S = 2.0
"""Gauges average, and tell something new as rarely as each second or two."""
CALIBRATION_READINGS = 5
_NUMBER = r"(?P<number>-?\d{1,10})"
_SUPPLIES = "/sys/class/power_supply"
_FED = r"(?:Charging|Full|Not charging)"
"""Of the kernel's words for a battery's status, those of one that something feeds."""

SUPPLIES_SCRIPT = f"""cd {_SUPPLIES} 2>/dev/null || exit 0
for s in *; do for k in type online status current_now voltage_now; do
[ -r "$s/$k" ] && read -r v <"$s/$k" && echo "$s $k $v"
done; done 2>/dev/null; true"""
_SUPPLY = re.compile(
    r"(?P<name>[\w.:+-]{1,60}) (?P<key>type|online|status|current_now|voltage_now) (?P<value>.{1,60})", re.ASCII
)
Supplies = Mapping[str, Mapping[str, str]]
"""What the kernel tells of each power supply, by the names of its files."""


@dataclass(frozen=True)
class Source:
    """A way to read current and voltage: a script, and how what it prints is understood."""

    name: str
    script: str
    current: re.Pattern[str]
    voltage: re.Pattern[str]
    powered: re.Pattern[str]


@dataclass(frozen=True)
class Reading:
    """Current and voltage as the phone tells them, and whether something else than the battery powers it."""

    current: int
    voltage: int
    powered: bool


@dataclass(frozen=True)
class Rule:
    """How a phone's readings become power: sign while discharging, and what a unit of each is."""

    sign: int
    amperes: float
    volts: float

    def power_w(self, reading: Reading) -> float:
        """Power that leaves the battery."""
        return self.sign * reading.current * self.amperes * reading.voltage * self.volts

    def __str__(self) -> str:
        current, voltage = "µA" if self.amperes < 1e-4 else "mA", "µV" if self.volts < 1e-4 else "mV"
        return f"current in {current}, {'positive' if self.sign > 0 else 'negative'} while discharging; {voltage}"


RULES = tuple(Rule(sign, amperes, volts) for sign in (1, -1) for amperes in (1e-6, 1e-3) for volts in (1e-6, 1e-3))
SERVICE = Source(
    "cmd battery get current_now",
    'echo "current $(cmd battery get current_now)"; dumpsys battery',
    current=re.compile(rf"^current {_NUMBER}$", re.M | re.ASCII),
    voltage=re.compile(rf"^voltage: {_NUMBER}$", re.M | re.ASCII),
    powered=re.compile(r"^\w[\w ]{0,40} powered: true$|UPDATES STOPPED", re.M | re.ASCII),
)
HEALTH = Source(
    "dumpsys of the health HAL",
    "dumpsys android.hardware.health.IHealth/default",
    current=re.compile(rf"^current now: {_NUMBER}$", re.M | re.ASCII),
    voltage=re.compile(rf"^level: -?\d{{1,9}} voltage: {_NUMBER} temp: ", re.M | re.ASCII),
    powered=re.compile(r"\b(?:ac|usb|wireless|dock): 1\b", re.ASCII),
)


def parse_supplies(text: str) -> Supplies:
    """Power supplies as the script of this module prints them."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if told := _SUPPLY.fullmatch(line.strip()):
            found.setdefault(told["name"], {})[told["key"]] = told["value"]
    return found


def kernel_source(supplies: Supplies) -> Source | None:
    """The kernel's own files of the battery that can be read, and of what may feed it."""
    gauges = [name for name in ("battery", "bms", *sorted(supplies)) if _is_gauge(supplies.get(name, {}))]
    if not gauges:
        return None
    gauge = f"{_SUPPLIES}/{shlex.quote(gauges[0])}"
    files = [("current", f"{gauge}/current_now"), ("voltage", f"{gauge}/voltage_now"), ("status", f"{gauge}/status")]
    files += [("online", f"{_SUPPLIES}/{shlex.quote(name)}/online") for name in _feeding(supplies)]
    return Source(
        f"{gauges[0]}/current_now",
        "\n".join(f'v=; read -r v <{path}; echo "{what} $v"' for what, path in files),
        current=re.compile(rf"^current {_NUMBER}$", re.M | re.ASCII),
        voltage=re.compile(rf"^voltage {_NUMBER}$", re.M | re.ASCII),
        powered=re.compile(rf"^(?:status {_FED}|online [^0].*)$", re.M | re.ASCII),
    )


def _is_gauge(supply: Mapping[str, str]) -> bool:
    return all(re.fullmatch(_NUMBER, supply.get(key, ""), re.ASCII) for key in ("current_now", "voltage_now"))


def _feeding(supplies: Supplies) -> list[str]:
    """What may feed the battery; a battery's own ``online`` tells something else."""
    return [name for name, told in sorted(supplies.items()) if "online" in told and not _is_battery(name, told)]


def _is_battery(name: str, told: Mapping[str, str]) -> bool:
    return name == "battery" or told.get("type", "").lower() in ("battery", "bms")


def not_alone(supplies: Supplies, said: str) -> str:
    """Why a battery's current is not the phone's, by its supplies and ``dumpsys battery``; empty if it is."""
    battery = parse_battery(said)
    online = [supplies[name]["online"] != "0" for name in _feeding(supplies)]
    status = [told["status"] for name, told in supplies.items() if _is_battery(name, told) and "status" in told]
    if battery.get("battery_frozen"):
        return FROZEN
    if battery.get("plugged") or any(online) or any(re.fullmatch(_FED, each) for each in status):
        return POWERED
    return "" if "plugged" in battery or online or "Discharging" in status else UNKNOWN


def read_supplies(transport: Transport) -> tuple[Supplies, str]:
    """What the kernel and ``dumpsys battery`` tell.

    Raises:
        DeviceError: the phone is lost.
    """
    supplies = parse_supplies(transport.script(SUPPLIES_SCRIPT).out)
    return supplies, transport.shell("dumpsys", "battery").out


def sources(supplies: Supplies) -> list[Source]:
    """The ways to a current and a voltage, best first.

    The current that some phones tell in ``dumpsys battery`` is not among them: it is as old as the last broadcast.
    """
    of_kernel = kernel_source(supplies)
    return [of_kernel] if of_kernel else [SERVICE, HEALTH]


def parse_reading(source: Source, text: str) -> Reading:
    """A reading from what a source's script has printed.

    Raises:
        MeasurementInvalid: it tells no current or no voltage.
    """
    found = {what: getattr(source, what).search(text) for what in ("current", "voltage")}
    if missing := [what for what, match in found.items() if match is None]:
        raise MeasurementInvalid(f"{source.name}: tells no {' and no '.join(missing)}")
    current, voltage = (int(match["number"]) for match in found.values() if match)
    return Reading(current, voltage, source.powered.search(text) is not None)


def calibrate(readings: Sequence[Reading]) -> Rule:
    """The only rule by which readings of an idle phone on its battery are a phone's.

    Raises:
        MeasurementInvalid: none is, or more than one; the message holds the raw values.
    """
    fitting = []
    for rule in RULES:
        powers_w = [rule.power_w(reading) for reading in readings]
        volts = [reading.voltage * rule.volts for reading in readings]
        sane = all(_CELL_V[0] <= voltage <= _CELL_V[1] for voltage in volts) and all(power > 0 for power in powers_w)
        if powers_w and sane and IDLE_W[0] <= median(powers_w) <= IDLE_W[1]:
            fitting.append(rule)
    if len(fitting) != 1:
        told = "; ".join(f"{reading.current} at {reading.voltage}" for reading in readings)
        found = "several make" if fitting else "none makes"
        text = f"the battery's current and voltage read {told}: of vendors' units and signs, {found}"
        raise MeasurementInvalid(f"{text} {IDLE_W[0]:g} to {IDLE_W[1]:g} W of an idle phone")
    return fitting[0]


class BatteryMeter(Meter):
    """What leaves the battery, summed up over the phone's own time between readings.

    ``ask`` has the phone run ``source``'s script; ``clock`` gives this machine's seconds. ``calibration`` keeps the
    raw readings by which its rule was found.

    Raises:
        MeasurementInvalid: no rule fits, or something else powers the phone.
        DeviceError: the phone is lost.
    """

    name = "battery"
    settle_s = SETTLE_S
    sampled = True

    def __init__(
        self,
        source: Source,
        ask: Callable[[], Answer],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source, self._ask, self._clock = source, ask, clock
        readings = []
        for _ in range(CALIBRATION_READINGS):
            readings.append(self._read()[1])
            sleep(PERIOD_S)
        self.calibration = tuple(readings)
        self._rule = calibrate(readings)
        raw = readings[-1]
        self.note = f"sampled power of the whole phone; {source.name}: {self._rule} ({raw.current} at {raw.voltage})"
        self._total_mj = 0.0
        self._last_up_s, self._last_w = self._power()
        self._read_s = clock()

    def read_mj(self) -> float:
        """Energy in mJ since this meter was made, without the time in which it was not read.

        Raises:
            MeasurementInvalid: no reading for a second, or one of a phone that something else powers.
            DeviceError: the phone is lost.
        """
        pause_s = self._clock() - self._read_s
        if pause_s < PERIOD_S:
            return self._total_mj
        up_s, power_w = self._power()
        elapsed_s = up_s - self._last_up_s
        last_w, self._last_up_s, self._last_w, self._read_s = self._last_w, up_s, power_w, self._clock()
        if elapsed_s < 0:
            raise MeasurementInvalid(f"{self.name}: the phone's time went back by {-elapsed_s:.1f} s")
        if elapsed_s <= LONGEST_GAP_S:
            self._total_mj += 1e3 * (last_w + power_w) / 2 * elapsed_s
        elif pause_s <= LONGEST_GAP_S:  # longer ones are between windows, in which nobody asks
            raise MeasurementInvalid(f"{self.name}: no reading for {elapsed_s:.1f} s")
        return self._total_mj

    def _power(self) -> tuple[float, float]:
        up_s, reading = self._read()
        power_w = self._rule.power_w(reading)
        if not 0 < power_w <= _MOST_WATTS:
            raw = f"{reading.current} at {reading.voltage}"
            raise MeasurementInvalid(f"{self.name}: reads {raw}, {power_w:.3g} W, with {self._rule}; {ADVICE}")
        return up_s, power_w

    def _read(self) -> tuple[float, Reading]:
        answer = self._ask()
        reading = parse_reading(self._source, answer.text)
        if reading.powered:
            raise MeasurementInvalid(POWERED)
        return answer.up_s, reading
