"""The GPU as a device: its driver is scripted, its runtimes are PyTorch on the CPU, and a stand-in for trtexec."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdyno.base.errors import DeviceError, InputError, ModelError, WorkerLost
from netdyno.devices import Settings
from netdyno.devices.agent.main import trouble
from netdyno.devices.nvidia.device import CudaDevice
from netdyno.devices.ssh import SshDevice, ssh_device
from netdyno.devices.ssh.address import Address
from netdyno.devices.ssh.connection import agent_text
from netdyno.devices.testing import Case, DeviceConformance
from netdyno.devices.wire import Frame
from netdyno.devices.worker import Worker

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("torch")]


class OnCpu(CudaDevice):
    """A GPU whose models run on the CPU, by the same code but for the CUDA calls."""

    place = "cpu"

    def find_runtimes(self) -> Mapping[str, str]:
        return {"torch": "on the CPU", "onnxruntime": "on the CPU"}


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'netdyno[train]'")


@pytest.fixture(scope="module")
def cases(cases: list[Case]) -> list[Case]:
    """Those of the one format that GPUs run."""
    return [case for case in cases if case.artifact.format == "onnx"]


class TestConformance(DeviceConformance):
    """PyTorch and ONNX Runtime, in place of a GPU on the CPU."""

    @pytest.fixture(scope="class")
    @classmethod
    def device(cls, driver_of_class: Any, script_of_class: Any) -> Iterator[CudaDevice]:
        driver_of_class.install(script_of_class())
        with OnCpu("cuda:0") as device:
            yield device


@pytest.mark.slow
class TestTensorRtConformance(DeviceConformance):
    """``trtexec`` as found on the PATH, nothing else changed."""

    @pytest.fixture(scope="class")
    @classmethod
    def device(
        cls, driver_of_class: Any, script_of_class: Any, trtexec: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[CudaDevice]:
        driver_of_class.install(script_of_class())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", f"{trtexec}:{os.environ['PATH']}")
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
            with CudaDevice("cuda:0") as device:
                yield device

    def test_its_layers(self, device: CudaDevice, cases: list[Case]) -> None:
        profile = device.profile_operators(cases[0].artifact, Settings(), 20)
        assert [(own.name, own.provider) for own in profile.operators] == [("all of it", "TensorRT")]
        assert profile.operators[0].latency_us[0] > 0
        assert len(profile.whole_us) == 20


@pytest.mark.slow
class TestOverSshConformance(DeviceConformance):
    """The same at the other end of a connection, where the driver's package is sent with the agent."""

    @pytest.fixture(scope="class")
    @classmethod
    def device(cls, ssh_server: Any, stub_folder: Path, trtexec: Path) -> Iterator[SshDevice]:
        ssh_server.configure_client(LD_LIBRARY_PATH=str(stub_folder), STUB_GPUS="2")
        with ssh_device(ssh_server.address("cuda:1", python=f"{trtexec}/python")) as device:
            yield device
        ssh_server.configure_client()

    def test_its_layers(self, device: SshDevice, cases: list[Case]) -> None:
        assert len(device.profile_operators(cases[0].artifact, Settings(), 5).operators) == 1

    def test_its_driver_is_asked_there(self, device: SshDevice) -> None:
        info = device.info()
        assert info.name == "Stub GPU"
        assert info.facts["driver"] == "570.1"
        assert info.versions == {"tensorrt": "8.5.2"}
        assert device.state()["power_limit_w"] == 400.0
        (meter,) = device.meters()
        assert meter.name == "nvml-energy"
        assert device.gpu == "GPU-00000001-0000"


def test_what_it_says_of_itself(driver: Any, gpu_script: Callable[..., Any]) -> None:
    driver.install(gpu_script(), gpu_script(1, name=b"Other GPU", processes=3))
    with OnCpu("cuda:1") as device:
        info = device.info()
        assert (info.id, info.kind, info.name) == ("cuda:1", "cuda", "Other GPU")
        assert info.facts["gpu_memory_bytes"] == 1 << 30
        assert "GPU-" not in repr(info.facts), "a unit is nobody's business"
        state = device.state()
        assert state["other_processes"] == 3
        assert any(name.startswith("host_") for name in state)
        assert device.faults(state, state) == ["other programs compute on this GPU"]
        assert [meter.name for meter in device.meters()] == ["nvml-energy"]
        assert list(device.meter_problems()) == []


def test_our_own_workers_are_no_other_programs(driver: Any, gpu_script: Callable[..., Any], cases: Any) -> None:
    driver.install(gpu_script(processes=1))
    with OnCpu("cuda") as device:
        assert device.state()["other_processes"] == 1
        with device.open(cases[0].artifact):
            assert device.state()["other_processes"] == 0


def test_throttling_is_a_fault(driver: Any, gpu_script: Callable[..., Any]) -> None:
    driver.install(gpu_script())
    with OnCpu("cuda") as device:
        before = device.state()
        driver.install(gpu_script(throttle_at_s=1e-9, throttle_field=75))
        assert device.faults(before, device.state()) == ["throttled by heat"]


def test_a_gpu_without_runtimes(
    driver: Any, gpu_script: Callable[..., Any], monkeypatch: Any, tmp_path: Path
) -> None:
    driver.install(gpu_script())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"Stub GPU has no runtime for it: install PyTorch"):
        CudaDevice("cuda:0")


def test_no_driver() -> None:
    with pytest.raises(DeviceError, match="NVML"):
        CudaDevice("cuda:0")


def test_a_cold_cache_is_the_gpus(driver: Any, gpu_script: Callable[..., Any], cases: Any) -> None:
    driver.install(gpu_script())
    with OnCpu("cuda") as device, pytest.raises(InputError, match="caches of a CPU"):
        device.open(cases[0].artifact, Settings(cold_cache=True))


def test_energy_that_cannot_be_told(driver: Any, gpu_script: Callable[..., Any]) -> None:
    driver.install(gpu_script())
    with OnCpu("cuda") as device:
        assert "start" in device.unmetered(Settings("tensorrt"))
        assert "cold-cache" in device.unmetered(Settings("torch", cold_cache=True))
        assert device.unmetered(Settings("torch")) == ""


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("CUDA error: an illegal memory access was encountered", DeviceError),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", WorkerLost),
        ("CUDA failure 700: an illegal memory access", DeviceError),
        ("its operator Sin is unknown", ModelError),
    ],
)
def test_what_an_error_of_a_runtime_comes_to(said: str, kind: type[Exception]) -> None:
    """A lost GPU and a full one are not the model's fault."""
    answer = trouble(RuntimeError(said))
    program = f"import json,os,sys; sys.path[:0]=[]; exec({READ_AND_ANSWER!r}.format({json.dumps(answer)!r}))"
    worker = Worker([sys.executable, "-P", "-c", program], on_stdout=True)
    with pytest.raises(kind) as caught:
        worker.ask(Frame({"do": "run"}), timeout_s=20)
    worker.end()
    assert type(caught.value) is kind


READ_AND_ANSWER = """
from netdyno.devices.agent.frames import read_frame, write_frame
read_frame(0)
write_frame(1, json.loads({!r}))
"""


def test_operators_that_pytorch_is_not_told(driver: Any, gpu_script: Callable[..., Any], model: Any) -> None:
    driver.install(gpu_script())
    with OnCpu("cuda") as device:
        with pytest.raises(ModelError, match=r"operator Gather is not .*another runtime"):
            device.open(model("embedding"))
        with device.open(model("embedding"), Settings("onnxruntime")) as session:
            assert session.run({"tokens": np.zeros(5, np.int64)}).outputs["y"].shape == (5, 3)


def _oldest_pythons() -> dict[str, str]:
    paths = [Path(path) for minor in (6, 7, 8, 9) if (path := shutil.which(f"python3.{minor}"))]
    return {
        path.name: str(path) for path in [*paths, *Path.home().glob(".pyenv/versions/3.[6-9].*/bin/python3.[6-9]")]
    }


def test_the_oldest_pythons_there(stub_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is asked by 3.8 and newer; older ones say so."""
    pythons = _oldest_pythons() or {f"python3.{sys.version_info.minor}": sys.executable}
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stub_folder))
    monkeypatch.setenv("STUB_GPUS", "1")
    for name, path in pythons.items():
        text = agent_text(gpu=True)
        shell = Address("", "", "cuda:0", path).command(len(text), "control")[-1]
        worker = Worker(["sh", "-c", shell], on_stdout=True, preface=text)
        said = worker.ask(Frame({"do": "gpu", "identifier": "cuda:0"}), timeout_s=60).message
        worker.end()
        if int(name.partition(".")[2]) < 8:
            assert "GPUs need Python 3.8 or newer" in said["failed"]
        else:
            assert said["name"] == "Stub GPU"
            assert said["meter"]["name"] == "nvml-energy"
