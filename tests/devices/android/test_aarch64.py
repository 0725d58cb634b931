"""The runner for the processor that phones have, in an emulator: what it computes, not how fast."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError
from netdyno.devices.android import runtime
from netdyno.devices.android.device import AndroidDevice
from netdyno.devices.android.process import joined, parted, tensors
from netdyno.devices.cpu import CpuDevice
from netdyno.devices.inputs import values_of
from netdyno.devices.testing import Case, DeviceConformance
from netdyno.exporters import largest_difference, write
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3

pytestmark = pytest.mark.alone

QEMU = Path(os.environ.get("NETDYNO_QEMU", ".qemu")) / "root/usr/bin/qemu-aarch64"
FOLDER = Path(os.environ.get("NETDYNO_AARCH64", ".aarch64"))
PROCESSORS = ("cortex-a53", "cortex-a710", "max")
"""XNNPACK takes other kernels for each: a network's outputs differ in their last bits from one to the next."""


@pytest.fixture(scope="module")
def phone_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a phone of this processor gets it."""
    if not QEMU.exists():
        pytest.skip("no qemu here: bash .ci/qemu .qemu")
    if not FOLDER.is_dir():
        pytest.skip("no runtime here: python -m netdyno.devices.android.assemble_runtime aarch64 .aarch64")
    folder = tmp_path_factory.mktemp("aarch64")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(runtime.FOLDER, str(FOLDER.resolve()))
        for name, data in runtime.runtime_files("aarch64").items():
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o755)
    return folder


class Emulated:
    """The runner in a process of the emulator, asked a line at a time."""

    def __init__(self, files: Path, processor: str, library: str = runtime.LIBRARY) -> None:
        loader = [files / runtime.loader("aarch64"), "--library-path", files]
        command = [QEMU.resolve(), "-cpu", processor, *loader, files / "runner", files / library]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def send(self, request: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{request}\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        while (line := self.line()) == "\n":  # it lives
            pass
        said = json.loads(line)
        assert isinstance(said, dict)
        return said

    def ask(self, request: str) -> dict[str, Any]:
        self.send(request)
        return self.answer()

    def close(self) -> int:
        """End its input; returns its exit code."""
        self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture
def start(phone_files: Path) -> Iterator[Callable[..., Emulated]]:
    """Starts runners, which are gone after the test."""
    started: list[Emulated] = []

    def make(processor: str = "max", **words: str) -> Emulated:
        started.append(Emulated(phone_files, processor, **words))
        return started[-1]

    yield make
    for runner in started:
        runner.process.kill()
        runner.process.communicate()


@pytest.fixture(scope="module")
def cases(cases: list[Case]) -> list[Case]:
    """Those of the one format that phones run."""
    return [case for case in cases if case.artifact.format == "tflite"]


@pytest.fixture(scope="module")
def network(narrow: OfaMobileNetV3) -> Artifact:
    """Convolutions of all kernel sizes, squeezing and exciting, a classifier."""
    return write(narrow.graph(narrow.largest()), "tflite")


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_network_computes_what_it_computes_here(
    processor: str, threads: int, start: Any, network: Artifact, tmp_path: Path
) -> None:
    with CpuDevice() as here, here.open(network) as session:
        inputs = values_of(session.inputs, {}, {})[0]
        expected = session.run(inputs).outputs
    (tmp_path / "model").write_bytes(network.data)
    (tmp_path / "inputs").write_bytes(joined(inputs, list(inputs)))
    runner = start(processor)
    assert runner.answer() == {"ready": True}
    said = runner.ask(f"load 0 {threads} {tmp_path}/model")
    assert said["load_ns"] > 0
    assert [name for name, _, _ in tensors(said["inputs"])] == list(inputs)
    assert runner.ask(f"feed 0 {tmp_path}/inputs") == {}
    assert len(runner.ask("run 0 2")["ns"]) == 2
    assert runner.ask(f"read 0 {tmp_path}/outputs") == {}
    outputs = parted((tmp_path / "outputs").read_bytes(), tensors(said["outputs"]))
    assert largest_difference(outputs, expected) <= 1e-5
    assert runner.ask("memory")["bytes"] > len(network)
    assert runner.ask("close 0") == {}
    assert runner.close() == 0


def test_models_are_kept_apart(start: Any, cases: list[Case], network: Artifact, tmp_path: Path) -> None:
    case = cases[0]
    (tmp_path / "linear").write_bytes(case.artifact.data)
    (tmp_path / "network").write_bytes(network.data)
    runner = start()
    runner.answer()
    said = [runner.ask(f"load {number} 1 {tmp_path}/linear") for number in (0, 4095)]
    runner.ask(f"load 7 1 {tmp_path}/network")
    for number, factor in ((0, 1), (4095, 2)):
        (tmp_path / "inputs").write_bytes(joined(case.inputs, ["x"]) if factor == 1 else bytes(12))
        assert runner.ask(f"feed {number} {tmp_path}/inputs") == {}
    for number in (4095, 7, 0):
        runner.ask(f"run {number} 1")
    assert runner.ask("close 7") == {}
    for number, expected in ((0, case.outputs["y"]), (4095, np.ones((1, 2)))):
        runner.ask(f"read {number} {tmp_path}/outputs")
        outputs = parted((tmp_path / "outputs").read_bytes(), tensors(said[0]["outputs"]))
        np.testing.assert_allclose(outputs["y"], expected, rtol=1e-6)


def test_what_it_refuses(start: Any, model: Any, cases: list[Case], tmp_path: Path) -> None:
    data = cases[0].artifact.data
    files = {
        "linear": data,
        "nothing": b"",
        "text": b"no model at all",
        "mangled": data[:8] + b"\xff" * (len(data) - 8),
        "open": model("dynamic-tflite").data,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    runner = start()
    runner.answer()
    for request, why in (
        ("fly", "not a request"),
        ("", "not a request"),
        ("run 0 1", "not a request"),
        (f"load 4096 1 {tmp_path}/linear", "not a request"),
        (f"load 0 1 {tmp_path}/absent", "cannot be read"),
        (f"load 0 1 {tmp_path}/nothing", "not a TFLite model"),
        (f"load 0 1 {tmp_path}/text", "not a TFLite model"),
        (f"load 0 1 {tmp_path}/mangled", "LiteRtCreateModelFromBuffer"),
        (f"load 0 1 {tmp_path}/open", "are its shapes open"),
    ):
        assert why in runner.ask(request)["refused"], request
        runner.ask("close 0")
    assert "refused" not in runner.ask(f"load 0 1 {tmp_path}/linear")
    assert "too short" in runner.ask(f"feed 0 {tmp_path}/nothing")["refused"]
    assert "cannot be opened" in runner.ask(f"feed 0 {tmp_path}/absent")["refused"]
    assert "not a request" in runner.ask("run 0 0")["refused"]
    assert len(runner.ask("run 0 3")["ns"]) == 3


def test_no_library(start: Any) -> None:
    runner = start(library="libNone.so")
    assert "libNone.so" in runner.answer()["refused"]
    assert runner.close() == 1


@pytest.mark.slow
def test_it_says_that_it_lives(start: Any, network: Artifact, tmp_path: Path) -> None:
    """And ends with who has asked."""
    (tmp_path / "model").write_bytes(network.data)
    runner = start()
    runner.answer()
    runner.ask(f"load 0 1 {tmp_path}/model")
    runner.send("run 0 10000000")
    assert runner.line() == "\n"
    runner.process.stdout.close()
    assert runner.process.wait(timeout=30) in (0, -signal.SIGPIPE)


@pytest.fixture(scope="class")
def device(
    phone_of_class: Any, phone_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AndroidDevice]:
    """Android's daemon, which starts the emulator where a phone's kernel would start the loader."""
    pytest.importorskip("adb_shell", reason="adb-shell is not installed: pip install 'netdyno[android]'")
    loader = runtime.loader("aarch64")
    folder = tmp_path_factory.mktemp("runtime")
    for name in runtime.borrowed("aarch64"):
        (folder / name).symlink_to(phone_files / name)
    (folder / loader).unlink()
    # It stands in for the processor: who starts the loader starts the emulator with the true one.
    (folder / loader).write_text(f'#!/bin/sh\nexec {QEMU.resolve()} {phone_files / loader} "$@"\n')
    phone_of_class.dress(getprop="[ro.product.cpu.abi]: [arm64-v8a]\n[ro.product.model]: [Usual]")
    phone_of_class.program("uname", 'case "$1" in -m) echo aarch64;; *) echo 5.10.0;; esac')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(runtime.FOLDER, str(folder))
        with AndroidDevice(f"android:{phone_of_class.serial}", runner="builtin") as device:
            yield device
    (phone_of_class.programs / "uname").unlink()


class TestAarch64Conformance(DeviceConformance):
    """The shipped suite, and a network."""

    def test_the_same_outputs_as_here(self, device: AndroidDevice, network: Artifact) -> None:
        assert (device.info().name, device.info().facts["architecture"]) == ("Usual", "aarch64")
        with CpuDevice() as here, here.open(network) as ours, device.open(network) as theirs:
            inputs = values_of(ours.inputs, {}, {})[0]
            assert largest_difference(theirs.run(inputs).outputs, ours.run(inputs).outputs) <= 1e-5

    def test_open_shapes_are_refused(self, device: AndroidDevice, model: Any) -> None:
        with pytest.raises(ModelError, match="open"):
            device.open(model("dynamic-tflite", x=(2, 3)))
