from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from netdyno.base.errors import DeviceError, InputError
from netdyno.devices.nvidia import Gpu, Nvml
from netdyno.devices.nvidia.nvml import gpu_faults

pytestmark = pytest.mark.alone

Install = Callable[..., Nvml]


def test_no_driver(driver: Any) -> None:
    driver.remove()
    with pytest.raises(DeviceError, match="Driver Not Loaded"):
        Nvml()


def test_facts_and_state(nvml: Install, gpu_script: Callable[..., Any]) -> None:
    gpu = Gpu(nvml(gpu_script(processes=0)))
    assert gpu.name == "Stub GPU"
    assert gpu.facts() == {"gpu_memory_bytes": 1 << 30, "driver": "570.1", "cuda": "12.8"}
    state = gpu.state()
    assert state["power_limit_w"] == 400.0
    assert state["temperature_c"] == 50
    assert state["heat_ns"] == 12345
    assert gpu.uuid not in json.dumps([gpu.facts(), state])


@pytest.mark.parametrize(
    ("visible", "identifier", "expected"),
    [
        (None, "cuda", 0),
        (None, "cuda:2", 2),
        ("2,0", "cuda:0", 2),
        ("GPU-00000001", "cuda:0", 1),
        ("GPU-00000001-0000,GPU-00000000", "cuda:1", 0),
        ("0gpu", "cuda:0", 0),
        ("1,7,0", "cuda:0", 1),
    ],
)
def test_visible_gpus(
    visible: str | None,
    identifier: str,
    expected: int,
    nvml: Install,
    gpu_script: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert Gpu(nvml(*map(gpu_script, range(3))), identifier).uuid == f"GPU-{expected:08x}-0000"


@pytest.mark.parametrize(
    ("visible", "identifier"),
    [
        (None, "cuda:3"),
        ("", "cuda:0"),
        ("-1,0", "cuda:0"),
        ("1,7,0", "cuda:1"),
        ("0,0", "cuda:0"),
        ("9" * 5000, "cuda:0"),
        ("GPU-0000", "cuda:0"),
        ("GPU-00000001-0000,0", "cuda:1"),
    ],
)
def test_gpus_that_are_not_visible(
    visible: str | None,
    identifier: str,
    nvml: Install,
    gpu_script: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    library = nvml(*map(gpu_script, range(3)))
    with pytest.raises(DeviceError, match="GPUs are visible"):
        Gpu(library, identifier)


@pytest.mark.parametrize("identifier", ["cuda:", "cuda:x", "cuda:-1", "cuda:²", "gpu:0", "cuda:" + "9" * 5000])
def test_strange_identifiers(identifier: str, nvml: Install, gpu_script: Callable[..., Any]) -> None:
    library = nvml(gpu_script())
    if identifier == "cuda:":
        assert Gpu(library, identifier).id == "cuda:0"
        return
    with pytest.raises(InputError, match="no such device"):
        Gpu(library, identifier)


def test_slices_are_refused(nvml: Install, gpu_script: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    library = nvml(gpu_script(mig=1))
    with pytest.raises(InputError, match="nvidia-smi -mig 0"):
        Gpu(library)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-12345")
    with pytest.raises(InputError, match="MIG-12345"):
        Gpu(library)


def test_gpus_that_know_no_slices(nvml: Install, gpu_script: Callable[..., Any]) -> None:
    assert Gpu(nvml(gpu_script(mig=-1))).name


@pytest.mark.parametrize("field", [74, 75, 269, 270, 271])
def test_throttling_is_a_fault(field: int, nvml: Install, gpu_script: Callable[..., Any]) -> None:
    gpu = Gpu(nvml(gpu_script(throttle_field=field, throttle_at_s=time.monotonic() + 0.05)))
    before = gpu.state()
    assert gpu_faults(before, gpu.state()) == []
    time.sleep(0.1)
    assert len(gpu_faults(before, gpu.state())) == 1


def test_another_limit_is_a_fault(nvml: Install, gpu_script: Callable[..., Any], driver: Any) -> None:
    gpu = Gpu(nvml(gpu_script()))
    before = gpu.state()
    driver.install(gpu_script(limit_mw=300_000))
    assert gpu_faults(before, gpu.state()) == ["the power limit was changed"]


def test_what_is_not_told_twice_is_no_fault() -> None:
    assert gpu_faults({}, {"heat_ns": 1, "power_limit_w": 300.0}) == []


def test_names_that_are_no_text(nvml: Install, gpu_script: Callable[..., Any]) -> None:
    library = nvml(gpu_script(name=b"\xff\xfe"))
    with pytest.raises(DeviceError):
        _ = Gpu(library).name
    library = nvml(gpu_script(uuid=b"\xff\xfe"))
    with pytest.raises(DeviceError):
        Gpu(library)
