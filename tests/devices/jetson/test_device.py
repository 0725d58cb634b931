"""A Jetson whose files are a tree of our own, here and over ssh; its CPU's runtimes are real."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netdyno.base.errors import DeviceError, InputError, MeasurementInvalid
from netdyno.devices.device import Device, Settings
from netdyno.devices.jetson.device import JetsonDevice
from netdyno.devices.jetson.host import JetsonHost
from netdyno.devices.jetson.rails import MODEL
from netdyno.devices.meters import Trace
from netdyno.devices.ssh import SshDevice, ssh_device
from netdyno.devices.testing import Case, DeviceConformance
from netdyno.devices.tree import Snapshot

pytestmark = pytest.mark.alone

MONITOR = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
GPU = "/sys/class/devfreq/17000000.gpu"
ALERT = "/sys/class/thermal/cooling_device3"
FILES = {
    MODEL: "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit\0",
    "/etc/nv_tegra_release": "# R36 (release), REVISION: 4.4, GCID: 1, BOARD: generic, EABI: aarch64\n",
    "/var/lib/nvpmodel/status": "pmode:0002 fmode:fanNull\n",
    f"{GPU}/cur_freq": "624750000\n",
    f"{GPU}/min_freq": "306000000\n",
    f"{GPU}/max_freq": "624750000\n",
    f"{ALERT}/type": "gpu-throttle-alert\n",
    f"{ALERT}/cur_state": "0\n",
    "/sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "/sys/class/thermal/cooling_device0/cur_state": "3\n",
    "/sys/class/thermal/cooling_device1/type": "hot-surface-alert\n",
    "/sys/class/thermal/cooling_device1/cur_state": "1\n",
    "/sys/class/hwmon/hwmon4/oc1_event_cnt": "7\n",
    f"{MONITOR}/in1_label": "VDD_IN\n",
    f"{MONITOR}/in1_input": "5000\n",
    f"{MONITOR}/curr1_input": "1000\n",
}


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.lstrip("/")).write_text(text)


@pytest.fixture(scope="class")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("board")
    write(root, FILES)
    return root


@pytest.fixture(scope="class")
def device(board: Path) -> Iterator[JetsonDevice]:
    with JetsonDevice(root=board) as device:
        yield device


class TestJetsonConformance(DeviceConformance):
    """The shipped suite, on a board's tree."""


@pytest.mark.slow
class TestJetsonOverSshConformance(DeviceConformance):
    """The shipped suite, on a board's tree at the other end of a connection."""

    @pytest.fixture(scope="class")
    @classmethod
    def device(cls, ssh_server: Any, board: Path) -> Iterator[SshDevice]:
        ssh_server.configure_client(NETDYNO_ROOT=str(board))
        with ssh_device(ssh_server.address("jetson")) as device:
            yield device
        ssh_server.configure_client()


def test_what_a_board_tells() -> None:
    host = JetsonHost(Snapshot(FILES))
    assert host.name() == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit"
    assert host.facts()["l4t"] == "R36.4.4"
    expected = {
        "gpu_clock_mhz": 624, "clocks_locked": 0, "power_mode": 2, "throttle_alerts": 0, "overcurrent_events": 7
    }  # fmt: skip
    assert host.state() == expected


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        ("/var/lib/nvpmodel/status", "pmode:0000", "the power mode was changed"),
        (f"{GPU}/min_freq", "624750000", "jetson_clocks was switched"),
        (f"{ALERT}/cur_state", "1", "throttled by heat"),
        ("/sys/class/hwmon/hwmon4/oc1_event_cnt", "8", "throttled by too high a current"),
    ],
)
def test_what_spoils_a_round(path: str, text: str, fault: str) -> None:
    before, after = JetsonHost(Snapshot(FILES)).state(), JetsonHost(Snapshot(FILES | {path: text})).state()
    assert JetsonHost.faults(before, before) == []
    assert JetsonHost.faults(before, after) == [fault]


def test_a_board_of_nonsense() -> None:
    host = JetsonHost(Snapshot({path: "\xff nonsense ²" for path in FILES if "ina3221" not in path}))
    assert host.state()["overcurrent_events"] == 0
    assert "l4t" not in host.facts()


def test_no_jetson_here() -> None:
    with pytest.raises(DeviceError, match="no Jetson here"):
        JetsonDevice()
    with pytest.raises(InputError):
        JetsonDevice("jetson:1")


NONE = "this board's power monitors do not make up a total: there are none"


def test_a_board_without_monitors(tmp_path: Path) -> None:
    write(tmp_path, {MODEL: "NVIDIA Jetson Nano 2GB Developer Kit"})
    with JetsonDevice(root=tmp_path) as device:
        assert device.meters() == ()
        assert device.meter_problems()[0].startswith(f"{NONE}; and tegrastats tells none: ")


def mean_power_w(device: Device, board: Path, seconds: float) -> float:
    """What a trace makes of a board that draws 4 W and 8 W by turns, every 50 ms."""
    ended = threading.Event()

    def draw() -> None:
        current, part = board / f"{MONITOR[1:]}/curr1_input", board / "part"
        turn = time.monotonic()
        while not ended.is_set():
            for milliamperes in (800, 1600):
                part.write_text(str(milliamperes))
                part.replace(current)
                turn += 0.05
                time.sleep(max(turn - time.monotonic(), 0))

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        (meter,) = device.meters()
        assert meter.note == "sampled power of VDD_IN"
        with Trace(meter) as trace:
            time.sleep(meter.settle_s)
            began = time.monotonic()
            time.sleep(seconds)
            return trace.power_w(began, time.monotonic())
    finally:
        ended.set()
        thread.join()


def test_power_of_the_rails(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    with JetsonDevice(root=tmp_path) as device:
        assert mean_power_w(device, tmp_path, 3.0) == pytest.approx(6.0, rel=0.05)


@pytest.mark.slow
def test_power_of_the_rails_over_ssh(tmp_path: Path, ssh_server: Any) -> None:
    write(tmp_path, FILES)
    ssh_server.configure_client(NETDYNO_ROOT=str(tmp_path))
    try:
        with ssh_device(ssh_server.address("jetson")) as device:
            assert device.info().kind == "jetson"
            assert mean_power_w(device, tmp_path, 3.0) == pytest.approx(6.0, rel=0.05)
            (meter,) = device.meters()
            write(tmp_path, {f"{MONITOR}/curr1_input": "0"})
            time.sleep(0.2)
            with pytest.raises(MeasurementInvalid, match="no reading"):
                meter.read_mj()
            write(tmp_path, {f"{MONITOR}/curr1_input": "nonsense"})
            time.sleep(0.2)
            with pytest.raises(DeviceError, match="invalid literal"):
                meter.read_mj()
    finally:
        ssh_server.configure_client()


def test_another_machine_that_is_no_jetson(ssh_server: Any) -> None:
    with pytest.raises(DeviceError, match="no Jetson here"):
        ssh_device(ssh_server.address("jetson"))


def tegrastats(folder: Path, line: str) -> None:
    """A stand-in that prints a line as often as it is told, its power 4 W and 8 W by turns."""
    text = f"""import itertools, sys, time
began = time.monotonic()
for number in itertools.count():
    print({line!r}.format(4000 if number % 2 else 8000), flush=True)
    time.sleep(max(0, began + (number + 1) * int(sys.argv[2]) / 1e3 - time.monotonic()))
"""
    folder.mkdir(exist_ok=True)
    (folder / "stats.py").write_text(text)
    (folder / "tegrastats").write_text(f'#!/bin/sh\nexec {sys.executable} -S {folder}/stats.py "$@"\n')
    (folder / "python").write_text(f'#!/bin/sh\nPATH="{folder}:$PATH" exec {sys.executable} "$@"\n')
    for name in ("tegrastats", "python"):
        (folder / name).chmod(0o755)


LINE = "RAM 1903/3964MB (lfb 3x4MB) CPU [2%@102,off] CPU@30C POM_5V_IN {}/2000 POM_5V_GPU 0/0 POM_5V_CPU 200/200"


def mean_of_tegrastats_w(device: Device) -> float:
    (meter,) = device.meters()
    assert meter.name == "tegrastats"
    with Trace(meter) as trace:
        time.sleep(meter.settle_s)
        began = time.monotonic()
        time.sleep(3)
        return trace.power_w(began, time.monotonic())


def test_power_as_tegrastats_prints_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {MODEL: "NVIDIA Jetson Nano Developer Kit"})
    tegrastats(tmp_path / "bin", LINE)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with JetsonDevice(root=tmp_path) as device:
        assert mean_of_tegrastats_w(device) == pytest.approx(6.0, rel=0.05)
        assert list(device.meter_problems()) == []


def test_words_of_a_later_release_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, {MODEL: "NVIDIA Jetson Nano Developer Kit"})
    tegrastats(tmp_path / "bin", f"{LINE} NEW_2030 [1, 2]")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with JetsonDevice(root=tmp_path) as device, caplog.at_level("WARNING", "netdyno"):
        (meter,) = device.meters()
        time.sleep(0.2)
        assert meter.read_mj() > 0
        assert meter.note.endswith("not known here: NEW_2030 [1, 2]")
    assert sum("NEW_2030" in record.getMessage() for record in caplog.records) == 1


def test_a_rail_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {MODEL: "NVIDIA Jetson Nano Developer Kit"})
    tegrastats(tmp_path / "bin", LINE.replace("{}/2000", "{}uW"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with JetsonDevice(root=tmp_path) as device:
        assert "POM_5V_IN" in device.meter_problems()[0]


@pytest.mark.slow
def test_power_as_tegrastats_prints_it_over_ssh(tmp_path: Path, ssh_server: Any) -> None:
    write(tmp_path, {MODEL: "NVIDIA Jetson Nano Developer Kit"})
    tegrastats(tmp_path / "bin", LINE)
    ssh_server.configure_client(NETDYNO_ROOT=str(tmp_path))
    try:
        with ssh_device(ssh_server.address("jetson", python=f"{tmp_path}/bin/python")) as device:
            assert mean_of_tegrastats_w(device) == pytest.approx(6.0, rel=0.05)
    finally:
        ssh_server.configure_client()


@pytest.mark.parametrize("line", ["nonsense", "RAM 1/2MB (lfb 1x4MB) VDD_NEW {}/1", "RAM 1/2MB (lfb 1x4MB)"])
def test_lines_without_a_total_are_no_meter(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {MODEL: "NVIDIA Jetson Nano Developer Kit"})
    tegrastats(tmp_path / "bin", line)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with JetsonDevice(root=tmp_path) as device:
        assert device.meters() == ()


def test_trtexec_is_a_runtime_of_a_jetson(
    tmp_path: Path, trtexec: Path, monkeypatch: pytest.MonkeyPatch, cases: list[Case]
) -> None:
    write(tmp_path, FILES)
    monkeypatch.setenv("PATH", f"{trtexec}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with JetsonDevice(root=tmp_path) as device:
        assert list(device.formats) == ["tensorrt", "onnxruntime", "litert"]
        assert device.info().versions["tensorrt"] == "8.5.2"
        case = next(case for case in cases if case.artifact.format == "onnx")
        with device.open(case.artifact) as session:
            case.check(session.run(case.inputs, repeat=3), repeat=3)
        with device.open(case.artifact, Settings("onnxruntime")) as session:
            case.check(session.run(case.inputs), repeat=1)
