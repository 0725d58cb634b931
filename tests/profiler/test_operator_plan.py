"""Plans of profiling within a budget; one start has no interval, and sums that are off are not valid."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError
from netdyno.devices.device import Settings
from netdyno.devices.operators import Execution, OperatorProfile, OperatorTimes
from netdyno.profiler import operator_plan
from netdyno.profiler.operator_plan import ROOFS_S, START_S, Once, run_profiles
from netdyno.profiler.operators import profile_operators
from netdyno.profiler.roofs import Roofs

MODEL = Artifact(b"", "onnx", "m")
OPERATORS_US = (600.0, 400.0)


class Timeline:
    """A device on which everything takes a known time, of a clock that only it moves."""

    id = "timeline"
    formats: ClassVar = {"onnxruntime": "onnx"}

    def __init__(self, once_s: float, start_s: float, covered: float = 1.0) -> None:
        self.now, self.once_s, self.start_s, self.covered = 0.0, once_s, start_s, covered
        self.asked: list[int] = []

    def runtime_for(self, artifact: Artifact, settings: Settings) -> str:
        return "onnxruntime"

    def profile_operators(self, artifact: Artifact, settings: Settings, inferences: int) -> OperatorProfile:
        model = artifact.name == "m"
        once_s = self.once_s if model else 1e-4
        warm_up = min(inferences, 5)
        runs = 2 if inferences == 1 else 2 * (warm_up + inferences)
        self.now += self.start_s + once_s * runs
        if model:
            self.asked.append(inferences)
        own = [
            OperatorTimes("Relu", f"r{i}", executions=(Execution(),), latency_us=[share * 1e3 * once_s] * inferences)
            for i, share in enumerate(OPERATORS_US)
        ]
        return OperatorProfile(own, [1e6 * once_s / self.covered] * (inferences if inferences > 1 else 0))

    def open(self, artifact: Artifact, settings: Settings) -> Any:
        raise AssertionError("it is known what the model takes")


@pytest.fixture
def timeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def make(once_s: float, start_s: float = 0.6, covered: float = 1.0) -> Timeline:
        device = Timeline(once_s, start_s, covered)
        monkeypatch.setattr(operator_plan, "time", SimpleNamespace(monotonic=lambda: device.now))
        monkeypatch.setattr(operator_plan, "_call_ms", lambda *_: 0.0)
        return device

    return make


@pytest.mark.parametrize("once_s", [0.0001, 0.003, 0.02, 0.1, 0.3, 0.8, 1.5])
@pytest.mark.parametrize("budget_s", [1.0, 3.0, 6.0, 10.0, 30.0])
def test_a_budget_holds_to_a_tenth_and_one_inference(timeline: Any, once_s: float, budget_s: float) -> None:
    device = timeline(once_s)
    once = Once(1e3 * once_s, 50.0)
    if budget_s + once_s < START_S + 0.1 + 2 * once_s:
        with pytest.raises(ModelError, match="--budget"):
            run_profiles(MODEL, device, Settings("onnxruntime"), budget_s, once)
        assert device.now == 0
        return
    runs = run_profiles(MODEL, device, Settings("onnxruntime"), budget_s, once)
    assert device.now <= 1.1 * budget_s + once_s
    assert runs.inferences == sum(device.asked) >= 1
    if budget_s >= 10 and once_s <= 0.02:
        assert len(runs.profiles) == 3 and runs.clock.left_s() >= ROOFS_S


def test_one_start_has_no_interval(timeline: Any) -> None:
    device = timeline(0.8)
    report = profile_operators(MODEL, device, Settings(), Roofs(), budget_s=3.0, once=Once(800.0, 50.0))
    assert report.inferences == 1
    assert {(own.latency_ms_low, own.latency_ms_high) for own in report.operators} == {(None, None)}
    assert report.valid and report.whole_ms == pytest.approx(800.0)


@pytest.mark.parametrize(("covered", "valid"), [(0.7, False), (0.85, True), (1.15, True), (1.3, False)])
def test_sums_that_are_off_are_not_valid(timeline: Any, covered: float, valid: bool) -> None:
    device = timeline(0.003, covered=covered)
    report = profile_operators(MODEL, device, Settings(), Roofs(), once=Once(3.0, 50.0))
    assert report.covered == pytest.approx(covered, rel=0.01)
    assert report.valid is valid
    assert all(own.latency_ms_low is not None for own in report.operators)
