"""Energy of a phone on Android's own daemon, next to which its sensors' files are moved."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netdyno.base.closing import Closing
from netdyno.base.errors import DeviceError, InputError, MeasurementInvalid
from netdyno.devices.android import battery
from netdyno.devices.android.battery import BatteryMeter
from netdyno.devices.android.device import AndroidDevice
from netdyno.devices.device import Settings
from netdyno.devices.meters import Trace
from netdyno.devices.workers import WorkerSession
from netdyno.doctor import examine_device
from netdyno.profiler.energy import measure_window, require_meter

pytestmark = pytest.mark.alone

HAL = """============= PowerStats HAL 2.0 energy meter ==============
  [S2M_VDD_CPUCL2]:CPU(BIG)                1000.25 mWs
  [S3M_VDD_CPUCL1]:CPU(MID)                 200.00 mWs
  [S4M_VDD_CPUCL0]:CPU(LITTLE)               30.00 mWs
========== End of PowerStats HAL 2.0 energy meter ==========
"""
ON_BATTERY = "Current Battery Service state:\n  AC powered: false\n  USB powered: false\n  voltage: 4000"
GAUGE = {"type": "Battery", "status": "Discharging", "current_now": "-250000", "voltage_now": "4000000"}
USB = {"type": "USB", "online": "0"}

pytest.importorskip("adb_shell", reason="adb-shell is not installed: pip install 'netdyno[android]'")
IDLE_W, LEAST_W, MOST_W = 1.0, 3.0, 5.0


class Load(Closing):
    """Moves what a phone's sensors tell: a watt while idle, and while it works 3 W and 5 W for half a second each."""

    def __init__(self, phone: Any, *, counted: bool) -> None:
        self._phone, self._counted = phone, counted
        self._began_s: float | None = None
        self._energy_mj, self._last_s = 1e6, time.monotonic()
        self._ended = threading.Event()
        self._write()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Work from now on."""
        self._began_s = self._began_s or time.monotonic()

    def _power_w(self, now_s: float) -> float:
        if self._began_s is None:
            return IDLE_W
        return LEAST_W if (now_s - self._began_s) % 1.0 < 0.5 else MOST_W

    def _write(self) -> None:
        now_s = time.monotonic()
        power_w = self._power_w(now_s)
        self._energy_mj += 1e3 * power_w * (now_s - self._last_s)
        self._last_s = now_s
        if self._counted:
            uws = [round(share * 1e3 * self._energy_mj) for share in (0.1, 0.2, 0.7)]
            told = "".join(f"CH{n}(T=1)[S{4 - n}M_VDD_CPUCL{n}], {each}\n" for n, each in enumerate(uws))
            put(self._phone.meters / "iio:device0/energy_value", f"t={now_s * 1e3:.0f}\n{told}CH7(T=1)[VSYS], 5\n")
        else:
            put(self._phone.supplies / "battery/current_now", f"{-1e3 * power_w / 4.0:.0f}")

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            self._write()

    def close(self) -> None:
        """Leave everything as it stands."""
        self._ended.set()
        self._thread.join()


def put(path: Path, text: str) -> None:
    """Write a file of a sensor, which is never seen half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent.parent / "part"
    part.write_text(f"{text}\n")
    os.replace(part, path)


def supply(phone: Any, name: str, told: dict[str, str]) -> None:
    for key, value in told.items():
        put(phone.supplies / name / key, value)


def unplug(phone: Any) -> None:
    phone.dress(battery=ON_BATTERY)
    supply(phone, "battery", GAUGE | {"current_now": "-250"})
    supply(phone, "usb", USB)


@pytest.fixture
def device(phone: Any) -> Iterator[AndroidDevice]:
    with AndroidDevice(f"android:{phone.serial}", runner="builtin") as device:
        yield device


@pytest.mark.parametrize(
    "way",
    [
        "odpm",
        pytest.param("battery", marks=pytest.mark.slow),
        pytest.param("battery through a server", marks=pytest.mark.slow),
    ],
)
def test_a_known_load(way: str, phone: Any, model: Any, request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The energy of a real runner's work, next to which a writer moves the sensors' files."""
    unplug(phone)
    if way.endswith("server"):
        request.getfixturevalue("adb_server")
    work = WorkerSession.work

    def working(self: WorkerSession, repeat: int) -> None:
        load.begin()
        work(self, repeat)

    monkeypatch.setattr(WorkerSession, "work", working)
    monkeypatch.setattr(BatteryMeter, "settle_s", 0.4)
    with (
        Load(phone, counted=way == "odpm") as load,
        AndroidDevice(f"android:{phone.serial}", runner="builtin") as device,
        device.open(model("linear-tflite")) as session,
    ):
        meter = require_meter(device, Settings())
        assert meter.name == way.partition(" ")[0]
        window = measure_window(device, session, meter, 50_000, 0.5)
        assert device.meters() == (meter,), "the same one, whose rule was found when the phone was idle"
    mean_w = (LEAST_W + MOST_W) / 2
    assert window.flag == ""
    assert window.idle_w == pytest.approx(IDLE_W, rel=0.03)
    assert window.gross_mj == pytest.approx(1e3 * mean_w * window.seconds, rel=0.03)
    assert window.net_mj == pytest.approx(1e3 * (mean_w - IDLE_W) * window.seconds, rel=0.03)


def test_the_hal_tells_what_the_driver_keeps_for_root(phone: Any, device: AndroidDevice) -> None:
    phone.program("dumpsys", f'[ "$1" = powerstats ] || cat <<"END"\n{HAL}\nEND')
    (meter,) = device.meters()
    assert meter.name == "powerstats"
    assert len(device.meter_problems()) == 1 and "odpm: tells no rail's energy" in device.meter_problems()[0]
    assert meter.read_mj() == 0.0
    assert device.meters() == (meter,) and len(device.meter_problems()) == 1
    with pytest.raises(MeasurementInvalid, match="stands still"):
        require_meter(device, Settings())


def test_other_ways_to_the_battery(phone: Any, device: AndroidDevice) -> None:
    """Without files of the kernel, the battery service; where it tells no current, the health HAL's dump."""
    phone.dress(battery=ON_BATTERY)
    phone.program("cmd", 'echo "-250000"')
    (meter,) = device.meters()
    assert "cmd battery get current_now: current in µA, negative" in meter.note
    device._energy.close()
    phone.program("cmd", "echo 'Unknown command: get'; exit 255")
    dump = "ac: 0 usb: 0 wireless: 0\nlevel: 75 voltage: 4156 temp: 312\ncurrent now: 250"
    text = f'case "$1" in\nbattery) cat <<"END"\n{ON_BATTERY}\nEND\n;;\n*health*) cat <<"END"\n{dump}\nEND\n;;\nesac'
    phone.program("dumpsys", text)
    (meter,) = device.meters()
    assert "dumpsys of the health HAL: current in mA, positive" in meter.note


def test_on_a_charger(phone: Any, device: AndroidDevice) -> None:
    unplug(phone)
    supply(phone, "usb", USB | {"online": "1"})
    assert device.meters() == ()
    assert battery.POWERED in device.meter_problems()
    with pytest.raises(MeasurementInvalid, match=r"Wi-Fi.*hub"):
        require_meter(device, Settings())
    unplug(phone)
    assert require_meter(device, Settings()).name == "battery"


def test_rails_are_read_on_a_charger_too(phone: Any, device: AndroidDevice) -> None:
    with Load(phone, counted=True):
        assert require_meter(device, Settings()).name == "odpm"


def test_a_charger_that_comes(phone: Any, device: AndroidDevice) -> None:
    unplug(phone)
    (meter,) = device.meters()
    with Trace(meter) as trace:
        began = time.monotonic()
        time.sleep(0.5)
        assert trace.power_w(began, time.monotonic()) == pytest.approx(1.0, rel=0.1)
        supply(phone, "battery", {"status": "Charging"})
        time.sleep(0.5)
        with pytest.raises(MeasurementInvalid, match="powers the phone"):
            trace.power_w(began, time.monotonic())
    assert device.meters() == ()
    assert device.unfit() == battery.POWERED


def test_a_frozen_battery(phone: Any, device: AndroidDevice) -> None:
    unplug(phone)
    phone.dress(battery=f"{ON_BATTERY}\n  (UPDATES STOPPED -- use 'reset' to restart)")
    with pytest.raises(MeasurementInvalid, match="dumpsys battery reset"):
        require_meter(device, Settings())


def test_a_current_that_no_phone_draws(phone: Any, device: AndroidDevice) -> None:
    unplug(phone)
    supply(phone, "battery", {"current_now": "9000000"})
    with pytest.raises(MeasurementInvalid, match="9000000 at 4000000"):
        require_meter(device, Settings())


def test_a_phone_that_tells_nothing(device: AndroidDevice) -> None:
    with pytest.raises(InputError, match=r"odpm: tells no rail's energy; powerstats: .*tells no current"):
        require_meter(device, Settings())
    assert device.unfit() == ""


def test_a_pulled_cable(phone: Any, device: AndroidDevice) -> None:
    unplug(phone)
    (meter,) = device.meters()
    phone.cut()
    time.sleep(0.2)
    with pytest.raises(DeviceError):
        meter.read_mj()
    with pytest.raises(DeviceError, match="gone"):
        meter.read_mj()
    with pytest.raises(DeviceError):
        device.meters()


def test_names_of_power_supplies_are_not_run(phone: Any, device: AndroidDevice) -> None:
    unplug(phone)
    for name in ("$(touch pwned)", "a; touch pwned", "`touch pwned`"):
        supply(phone, name, USB | {"online": "$(touch pwned)"})
    supply(phone, "-n", USB)
    supply(phone, "a&touch${IFS}pwned", {"current_now": "1", "voltage_now": "1"})
    assert [meter.name for meter in device.meters()] == ["battery"]
    assert device._transport.script("ls -d pwned").code != 0
    assert not list(phone.supplies.rglob("pwned"))


def test_what_doctor_says(phone: Any) -> None:
    unplug(phone)
    said = {finding.what: finding.detail for finding in examine_device(f"android:{phone.serial}")}
    found = next(detail for what, detail in said.items() if what.startswith("energy battery"))
    assert "battery/current_now: current in mA, negative while discharging; µV (-250 at 4000000)" in found


def test_exit_code_of_a_phone_that_is_charged(phone: Any, tmp_path: Path) -> None:
    unplug(phone)
    phone.dress(battery="x:\n  USB powered: true\n")
    space = "ofa-mobilenetv3:width=0.25,resolutions=48,classes=10"
    command = [str(Path(sys.executable).with_name("netdyno")), "profile", space, "--metrics", "energy"]
    command += ["--device", f"android:{phone.serial}", "--runner", "builtin", "--out", "t"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 4, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Wi-Fi" in done.stderr
    assert not (tmp_path / "t").exists()
