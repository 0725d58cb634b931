"""Models on a phone: Android's own daemon, our runner, LiteRT's library; all real but the phone."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.errors import DeviceError, ModelError, WorkerLost
from netdyno.devices.android import runtime
from netdyno.devices.android.builtin import BuiltinWorker
from netdyno.devices.android.device import AndroidDevice
from netdyno.devices.android.find import connect
from netdyno.devices.android.phone import parse_battery, parse_properties, parse_thermal
from netdyno.devices.android.process import MOST_MODELS
from netdyno.devices.android.transport import FOLDER
from netdyno.devices.cpu import CpuDevice
from netdyno.devices.device import Settings
from netdyno.devices.testing import Case, DeviceConformance

pytestmark = pytest.mark.alone

pytest.importorskip("adb_shell", reason="adb-shell is not installed: pip install 'netdyno[android]'")


@pytest.fixture(scope="module")
def cases(cases: list[Case]) -> list[Case]:
    """Those of the one format that phones run."""
    return [case for case in cases if case.artifact.format == "tflite"]


def runners(device: AndroidDevice) -> list[str]:
    """The processes of the runner on the phone; the first letter in brackets keeps the question out of the answer."""
    return device._transport.script("pgrep -f '^[/]data/local/tmp/netdyno/programs/ld-linux'").out.split()


@pytest.fixture(scope="class")
def device(phone_of_class: Any) -> Iterator[AndroidDevice]:
    with AndroidDevice(f"android:{phone_of_class.serial}", runner="builtin") as device:
        yield device


@pytest.fixture
def device_here(phone: Any) -> Iterator[AndroidDevice]:
    with AndroidDevice(f"android:{phone.serial}", runner="builtin") as device:
        yield device


class TestAndroidConformance(DeviceConformance):
    """The shipped suite, without an adb server."""


class TestAndroid:
    def test_what_it_says_of_itself(self, device: AndroidDevice, phone_of_class: Any) -> None:
        info = device.info()
        assert info.name == "Example Phone 1"
        assert info.facts["android"] == "14"
        assert info.facts["soc"] == "SOC 9"
        assert "SECRET123" not in json.dumps([info.id, dict(info.facts)])
        assert phone_of_class.serial not in info.id
        state = device.state()
        assert (state["battery_percent"], state["battery_c"], state["plugged"]) == (75.0, 31.2, 1)
        assert state["screen"] == 1
        assert (state["thermal_status"], state["cpu_c"], state["skin_c"]) == (0, 43.25, 33.1)

    def test_the_same_outputs_as_here(self, device: AndroidDevice, model: Any) -> None:
        artifact = model("linear-tflite")
        x = {"x": np.array([[0.5, -1, 2]], np.float32)}
        with CpuDevice() as here, here.open(artifact) as ours, device.open(artifact) as theirs:
            a, b = ours.run(x).outputs, theirs.run(x).outputs
            np.testing.assert_array_equal(a["y"], b["y"])

    def test_open_shapes_are_refused(self, device: AndroidDevice, model: Any) -> None:
        with pytest.raises(ModelError, match="open"):
            device.open(model("dynamic-tflite", x=(2, 3)))

    def test_a_runner_that_is_killed(self, device: AndroidDevice, cases: list[Case]) -> None:
        session = device.open(cases[0].artifact)
        assert runners(device)
        device._transport.script(f"kill -9 {' '.join(runners(device))}")
        with pytest.raises((WorkerLost, DeviceError)):
            session.run()
        device.restart()
        with device.open(cases[0].artifact) as again:
            cases[0].check(again.run(cases[0].inputs), repeat=1)


def test_more_sessions_than_the_runner_keeps_at_once(device_here: AndroidDevice, cases: list[Case]) -> None:
    """Numbers of sessions go on for ever, those of the runner begin anew."""
    device_here._numbers = itertools.count(MOST_MODELS - 1)
    for _ in range(3):
        with device_here.open(cases[0].artifact) as session:
            cases[0].check(session.run(cases[0].inputs), repeat=1)


def test_what_it_was_given_up_for_is_not_the_next_one_s(device_here: AndroidDevice, cases: list[Case]) -> None:
    """A runner whose answer was not read answers nothing any more."""
    session = device_here.open(cases[0].artifact)
    worker = session.worker
    assert isinstance(worker, BuiltinWorker)
    with pytest.raises(WorkerLost, match="did not answer for 0 s"):
        worker.run(session.number, 10**6, timeout_s=0.01)
    assert not worker.alive
    with pytest.raises(WorkerLost):
        session.time(1)
    device_here.restart()
    with device_here.open(cases[0].artifact) as again:
        cases[0].check(again.run(cases[0].inputs), repeat=1)


def test_why_a_runner_ended(device_here: AndroidDevice, cases: list[Case]) -> None:
    """In its own last words."""
    with pytest.raises(DeviceError, match=r"has ended \(exit code \d+\): .*taskset"):
        device_here.open(cases[0].artifact, Settings(cores="63"))


def test_nothing_is_left(phone: Any, cases: list[Case]) -> None:
    with AndroidDevice(f"android:{phone.serial}", runner="builtin") as device:
        with device.open(cases[0].artifact) as session:
            session.run(repeat=3)
            session.peak_memory_bytes()
        other = device._transport
        assert other.script(f"ls {FOLDER}").out.split()
    with AndroidDevice(f"android:{phone.serial}", runner="builtin") as device:
        assert device._transport.script("ls -1 /data/local/tmp | grep -v '[.]netdyno-'").out.split() == []
        for _ in range(50):
            if not runners(device):
                return
            time.sleep(0.1)
        assert runners(device) == []


def test_what_an_earlier_run_left_goes_with_the_next_one_that_holds_the_phone(phone: Any) -> None:
    with connect(phone.serial) as transport:
        transport.push(b"cut off while tidying", f"{FOLDER}/programs/runner")
        with AndroidDevice(f"android:{phone.serial}", runner="builtin") as device:
            device.info()
        assert transport.size(f"{FOLDER}/programs/runner"), "it may be another's who holds it"
        with AndroidDevice(f"android:{phone.serial}", runner="builtin") as device:
            device.hold()
        assert transport.size(f"{FOLDER}/programs/runner") is None


@pytest.mark.slow
def test_a_cable_pulled_amid_an_inference(phone: Any, model: Any, cases: list[Case]) -> None:
    with AndroidDevice(f"android:{phone.serial}", runner="builtin") as device:
        session = device.open(cases[0].artifact)
        timer = threading.Timer(0.5, phone.cut)
        timer.start()
        with pytest.raises(DeviceError) as caught:
            session.run(repeat=10**7)
        assert "127.0.0.1" in str(caught.value) or "linear" in str(caught.value)
        timer.join()
    with (
        AndroidDevice(f"android:{phone.serial}", runner="builtin") as device,
        device.open(cases[0].artifact) as session,
    ):
        cases[0].check(session.run(cases[0].inputs), repeat=1)


def test_another_runner_of_the_same_size_is_not_kept(phone: Any, cases: list[Case]) -> None:
    """A run that was cut may have left one, of another release."""
    with connect(phone.serial) as transport:
        transport.push(bytes(len(runtime.runner("x86_64"))), f"{FOLDER}/programs/runner", 0o755)
    with (
        AndroidDevice(f"android:{phone.serial}", runner="builtin") as device,
        device.open(cases[0].artifact) as session,
    ):
        cases[0].check(session.run(cases[0].inputs), repeat=1)


def test_throttling_and_chargers_are_faults(phone: Any) -> None:
    with AndroidDevice(f"android:{phone.serial}", runner="builtin") as device:
        before = device.state()
        off = "x:\n  USB powered: false\n  level: 5\n  scale: 10\n"
        phone.dress(thermalservice="Thermal Status: 2\n", battery=off, deviceidle="false")
        after = device.state()
        assert device.faults(before, before) == []
        assert device.faults(before, after) == [
            "throttled by heat (moderate)",
            "it was plugged in or out",
            "its screen went on or off",
        ]


def test_a_phone_of_another_processor(phone: Any) -> None:
    phone.dress(getprop="[ro.product.cpu.abi]: [mips]\n[ro.product.model]: [Old]")
    with pytest.raises(DeviceError, match="no runner for mips"):
        AndroidDevice(f"android:{phone.serial}", runner="builtin")
    phone.dress(getprop="[ro.product.cpu.abi]: [arm64-v8a]\n[ro.product.model]: [Usual]")
    with AndroidDevice(f"android:{phone.serial}", runner="builtin") as device:
        assert device.info().versions == {}
        with pytest.raises(DeviceError, match=r"phones with aarch64 need libLiteRt\.so in .*assemble_runtime"):
            device.prepare()


def test_a_machine_that_is_no_phone(phone: Any) -> None:
    phone.program("getprop", "exit 1")
    phone.program("dumpsys", "printf '\\377\\376 nonsense'")
    with AndroidDevice(f"android:{phone.serial}", runner="builtin") as device:
        assert device.info().name
        assert "thermal_status" not in device.state()


def test_genuine_batteries(refdata: Any) -> None:
    folder = refdata / "android"
    aosp = parse_battery((folder / "dumpsys_battery_aosp_pixelc.txt").read_text())
    assert aosp == {"battery_percent": 19.0, "battery_c": 27.5, "battery_mv": 3764, "plugged": 1}
    samsung = parse_battery((folder / "dumpsys_battery_samsung_s24.txt").read_text())
    assert samsung == {"battery_percent": 75.0, "battery_c": 35.7, "battery_mv": 4156, "plugged": 1}


def test_a_frozen_battery() -> None:
    assert parse_battery("Current Battery Service state:\n  (UPDATES STOPPED -- use 'reset' to restart)\n")[
        "battery_frozen"
    ]


def test_nonsense_is_nothing() -> None:
    assert parse_battery("level: 200\nscale: 100\ntemperature: 99999\nvoltage: -1") == {}
    assert parse_thermal("Thermal Status: 12\nCurrent temperatures from HAL:\nTemperature{mValue=NaN, mType=0,") == {}
    assert parse_properties("[a]: [b]\n[c]: [\x1b[31m]\nno property\n[$(x)]: [y]") == {"a": "b"}


PIECES = st.sampled_from(
    [
        "Thermal Status: ", "Current temperatures from HAL:\n", "Temperature{mValue=", ", mType=", "level: ",
        "scale: ", "[a", "]: [", "9" * 30, "-", "\n",
    ]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=5)).map("".join))
def test_whatever_a_phone_says(said: str) -> None:
    """Numbers that a phone can have, or nothing."""
    state = parse_thermal(said) | parse_battery(said)
    assert all(isinstance(value, int | float) and abs(value) < 1e6 for value in state.values())
    assert all(text.isprintable() for text in parse_properties(said).values())
