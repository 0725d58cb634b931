"""Google's ``benchmark_model`` on a phone: a stand-in prints what netdyno's runner really measures."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ai_edge_litert
import pytest

from netdyno.base.errors import DeviceError, InputError, ModelError, WorkerLost
from netdyno.devices.android import runtime
from netdyno.devices.android.benchmark_log import Summary
from netdyno.devices.android.device import AndroidDevice
from netdyno.devices.android.google import typical_us
from netdyno.devices.android.tool import BenchmarkTool, Call
from netdyno.devices.device import Settings, open_device
from netdyno.devices.testing import Case, DeviceConformance

pytestmark = pytest.mark.alone

pytest.importorskip("adb_shell", reason="adb-shell is not installed: pip install 'netdyno[android]'")
LIBRARY = Path(ai_edge_litert.__path__[0]) / runtime.LIBRARY
RUNNER = Path(runtime.__file__).parent / "runner/runner-x86_64"

MakeTool = Callable[[str], Path]


def write_tool(form: str, folder: Path) -> Path:
    """The stand-in as one file, as Google's is."""
    runner = folder / "runner"
    runner.write_bytes(RUNNER.read_bytes())
    runner.chmod(0o755)
    command = [sys.executable, "-P", str(Path(__file__).with_name("stand_in.py")), form, str(runner), str(LIBRARY)]
    path = folder / f"benchmark_model-{form}"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    return path


@pytest.fixture(scope="module")
def cases(cases: list[Case]) -> list[Case]:
    return [case for case in cases if case.artifact.format == "tflite"]


@pytest.fixture(scope="class")
def device(phone_of_class: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AndroidDevice]:
    tool = write_tool("proto", tmp_path_factory.mktemp("tool"))
    with AndroidDevice(f"android:{phone_of_class.serial}", runner=str(tool)) as device:
        yield device


@pytest.mark.slow
class TestGoogleConformance(DeviceConformance):
    """The shipped suite."""


class TestGoogle:
    def test_its_times_are_averages(self, device: AndroidDevice, cases: list[Case]) -> None:
        with device.open(cases[0].artifact) as session:
            assert session.averaged
            assert len(set(session.time(5).tolist())) == 1
        assert device.info().versions["runner"].startswith("benchmark_model ")

    def test_no_energy(self, device: AndroidDevice) -> None:
        assert "--runner builtin" in device.unmetered(Settings())

    def test_open_shapes_that_are_given(self, device: AndroidDevice, model: Any) -> None:
        with pytest.raises(ModelError, match="open"):
            device.open(model("dynamic-tflite"))


@pytest.mark.parametrize(
    ("summary", "us"),
    [
        (Summary(50, 3.4, 0.5, 3.0), 3.4),
        (Summary(50, 0.42, 0.1, 0.0), 0.42),
        (Summary(50, 2942.0, 50.0, 2781.0), 2781.0),
        (Summary(50, 2942.0, 50.0), 2942.0),
        (Summary(50, 3.4, 0.5, 3.25), 3.25),
    ],
)
def test_a_median_of_whole_us_is_too_coarse_for_what_is_fast(summary: Summary, us: float) -> None:
    assert typical_us(summary) == us


def test_one_that_the_system_ended(phone: Any, tmp_path: Path) -> None:
    """It need not be the model's fault."""
    path = tmp_path / "tool"
    path.write_text('#!/bin/sh\n[ "$1" = --help ] && echo "--graph --num_runs" && exit 1\nkill -KILL $$\n')
    path.chmod(0o755)
    with AndroidDevice(f"android:{phone.serial}", runner="builtin") as device:
        tool = BenchmarkTool(device._transport, str(path))
        with pytest.raises(WorkerLost, match="was killed"):
            tool.run(4, Call([]))


@pytest.mark.parametrize("form", ["proto", "csv", "text"])
def test_operators_of_every_build(form: str, phone: Any, tmp_path: Path, cases: list[Case]) -> None:
    """Inside of the delegate where it tells that, each operator once; and in how many parts it has the model."""
    with AndroidDevice(f"android:{phone.serial}", runner=str(write_tool(form, tmp_path))) as device:
        profile = device.profile_operators(cases[0].artifact, Settings(), 20)
    assert profile.partitions == 1
    assert {operator.provider for operator in profile.operators} == {"XNNPACK"}
    assert all("Delegate" not in operator.type for operator in profile.operators)
    assert all(len(operator.latency_us) == 1 for operator in profile.operators)
    assert profile.whole_us[0] > 0


def test_a_delegate_that_tells_nothing_of_itself(phone: Any, tmp_path: Path, cases: list[Case]) -> None:
    with AndroidDevice(f"android:{phone.serial}", runner=str(write_tool("proto", tmp_path))) as device:
        profile = device.profile_operators(cases[0].artifact, Settings("litert-nnapi"), 20)
    assert [(own.type, own.provider) for own in profile.operators] == [("TfLiteNnapiDelegate", "NNAPI")]


def test_the_other_tool_of_that_name(phone: Any, tmp_path: Path, cases: list[Case]) -> None:
    """It takes no inputs and gives no outputs, but it times."""
    with AndroidDevice(f"android:{phone.serial}", runner=str(write_tool("compiled", tmp_path))) as device:
        with device.open(cases[0].artifact) as session:
            assert session.time(3)[0] > 0
            with pytest.raises(ModelError, match="gives no outputs"):
                session.run()
        with pytest.raises(ModelError, match="no profiler of operators"):
            device.profile_operators(cases[0].artifact, Settings(), 20)
        with pytest.raises(DeviceError, match="no --use_nnapi"):
            device.open(cases[0].artifact, Settings("litert-nnapi"))


def test_cores(phone: Any, tmp_path: Path, cases: list[Case]) -> None:
    phone.program("taskset", f'echo "$1" >{shlex.quote(str(tmp_path / "mask"))}; shift; exec "$@"')
    with AndroidDevice(f"android:{phone.serial}", runner=str(write_tool("proto", tmp_path))) as device:
        with device.open(cases[0].artifact, Settings(cores="0-1")) as session:
            session.time(3)
        with pytest.raises(InputError, match="neither fastest"):
            device.open(cases[0].artifact, Settings(cores="big"))
    assert (tmp_path / "mask").read_text() == "3\n"
    with (
        AndroidDevice(f"android:{phone.serial}", runner="builtin") as device,
        device.open(cases[0].artifact, Settings(cores="1")) as session,
    ):
        session.time(3)
    assert (tmp_path / "mask").read_text() == "2\n"


def test_programs_that_are_none(phone: Any, tmp_path: Path, cases: list[Case]) -> None:
    def refused(content: bytes) -> str:
        (tmp_path / "tool").write_bytes(content)
        with (
            AndroidDevice(f"android:{phone.serial}", runner=str(tmp_path / "tool")) as device,
            pytest.raises((DeviceError, InputError)) as caught,
        ):
            device.open(cases[0].artifact)
        return str(caught.value)

    assert "not a program for x86_64" in refused(b"no program")
    assert "not a program for x86_64" in refused(b"\x7fELF" + bytes(14) + (183).to_bytes(2, "little"))
    assert "is no benchmark_model" in refused(b"#!/bin/sh\necho hello")
    with AndroidDevice(f"android:{phone.serial}", runner=str(tmp_path / "none")) as device:
        assert device.info().versions == {}
        with pytest.raises(InputError, match="cannot be read"):
            device.open(cases[0].artifact)


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("echo 'ERROR: Failed to load model'; exit 1", "Failed to load model"),
        ("kill -SEGV $$", "crashed"),
        ("echo nothing", "tells of no inference"),
        ("echo 'count=1 avg=5 std=0'; echo 'Inference (avg): 5'", "ran 1 times, not 4"),
        ("echo 'Inference (avg): 5e99'", "no such number"),
        ("echo 'Inference (avg): nan'", "tells of no inference"),
        ("echo 'Inference (avg): -e'", "could not convert"),
    ],
)
def test_what_it_answers(program: str, error: str, phone: Any, tmp_path: Path) -> None:
    """In its own words, in one line."""
    path = tmp_path / "tool"
    path.write_text(f'#!/bin/sh\n[ "$1" = --help ] && echo "--graph --num_runs" && exit 1\n{program}\n')
    path.chmod(0o755)
    with AndroidDevice(f"android:{phone.serial}", runner="builtin") as device:
        tool = BenchmarkTool(device._transport, str(path))
        with pytest.raises((DeviceError, ModelError), match=error) as caught:
            tool.run(4, Call([]))
    assert "\n" not in str(caught.value)


def test_options_are_phones_alone() -> None:
    with pytest.raises(InputError, match="no choice of runner"):
        open_device("cpu", runner="builtin")
