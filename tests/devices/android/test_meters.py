"""What a phone's counters and its battery tell, made energy of, in a time of their own."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.errors import DeviceError, MeasurementInvalid
from netdyno.devices.android import battery
from netdyno.devices.android.battery import (
    BatteryMeter,
    Reading,
    Source,
    calibrate,
    kernel_source,
    not_alone,
    parse_reading,
    parse_supplies,
)
from netdyno.devices.android.loop import Answer, Loop
from netdyno.devices.android.rails import RailMeter, compute_rails, parse_driver, parse_hal
from netdyno.devices.android.transport import Channel, Transport

DRIVER = """t=473204
CH0(T=473204)[S10M_VDD_TPU], 40000
CH1(T=473204)[VSYS_PWR_MODEM], 777777777
CH2(T=473204)[L15M_VDD_SLC_M], 888888888
CH3(T=473204)[S2M_VDD_CPUCL2], 1000000
CH4(T=473204)[S3M_VDD_CPUCL1], 200000
CH5(T=473204)[S4M_VDD_CPUCL0], 30000
CH6(T=473204)[S5M_VDD_INT], 5000
CH7(T=473204)[S1M_VDD_MIF], 600

t=473206
CH0(T=473206)[S2S_VDD_G3D], 7000
CH1(T=473206)[VSYS_PWR_DISPLAY], 999999999
"""
HAL = """
================ PowerStats HAL 2.0 energy consumers ===============
  [S2M_VDD_CPUCL2]:CPU   123.00 mWs
========== End of PowerStats HAL 2.0 energy consumers ==========

============= PowerStats HAL 2.0 energy meter ==============
                           Channel       Cumulative Energy
      [S2M_VDD_CPUCL2]:CPU(BIG)                1000.25 mWs
      [S3M_VDD_CPUCL1]:CPU(MID)                 200.00 mWs (          0.00)
      [S4M_VDD_CPUCL0]:CPU(LITTLE)               30.00 mWs
      [VSYS_PWR_DISPLAY]:Display              99999.00 mWs
========== End of PowerStats HAL 2.0 energy meter ==========
"""
CLUSTERS = ["S4M_VDD_CPUCL0", "S3M_VDD_CPUCL1", "S2M_VDD_CPUCL2"]
ON_BATTERY = "Current Battery Service state:\n  AC powered: false\n  USB powered: false\n  voltage: 4000"
GAUGE = {"type": "Battery", "status": "Discharging", "current_now": "-250000", "voltage_now": "4000000"}
USB = {"type": "USB", "online": "0"}


# What is told, and what is made of it.


def test_the_drivers_counters() -> None:
    told = parse_driver(DRIVER)
    assert told["S2M_VDD_CPUCL2"] == 1000.0, "in mJ"
    chosen = compute_rails(told)
    assert sum(told[rail] for rail in chosen.values()) == pytest.approx(1282.6)
    assert len(chosen) == 7 and not any(rail.startswith(("VSYS", "L")) for rail in chosen.values())


def test_later_generations_call_their_clusters_otherwise() -> None:
    names = ["S4M_VDD_CPU0", "S3M_VDD_CPU1", "S2M_VDD_CPU2", "S2S_VDD_G3D", "VSYS_PWR_MODEM"]
    assert list(compute_rails(names).values()) == names[:4]


def test_the_hals_counters() -> None:
    assert sum(parse_hal(HAL)[rail] for rail in compute_rails(parse_hal(HAL)).values()) == pytest.approx(1230.25)


@pytest.mark.parametrize("text", ["", DRIVER, "ChannelId: 0, ChannelName: S2M_VDD_CPUCL2, ChannelSubsystem: CPU"])
def test_other_dumps_tell_no_energy(text: str) -> None:
    with pytest.raises(MeasurementInvalid, match="no rail's energy"):
        parse_hal(text)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["S4M_VDD_CPUCL0", "S3M_VDD_CPUCL1"], "no rail of the big cores"),
        (["VSYS_PWR_DISPLAY", "L2M_VDD_CPUCL0"], "no rail of the little cores, middle cores, big cores"),
        (
            ["S4M_VDD_CPUCL0", "S3M_VDD_CPUCL1", "S2M_VDD_CPUCL2", "S2S_VDD_GPU", "S2S_VDD_G3D"],
            "two rails of the GPU",
        ),
    ],
)
def test_rails_that_make_up_no_total(names: list[str], why: str) -> None:
    with pytest.raises(MeasurementInvalid, match=why):
        compute_rails(dict.fromkeys(names, 1.0))


def test_a_rail_told_twice() -> None:
    with pytest.raises(MeasurementInvalid, match="twice"):
        parse_driver(DRIVER + DRIVER)


@pytest.mark.parametrize(
    ("current", "voltage", "rule", "power_w"),
    [
        (-250_000, 4_000_000, "current in µA, negative while discharging; µV", 1.0),
        (250_000, 4_000_000, "current in µA, positive while discharging; µV", 1.0),
        (-250, 4_000_000, "current in mA, negative while discharging; µV", 1.0),
        (384, 4026, "current in mA, positive while discharging; mV", 1.546),
        (15_000, 3_700_000, "current in µA, positive while discharging; µV", 0.0555),
        (-700_000, 8_400_000, "current in µA, negative while discharging; µV", 5.88),
    ],
)
def test_signs_and_units(current: int, voltage: int, rule: str, power_w: float) -> None:
    found = calibrate([Reading(current, voltage, False)] * 3)
    assert str(found) == rule
    assert found.power_w(Reading(current, voltage, False)) == pytest.approx(power_w, rel=1e-3)


@pytest.mark.parametrize(
    "raw",
    [
        [(0, 4_000_000)], [(-2, 4000)], [(9_000_000, 4_000_000)], [(250, 0)], [(250, 40_000)], [(9000, 4000)],
        [(-250, 4000), (250, 4000), (-250, 4000)], [],
    ],
)  # fmt: skip
def test_no_rule_fits(raw: list[tuple[int, int]]) -> None:
    with pytest.raises(MeasurementInvalid, match="none makes") as caught:
        calibrate([Reading(current, voltage, False) for current, voltage in raw])
    assert all(f"{current} at {voltage}" in str(caught.value) for current, voltage in raw)


def test_genuine_phones(refdata: Path) -> None:
    """One vendor's gauge while it charges, and one's log of a while on the battery, have opposite signs and units."""
    folder = refdata / "android"
    for name in ("aosp_pixelc", "samsung_s24"):
        assert not_alone({}, (folder / f"dumpsys_battery_{name}.txt").read_text()) == battery.POWERED
    log = (folder / "dumpsys_battery_samsung_s24.txt").read_text()
    entry = next(line for line in log.splitlines() if "usb:false" in line)
    current, voltage = (int(entry.partition(f"{what}:")[2].split(",")[0]) for what in ("current_avg", "voltage"))
    assert str(calibrate([Reading(current, voltage, False)])) == "current in mA, negative while discharging; mV"
    uevent = (folder / "power_supply_bms_uevent_mi6_charging.txt").read_text()
    told = dict(line.removeprefix("POWER_SUPPLY_").split("=") for line in uevent.split())
    charging = Reading(int(told["CURRENT_NOW"]), int(told["VOLTAGE_NOW"]), False)
    assert "negative while" in str(calibrate([charging])), "what a charging phone's would be taken for"
    discharging = Reading(-charging.current, charging.voltage, False)
    assert str(calibrate([discharging])) == "current in µA, positive while discharging; µV"


@pytest.mark.parametrize(
    ("supplies", "said", "why"),
    [
        ({"battery": GAUGE, "usb": USB}, ON_BATTERY, ""),
        ({"battery": GAUGE}, "", ""),
        ({"usb": USB}, "", ""),
        ({}, ON_BATTERY, ""),
        ({"battery": GAUGE | {"online": "1"}}, ON_BATTERY, ""),
        ({"battery": GAUGE | {"status": "Unknown"}}, "", battery.UNKNOWN),
        ({}, "", battery.UNKNOWN),
        ({"battery": GAUGE, "usb": USB | {"online": "1"}}, ON_BATTERY, battery.POWERED),
        ({"battery": GAUGE | {"status": "Full"}}, ON_BATTERY, battery.POWERED),
        ({"battery": GAUGE, "usb": USB}, "x:\n  USB powered: true", battery.POWERED),
        ({"battery": GAUGE, "usb": USB}, f"{ON_BATTERY}\n  (UPDATES STOPPED -- use 'reset')", battery.FROZEN),
    ],
)
def test_what_powers_a_phone(supplies: dict[str, dict[str, str]], said: str, why: str) -> None:
    assert not_alone(supplies, said) == why


def test_which_gauge() -> None:
    told = {"current_now": "1", "voltage_now": "2"}
    assert kernel_source({"bms": told, "a": told}).name == "bms/current_now"  # type: ignore[union-attr]
    assert kernel_source({"battery": {"current_now": "1"}, "a": told}).name == "a/current_now"  # type: ignore[union-attr]
    assert kernel_source({"battery": {"current_now": "x", "voltage_now": "2"}}) is None


def test_the_health_hals_dump() -> None:
    dump = "ac: 0 usb: 0 wireless: 0 current_max: 0\nlevel: 75 voltage: 4156 temp: 312\ncurrent now: -250\n"
    assert parse_reading(battery.HEALTH, dump) == Reading(-250, 4156, False)
    assert parse_reading(battery.HEALTH, dump.replace("usb: 0", "usb: 1")).powered


# Meters, in a time of their own.

ANY = Source("gauge", "", battery.SERVICE.current, battery.SERVICE.voltage, battery.SERVICE.powered)


class Script:
    """A phone that answers with one text after the other, in a time that only they move."""

    def __init__(self, *texts: str, step_s: float = 0.1) -> None:
        self.texts, self.now_s, self.up_s, self.step_s = list(texts), 1000.0, 50.0, step_s

    def ask(self) -> Answer:
        self.now_s, self.up_s = self.now_s + self.step_s, self.up_s + self.step_s
        return Answer(self.up_s, self.texts.pop(0) if len(self.texts) > 1 else self.texts[0])

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s, self.up_s = self.now_s + seconds, self.up_s + seconds


def gauge(current: int, voltage: int = 4000) -> str:
    return f"current {current}\nvoltage: {voltage}\n"


def battery_meter(script: Script) -> BatteryMeter:
    return BatteryMeter(ANY, script.ask, script.clock, script.sleep)


def test_power_is_summed_up_over_the_phones_time() -> None:
    script = Script(*[gauge(-250)] * 6, gauge(-750), gauge(-750), step_s=0.0)
    meter = battery_meter(script)
    assert "mA, negative while discharging" in meter.note and "-250 at 4000" in meter.note
    assert meter.calibration == (Reading(-250, 4000, False),) * 5
    script.sleep(0.5)
    assert meter.read_mj() == pytest.approx(1e3 * 2.0 * 0.5), "from 1 W to 3 W"
    script.sleep(0.05)
    assert meter.read_mj() == pytest.approx(1000.0), "not asked so often"
    script.sleep(0.15)
    assert meter.read_mj() == pytest.approx(1000.0 + 1e3 * 3.0 * 0.2)


def test_a_pause_between_windows_does_not_count() -> None:
    script = Script(gauge(250), step_s=0.0)
    meter = battery_meter(script)
    script.sleep(600)
    assert meter.read_mj() == 0.0
    script.sleep(0.5)
    assert meter.read_mj() == pytest.approx(500.0)


def test_a_phone_that_was_asleep() -> None:
    script = Script(gauge(250), step_s=0.0)
    meter = battery_meter(script)
    script.now_s, script.up_s = script.now_s + 0.2, script.up_s + 1.5
    with pytest.raises(MeasurementInvalid, match=r"no reading for 1\.5 s"):
        meter.read_mj()


def test_time_that_goes_backwards() -> None:
    script = Script(gauge(250), step_s=0.0)
    meter = battery_meter(script)
    script.now_s, script.up_s = script.now_s + 0.2, script.up_s - 3
    with pytest.raises(MeasurementInvalid, match="time went back"):
        meter.read_mj()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (gauge(1500), "reads 1500 at 4000, -6 W"),
        (gauge(0), "reads 0 at 4000"),
        (gauge(-99999), "reads -99999"),
        (f"{gauge(-250)}USB powered: true\n", "powers the phone"),
        (f"{gauge(-250)}(UPDATES STOPPED -- use 'reset' to restart)\n", "powers the phone"),
        ("voltage: 4000", "tells no current"),
        ("current 250", "tells no voltage"),
        ("", "no current and no voltage"),
    ],
)
def test_a_reading_amid_that_is_none(text: str, why: str) -> None:
    script = Script(*[gauge(-250)] * 6, text)
    meter = battery_meter(script)
    script.sleep(0.2)
    with pytest.raises(MeasurementInvalid, match=why):
        meter.read_mj()


def counters(big: int, least: int = 0) -> str:
    return "".join(f"CH{n}(T=1)[S{n}M_VDD_CPUCL{n}], {uws}\n" for n, uws in enumerate((least, least, big)))


def rail_meter(*texts: str) -> tuple[RailMeter, Script]:
    script = Script(*texts)
    return RailMeter("odpm", script.ask, parse_driver, script.clock), script


def test_counters_are_summed_up() -> None:
    meter, script = rail_meter(counters(5_000_000), counters(5_200_000, 100_000))
    script.now_s -= 0.05
    assert meter.read_mj() == 0.0, "not asked so soon"
    script.sleep(0.2)
    assert meter.read_mj() == pytest.approx(400.0)
    script.sleep(0.2)
    assert meter.read_mj() == pytest.approx(400.0), "a counter that stands still is found out by the trace"
    assert "S2M_VDD_CPUCL2 (big cores)" in meter.note and "not the whole phone" in meter.note


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (counters(4_999_999, 10), "set anew"),
        (counters(10**17), "set anew"),
        (counters(5_000_000).rpartition("CH2")[0], "S2M_VDD_CPUCL2 any more"),
        ("cat: Permission denied", "no rail's energy"),
    ],
)
def test_counters_that_are_none_amid(text: str, why: str) -> None:
    meter, script = rail_meter(counters(5_000_000), text)
    script.sleep(0.2)
    with pytest.raises(MeasurementInvalid, match=f"odpm.*{why}"):
        meter.read_mj()


# Whatever a phone says.

PIECES = st.sampled_from(
    [
        "t=1\n", "CH2(T=1)[", *CLUSTERS, "], ", counters(7), counters(10**17), "9" * 30, "-",
        "=== PowerStats HAL 2.0 energy meter ===\n", "=== End of ", "[S2M_VDD_CPUCL2]:CPU  ", "1.25 mWs",
        "current ", "voltage: ", gauge(-250), gauge(250), gauge(-10**9), "USB powered: true\n", "usb online ", "\n",
        "battery current_now ", "battery voltage_now ", "battery status Full\n", "٣", "NaN", "\ud800",
    ]
)  # fmt: skip
TEXT = st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join)


@given(TEXT)
def test_parsers_of_any_text(text: str) -> None:
    for parse in (parse_driver, parse_hal):
        with contextlib.suppress(MeasurementInvalid):
            assert all(0 <= energy_mj < 1e16 for energy_mj in parse(text).values())
    with contextlib.suppress(MeasurementInvalid):
        assert abs(parse_reading(ANY, text).current) < 1e10
    supplies = parse_supplies(text)
    assert not_alone(supplies, text) in ("", battery.POWERED, battery.FROZEN, battery.UNKNOWN)
    source = kernel_source(supplies)
    assert source is None or "٣" not in source.script


@given(st.lists(TEXT, min_size=1, max_size=8), st.lists(st.floats(-2, 2), min_size=1, max_size=8))
def test_meters_of_any_text(texts: list[str], steps_s: list[float]) -> None:
    makes: list[Callable[[Script], Any]] = [
        battery_meter, lambda script: RailMeter("odpm", script.ask, parse_driver, script.clock),
        lambda script: RailMeter("powerstats", script.ask, parse_hal, script.clock),
    ]  # fmt: skip
    for make, first in zip(makes, (gauge(-250), counters(5), HAL), strict=True):
        script = Script(*[first] * 6, *texts)
        meter, last_mj = make(script), 0.0
        for step_s in steps_s:
            script.now_s, script.up_s = script.now_s + 0.2, script.up_s + step_s
            with contextlib.suppress(MeasurementInvalid):
                now_mj = meter.read_mj()
                assert last_mj <= now_mj < last_mj + 1e3 * 200 * 3 and math.isfinite(now_mj)
                last_mj = now_mj


class Said(Channel):
    """A command that has written all that it will."""

    def __init__(self, said: bytes) -> None:
        super().__init__("phone")
        self._said = [said]

    def send(self, data: bytes) -> None:
        pass

    def receive(self) -> bytes:
        return self._said.pop() if self._said else b""

    def close(self) -> None:
        pass


@given(st.binary(max_size=60) | st.lists(st.sampled_from([b"MARK", b" 1.5", b"\n", b"MARK 12.25\n"])).map(b"".join))
def test_a_loop_that_says_anything(said: bytes) -> None:
    class Way(Transport):
        serial, way = "phone", "adb server"

        def open(self, line: str, silence_s: float) -> Channel:
            mark = line.partition("netdyno-")[2][:16]
            return Said(said.replace(b"MARK", f"netdyno-{mark}".encode()))

        execute = push = pull = size = close = None  # type: ignore[assignment]

    Way.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    loop = Loop(Way(), "")  # type: ignore[abstract]
    try:
        assert loop.ask().up_s in (1.5, 12.25)
    except (DeviceError, MeasurementInvalid):
        assert not loop.alive
        with pytest.raises(DeviceError, match="gone"):
            loop.ask()
