"""What ``trtexec`` writes, and what is made of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.devices.agent import versions
from netdyno.devices.agent.models import DeviceLost
from netdyno.devices.agent.tensorrt import TensorRtModel, parse_memory, parse_outputs, parse_profile, parse_times
from netdyno.devices.signature import signature
from netdyno.devices.testing import Case

TIMES = '[{"startComputeMs": 1.5, "endComputeMs": 2.0, "latencyMs": 9}, {"startComputeMs": 3, "endComputeMs": 3.25}]'


def test_times_are_those_of_the_last_on_the_gpu() -> None:
    assert parse_times(TIMES, 2) == [500_000, 250_000]
    assert parse_times(TIMES, 1) == [250_000]


def test_moments_are_rounded_and_durations_are_not() -> None:
    text = '[{"startComputeMs": 1234.57, "endComputeMs": 1234.58, "computeMs": 0.0123456}]'
    assert parse_times(text, 1) == [12_346]


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "[1]", '[{"endComputeMs": 1}]', '[{"computeMs": "x"}]',
        '[{"startComputeMs": 2, "endComputeMs": 1}]', '[{"startComputeMs": 0, "endComputeMs": NaN}]',
    ],
)  # fmt: skip
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (JSON's own error is one too)
        parse_times(text, 1)


def test_outputs() -> None:
    text = '[{"name": "y", "dimensions": "1x2", "values": [7, 13.5]}, {"name": "n", "dimensions": "", "values": [3]}]'
    outputs = parse_outputs(text, [("y", "float32"), ("n", "int64")])
    np.testing.assert_array_equal(outputs["y"], np.array([[7, 13.5]], np.float32))
    assert outputs["n"].shape == ()
    assert outputs["n"].dtype == np.int64


NAMES = st.sampled_from(("name", "dimensions", "values", "averageMs", "startComputeMs", "endComputeMs"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=12,
)


@given(JSON)
def test_whatever_is_written_is_read_or_refused(entries: Any) -> None:
    for parse in (lambda t: parse_times(t, 1), lambda t: parse_outputs(t, [("y", "float32")]), parse_profile):
        with contextlib.suppress(ValueError):
            assert parse(json.dumps(entries)) is not None


def test_profile() -> None:
    text = '[{"count": 10}, {"name": "conv + relu", "averageMs": 0.5}, {"name": "fc", "averageMs": 0.25}]'
    assert parse_profile(text) == [("conv + relu", 500.0), ("fc", 250.0)]


def test_genuine_profiles(refdata: Path) -> None:
    """Each layer's mean is what its share of the whole says."""
    profiles = sorted((refdata / "trt_profiles").glob("*trtexec*.profile.json"))
    assert len(profiles) == 3
    for path in profiles:
        layers = parse_profile(path.read_text())
        shares = [entry["percentage"] for entry in json.loads(path.read_text())[1:]]
        total_us = sum(mean_us for _, mean_us in layers)
        np.testing.assert_allclose([100 * mean_us / total_us for _, mean_us in layers], shares, rtol=1e-3)


def test_memory_is_the_last_that_is_told() -> None:
    line = "[TRT] [MemUsageChange] TensorRT-managed allocation in IExecutionContext creation: "
    line += "CPU +0, GPU +{0}, now: CPU 1, GPU {0} (MiB)\n"
    assert parse_memory(line.format(3) + line.format(12)) == 12 << 20
    with pytest.raises(ValueError, match="did not tell"):
        parse_memory("nothing")


@pytest.fixture
def on_path(trtexec: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PATH", f"{trtexec}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "netdyno"


def _model(case: Case) -> TensorRtModel:
    model = TensorRtModel(case.artifact.data, 1, signature(case.artifact))
    model.allocate([array.shape for array in case.inputs.values()])
    model.feed(dict(case.inputs))
    return model


def test_an_engine_is_built_once(on_path: Path, cases: list[Case]) -> None:
    case = next(case for case in cases if case.artifact.format == "onnx")
    first = _model(case)
    (engine,) = (on_path / "engines").iterdir()
    built = engine.stat().st_ino
    first.close()
    second = _model(case)
    assert len(second.time_runs(3)) == 3
    assert second.operators(5)[0][1] > 0
    assert second.device_bytes() == 3 << 20
    second.close()
    assert engine.stat().st_ino == built
    assert list((on_path / "trtexec").iterdir()) == [], "reports and inputs are gone"


def test_what_dead_processes_left_is_removed(on_path: Path, cases: list[Case]) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for pid in (dead.pid, os.getpid()):
        (on_path / f"trtexec/{pid}-x").mkdir(parents=True)
    _model(next(case for case in cases if case.artifact.format == "onnx")).close()
    assert [path.name for path in (on_path / "trtexec").iterdir()] == [f"{os.getpid()}-x"]


def test_its_energy_is_mostly_its_start(on_path: Path, cases: list[Case]) -> None:
    model = _model(next(case for case in cases if case.artifact.format == "onnx"))
    with pytest.raises(ValueError, match="starting trtexec"):
        model.work(5)


def test_a_program_that_is_killed_is_a_lost_gpu(on_path: Path, trtexec: Path, cases: list[Case]) -> None:
    model = _model(next(case for case in cases if case.artifact.format == "onnx"))
    killed = on_path / "killed"
    killed.mkdir()
    (killed / "trtexec").write_text("#!/bin/sh\nkill -ABRT $$\n")
    (killed / "trtexec").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{killed}:{os.environ['PATH']}")
        with pytest.raises(DeviceLost, match="exit code -6"):
            model.run()


def test_its_own_words(on_path: Path, cases: list[Case]) -> None:
    case = next(case for case in cases if case.artifact.format == "onnx")
    model = TensorRtModel(b"garbage", 1, signature(case.artifact))
    with pytest.raises(ValueError, match=r"trtexec: ModelImporter.*Failed to parse"):
        model.allocate([(1, 3)])


def test_open_shapes_are_told(on_path: Path, model: Any) -> None:
    artifact = model("dynamic", x=(4, 3))
    loaded = TensorRtModel(artifact.data, 1, signature(artifact))
    loaded.allocate([(4, 3)])
    loaded.feed({"x": np.full((4, 3), -1, np.float32)})
    loaded.run()
    np.testing.assert_array_equal(loaded.outputs()["y"], np.zeros((4, 3)))


def test_names_that_would_be_options(on_path: Path) -> None:
    told = {"inputs": [["a:b,c", [1], "float32"]], "outputs": [["y", "float32"]]}
    with pytest.raises(ValueError, match="cannot be told of a tensor called"):
        TensorRtModel(b"", 1, told)


@pytest.mark.parametrize(("digits", "version"), [("8502", "8.5.2"), ("100800", "10.8.0"), ("8601", "8.6.1")])
def test_versions(digits: str, version: str) -> None:
    assert versions._dotted(digits) == version
