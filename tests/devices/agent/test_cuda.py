"""Time by CUDA's events: the driver is compiled here, and does at once what it is told."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdyno.devices.agent import cuda
from netdyno.devices.agent.cuda import CudaError, Stream
from netdyno.devices.agent.onnxruntime_cuda import OnnxRuntimeCudaModel
from netdyno.devices.testing import Case

pytestmark = pytest.mark.alone


@pytest.fixture(scope="session")
def _stub(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here to make the scripted driver with: apt install gcc libc6-dev")
    path = tmp_path_factory.mktemp("cuda") / "libnetdyno-cuda-stub.so"
    source = Path(__file__).with_name("cuda_stub.c")
    subprocess.run([compiler, "-O1", "-Wall", "-shared", "-fPIC", "-o", str(path), str(source)], check=True)
    return ctypes.CDLL(str(path))


@pytest.fixture
def stub(_stub: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(cuda, "_LIBRARY", _stub._name)
    monkeypatch.setattr(cuda, "_LEAST_BYTES", 1 << 16)
    monkeypatch.setattr(Stream, "_buffer", ctypes.c_uint64())
    return _stub


def test_time_between_events(stub: Any) -> None:
    latency_ns = Stream(0).time_runs(lambda: time.sleep(0.003), 20, cold=False)
    assert len(latency_ns) == 20
    assert 2.9e6 < np.median(latency_ns) < 4e6


def test_one_synchronisation_for_many(stub: Any) -> None:
    stream = Stream(0)
    stream.time_writing()
    before = stub.stub_synced()
    assert len(stream.time_runs(lambda: None, 1100, cold=False)) == 1100
    assert stub.stub_synced() - before == 5


def test_a_cold_cache_is_emptied_before_the_clock_starts(stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice its size is written, which is nothing of the latency."""
    monkeypatch.setattr(cuda, "_MOST_HEAD_START_S", 0.0)
    stream = Stream(0)
    stream.time_writing()
    before = stub.stub_memsets()
    latency_ns = stream.time_runs(lambda: None, 50, cold=True)
    assert stub.stub_memsets() - before == 50
    assert stub.stub_words() == 2 * (1 << 16) // 4
    assert np.median(latency_ns) < 20_000


def test_the_gpu_is_kept_busy_while_the_host_prepares(stub: Any) -> None:
    """For about as long as giving the same work took the last time, and not within what is told."""
    stream = Stream(0)
    stream.time_runs(lambda: time.sleep(0.001), 20, cold=False)
    before = stub.stub_memsets()
    began = time.monotonic()
    latency_ns = stream.time_runs(lambda: None, 20, cold=False)
    assert stub.stub_memsets() > before
    assert 0.01 < time.monotonic() - began < 0.3
    assert np.median(latency_ns) < 20_000


def test_all_streams_share_one_buffer(stub: Any) -> None:
    first, second = Stream(0), Stream(0)
    assert first._buffer is second._buffer


def test_a_stream_that_is_there(stub: Any) -> None:
    assert Stream(1234).handle == 1234
    assert Stream(0).handle


def test_what_the_driver_refuses(stub: Any) -> None:
    stream = Stream(0)
    stream.time_writing()
    stub.stub_fail(3)
    with pytest.raises(CudaError, match=r"CUDA error: .*unspecified launch failure"):
        stream.time_runs(lambda: None, 5, cold=False)
    assert len(stream.time_runs(lambda: None, 5, cold=False)) == 5


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_LIBRARY", "libno-such-driver.so.1")
    with pytest.raises(OSError, match="no-such-driver"):
        Stream(0)


class OnCpu(OnnxRuntimeCudaModel):
    """Its inputs, outputs and stream as on a GPU, but for the provider."""

    provider = "CPUExecutionProvider"
    memory = "cpu"

    def provider_options(self) -> dict[str, str]:
        assert set(super().provider_options()) == {"user_compute_stream", "use_tf32", "arena_extend_strategy"}
        return {}


def test_onnx_runtime_on_a_stream(stub: Any, cases: list[Case]) -> None:
    for case in cases:
        if case.artifact.format == "onnx":
            model = OnCpu(case.artifact.data, 1)
            model.allocate([array.shape for array in case.inputs.values()])
            model.feed(dict(case.inputs))
            assert len(model.time_runs(7)) == 7
            model.work(3)
            for name, expected in case.outputs.items():
                np.testing.assert_allclose(model.outputs()[name], expected)
            before = model.device_bytes()
            stub.stub_use(1000)
            assert model.device_bytes() == before + 1000
            stub.stub_use(-(1 << 19))
            with pytest.raises(ValueError, match="freed memory"):
                model.device_bytes()
            stub.stub_use((1 << 19) - 1000)


class Falling(OnCpu):
    """What takes no options, as older releases take none that they do not know."""

    def provider_options(self) -> dict[str, str]:
        return {"use_tf32": "0"}


def test_options_that_were_not_taken(stub: Any, cases: list[Case]) -> None:
    case = next(case for case in cases if case.artifact.format == "onnx")
    with pytest.raises(ValueError, match=r"does not take use_tf32=0; 1\.18 or newer"):
        Falling(case.artifact.data, 1)


def test_onnx_runtime_without_cuda(stub: Any, cases: list[Case]) -> None:
    """A provider that does not start is no reason to measure the CPU in its place."""
    case = next(case for case in cases if case.artifact.format == "onnx")
    with pytest.raises(ValueError, match="CUDAExecutionProvider"):
        OnnxRuntimeCudaModel(case.artifact.data, 1)
