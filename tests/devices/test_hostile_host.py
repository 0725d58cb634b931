"""Another machine that answers anything at all: only errors of netdyno's own come of it."""

from __future__ import annotations

import contextlib
import json
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.base.artifact import Artifact, TensorSpec
from netdyno.base.errors import NetdynoError
from netdyno.devices.device import Settings
from netdyno.devices.ssh import connection, device, ssh_device
from netdyno.devices.wire import Frame
from netdyno.exporters import GraphBuilder, write

pytestmark = pytest.mark.alone

ABOUT = {"architecture": "x86_64", "kernel": "6.1", "usable_cpus": 2}
HONEST: dict[str, dict[str, Any]] = {
    "hello": {
        "about": ABOUT,
        "versions": {"python": "3.8", "onnxruntime": "1.19"},
        "cache": "/home/me/.cache/netdyno",
    },
    "files": {"files": {"/proc/cpuinfo": "model name : CPU\ncpu MHz : 1000\n", "/proc/stat": "cpu 1 2 3 4 5 6 7 8"}},
    "lock": {"held": True},
    "has": {"has": False},
    "put": {},
    "find": {"inputs": [["x", [1, 3], "float32"]], "outputs": [["y", "float32"]], "load_ms": 1.5},
    "load": {"load_ms": 0.5, "first_ms": 0.25},
    "run": {},
    "work": {},
    "close": {},
    "memory": {"bytes": 12345},
    "gpu": {
        "id": "cuda:0",
        "name": "GPU",
        "uuid": "GPU-1",
        "facts": {"driver": "570"},
        "meter": {"name": "nvml-energy", "settle_s": 0.5, "note": ""},
        "problems": [],
    },
    "gpu_state": {"state": {"clock_mhz": 1000, "compute_processes": 0}},
    "cuda": {"versions": {"torch": "2.8", "tensorrt": "10.8.0"}},
    "watch": {},
    "energy": {"mj": 5.0},
    "operators": {"operators": [["conv", 12.5]]},
}
NUMBERS = st.integers() | st.floats() | st.sampled_from((-1, 0, 10**400, float("nan"), float("inf")))
TEXTS = st.text(max_size=20) | st.sampled_from(("\ud800", "9" * 400, "float32", "complex128", "../x"))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ARTIFACT = Artifact(b"model", "onnx", "m", (TensorSpec("x", (1, 3)),))
_BUILDER = GraphBuilder("m")
MODEL = write(_BUILDER.build(_BUILDER.unary("relu", _BUILDER.input("x", (1, 3)))), "onnx")
"""A real one, whose inputs and outputs are looked up before it travels."""


class Liar:
    """A worker that answers honestly but for what ``lies`` holds."""

    lies: ClassVar[dict[str, Any]] = {}
    latency: ClassVar[Any] = np.array([5, 6, 7])
    target = "board"
    alive = True

    def __init__(self, *_: Any) -> None:
        pass

    def ask(self, request: Frame, *, timeout_s: float, most_bytes: int = 0) -> Frame:
        assert 0 < timeout_s < 1e9
        verb = request.message.get("do", "memory")
        said = self.lies.get(verb, HONEST[verb])
        if verb == "run":
            return Frame(said, {"latency_ns": self.latency, "output:y": np.zeros(3)})
        return Frame(said)

    def require_alive(self) -> None:
        pass

    def end(self) -> None:
        pass


def use() -> list[int]:
    """All that a device is asked; returns latencies."""
    with ssh_device("ssh://board/cpu", lock_wait_s=0.0) as device:
        json.dumps([device.info().facts, dict(device.state()), dict(device.info().versions)], allow_nan=False)
        with device.open(ARTIFACT) as session:
            assert session.peak_memory_bytes() is not None
            return session.run(repeat=3).latency_ns.tolist()


def use_gpu() -> list[int]:
    """The same of a GPU, and its energy."""
    with ssh_device("ssh://board/cuda:0", lock_wait_s=0.0) as device:
        json.dumps([device.info().facts, dict(device.state()), dict(device.info().versions)], allow_nan=False)
        assert all(isinstance(text, str) for text in device.meter_problems())
        for meter in device.meters():
            assert 0 <= meter.read_mj() < 1e300
        profile = device.profile_operators(MODEL, Settings("tensorrt"), 3)
        assert all(0 <= time_us < 1e12 for own in profile.operators for time_us in own.latency_us)
        with device.open(MODEL) as session:
            return session.run(repeat=3).latency_ns.tolist()


@pytest.fixture(autouse=True)
def _liar(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (connection, device):
        monkeypatch.setattr(module, "SshWorker", Liar)


def test_honest_ones() -> None:
    assert use() == use_gpu() == [5, 6, 7]


def _mutated(value: Any, data: st.DataObject) -> Any:
    """A value with something in it replaced."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(value)))
        return {**value, name: _mutated(value[name], data)}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        index = data.draw(st.integers(0, len(value) - 1))
        return [*value[:index], _mutated(value[index], data), *value[index + 1 :]]
    return data.draw(JSON)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(HONEST)), st.data())
def test_any_lie(verb: str, data: st.DataObject) -> None:
    lie = _mutated(HONEST[verb], data)
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(NetdynoError):
        patch.setattr(Liar, "lies", {verb: lie if isinstance(lie, dict) else {"answer": lie}})
        assert use() == [5, 6, 7]
        assert use_gpu() == [5, 6, 7]


@pytest.mark.parametrize(
    "latency",
    [np.zeros(3, np.int64), np.array([1.0, 2, 3]), np.array([1, 2]), np.array([1, -2, 3]), np.array(["a"] * 3)],
)
def test_times_that_nothing_takes(latency: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Liar, "latency", latency)
    with pytest.raises(NetdynoError, match="times that nothing takes"):
        use()
