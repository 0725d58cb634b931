"""A real GPU, where there is one: what no scripted driver can tell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from netdyno.base.errors import DeviceError, MissingExtra
from netdyno.devices import Settings
from netdyno.devices.meters import Trace
from netdyno.devices.nvidia.device import CudaDevice
from netdyno.devices.testing import Case, DeviceConformance
from netdyno.exporters import write
from netdyno.profiler.layers import PreConv
from netdyno.profiler.lower import lower

pytestmark = pytest.mark.alone

SIDE, CHANNELS, BATCH = 32, 16, 64
WEIGHTS = CHANNELS * CHANNELS * 9 * 4
ACTIVATION = BATCH * CHANNELS * SIDE * SIDE * 4


@pytest.fixture(scope="module")
def gpu() -> Iterator[CudaDevice]:
    try:
        device = CudaDevice("cuda:0")
    except (DeviceError, MissingExtra) as error:
        pytest.skip(f"no NVIDIA GPU here, or a scripted driver in its place; alone this file would tell: {error}")
    with device:
        yield device


@pytest.fixture(scope="module")
def cases(cases: list[Case]) -> list[Case]:
    """Those of the one format that GPUs run."""
    return [case for case in cases if case.artifact.format == "onnx"]


@pytest.fixture
def artifact() -> Any:
    return write(lower(PreConv(SIDE, SIDE, CHANNELS, CHANNELS, 3, 1)).batched(BATCH), "onnx")


class TestConformance(DeviceConformance):
    """As every device."""

    @pytest.fixture(scope="class")
    @classmethod
    def device(cls, gpu: CudaDevice) -> CudaDevice:
        return gpu


def test_memory_is_weights_activations_and_workspace(gpu: CudaDevice, artifact: Any) -> None:
    with gpu.open(artifact) as session:
        assert WEIGHTS + 2 * ACTIVATION <= session.peak_memory_bytes() < WEIGHTS + 8 * ACTIVATION


def test_a_cold_cache_is_slower(gpu: CudaDevice, artifact: Any) -> None:
    with gpu.open(artifact) as warm, gpu.open(artifact, Settings(cold_cache=True)) as cold:
        for session in (warm, cold):
            session.time(200)
        assert np.median(cold.time(200)) > np.median(warm.time(200))


def test_work_in_company_computes_the_same(gpu: CudaDevice, artifact: Any) -> None:
    """Many to a graph, no output is another's, and the time is that of single ones but for their launch."""
    with gpu.open(artifact) as session:
        (before,) = session.run().outputs.values()
        once_s = float(np.median(session.time(500))) / 1e9
        session.work(100)
        began = time.monotonic()
        session.work(20_000)
        each_s = (time.monotonic() - began) / 20_000
        (after,) = session.run().outputs.values()
        np.testing.assert_array_equal(before, after)
        assert 0.3 * once_s < each_s < 1.2 * once_s


def test_energy_grows_with_work(gpu: CudaDevice, artifact: Any) -> None:
    (meter,) = gpu.meters()
    with gpu.open(artifact) as session, Trace(meter) as trace:
        time.sleep(meter.settle_s)
        began = time.monotonic()
        time.sleep(1)
        idle_w = trace.power_w(began, time.monotonic())
        session.work(20_000)
        began = time.monotonic()
        while time.monotonic() < began + 1.5:
            session.work(5_000)
        busy_w = trace.power_w(began, time.monotonic())
    assert 5 < idle_w < busy_w < 1500
