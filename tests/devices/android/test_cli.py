"""The command line on a phone: a table of a small space, and what goes wrong on the way to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdyno.devices.android.find import connect
from netdyno.devices.android.transport import FOLDER
from netdyno.devices.cpu import CpuDevice
from netdyno.exporters.bundle import write_bundle
from netdyno.exporters.graph import Graph
from netdyno.exporters.writers import write
from netdyno.nas.space import parse_space

from .test_google import write_tool

pytestmark = pytest.mark.alone

pytest.importorskip("adb_shell", reason="adb-shell is not installed: pip install 'netdyno[android]'")

NETDYNO = [str(Path(sys.executable).with_name("netdyno"))]
SPACE = "ofa-mobilenetv3:width=0.25,resolutions=48,classes=10"


def profile(device: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*NETDYNO, "profile", SPACE, "--device", device, "--metrics", "latency", "--out", "t", *words]
    command += ["--runner", "builtin"]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, timeout=300)


@pytest.mark.slow
def test_a_table(phone: Any, tmp_path: Path) -> None:
    done = profile(f"android:{phone.serial}", tmp_path, "--budget", "25s", "--json")
    assert done.returncode in (0, 4), done.stderr
    told = json.loads(done.stdout)
    assert told["device"]["name"] == "Example Phone 1"
    assert told["runtime"] == "litert"
    assert "experimental" in done.stderr
    assert told["invalid"] < told["layers"]
    assert phone.serial not in (tmp_path / "t/datapackage.json").read_text()
    with connect(phone.serial) as transport:
        assert transport.script(f"ls {FOLDER}").code != 0, "what was brought there is gone"


@pytest.mark.slow
def test_a_phone_that_is_switched_off_amid(phone: Any, tmp_path: Path) -> None:
    """One line, exit code 3, and the same command goes on."""
    words = ["--device", f"android:{phone.serial}", "--metrics", "latency", "--out", "t", "--budget", "60s"]
    words += ["--runner", "builtin"]
    process = subprocess.Popen([*NETDYNO, "profile", SPACE, *words], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    while process.poll() is None and not (tmp_path / "t/journal.sqlite").exists():
        time.sleep(0.2)
    time.sleep(3)
    phone.stop()
    _, errors = process.communicate(timeout=120)
    phone.start()
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    assert "the same command goes on" in errors
    done = profile(f"android:{phone.serial}", tmp_path, "--budget", "15s")
    assert done.returncode in (0, 4), done.stderr


@pytest.mark.parametrize("device", ["android:127.0.0.1:1", "android:$(touch pwned)", "android"])
def test_phones_that_are_not_there(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    done = profile(device, tmp_path)
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def network() -> Graph:
    """A whole small network."""
    space = parse_space(SPACE)
    return space.graph(space.smallest())


@pytest.fixture(params=["builtin", pytest.param("proto", marks=pytest.mark.slow)])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Our own, and a stand-in for Google's."""
    return "builtin" if request.param == "builtin" else str(write_tool(request.param, tmp_path))


def netdyno(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NETDYNO, *words], check=False, capture_output=True, text=True, cwd=folder, timeout=300)


def test_a_bundle_is_verified(phone: Any, runner: str, network: Graph, tmp_path: Path) -> None:
    """Against its golden output, which was computed elsewhere."""
    x = np.random.default_rng(0).random(network.shapes["input"], np.float32)
    with CpuDevice() as cpu, cpu.open(write(network, "onnx")) as session:
        (y,) = session.run({"input": x}).outputs.values()
    bundle = write_bundle(network, tmp_path / "b", ["onnx", "tflite"], x, y, {})
    words = ["verify", str(bundle.path), "--device", f"android:{phone.serial}", "--runner", runner, "--json"]
    done = netdyno(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] and [each["format"] for each in told["results"]] == ["tflite"]
    write_bundle(network, tmp_path / "b", ["tflite"], x, y + 0.1, {})
    wrong = netdyno(tmp_path, *words)
    assert wrong.returncode == 1
    assert not json.loads(wrong.stdout)["ok"]


def test_a_model_operator_by_operator(phone: Any, runner: str, network: Graph, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(write(network, "tflite").data)
    words = ["profile", "m.tflite", "--device", f"android:{phone.serial}", "--runner", runner]
    done = netdyno(tmp_path, *words, "--budget", "4s", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert sum("Convolution" in own["type"] for own in told["operators"]) > 10
    assert all(own["provider"] == "XNNPACK" for own in told["operators"])
    assert 0.1 < told["covered"] < 10, "a share of the whole, however busy this machine is"
    assert told["memory_bytes"] >= (tmp_path / "m.tflite").stat().st_size / 2
    assert (told["latency_ms_p90"] is None) == (runner != "builtin"), "averages tell no percentile"
    curve = netdyno(tmp_path, *words, "--sustained", "2s", "--json")
    assert curve.returncode == 0, curve.stderr
    assert json.loads(curve.stdout)["points"][0]["state"]["cpu_c"] == 43.25


@pytest.mark.slow
def test_a_table_by_the_tool_that_everybody_knows(phone: Any, tmp_path: Path) -> None:
    tool = write_tool("proto", tmp_path)
    device = ["--device", f"android:{phone.serial}", "--runner", str(tool)]
    words = ["profile", SPACE, *device, "--no-networks", "--metrics", "latency", "--out", "t"]
    done = netdyno(tmp_path, *words, "--budget", "40s", "--json")
    assert done.returncode in (0, 4), done.stderr
    told = json.loads(done.stdout)
    assert told["versions"]["runner"].startswith("benchmark_model ")
    assert told["invalid"] < told["layers"]
    (tmp_path / "other").mkdir()
    other = write_tool("csv", tmp_path / "other")
    words[words.index(str(tool))] = str(other)
    refused = netdyno(tmp_path, *words)
    assert refused.returncode == 2, "another build is another condition"
    assert "--fresh" in refused.stderr
