"""Operators of other people's files as runtimes profile them: each once, calls counted, work from real shapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from netdyno.base.artifact import Artifact
from netdyno.devices.cpu import CpuDevice
from netdyno.devices.device import Settings
from netdyno.devices.operators import OperatorProfile, OperatorTimes
from netdyno.profiler.operator_work import OperatorWork, works_of
from tests.profiler import flat

FLOAT = TensorProto.FLOAT


def profiled(cpu: CpuDevice, data: bytes, file_format: str) -> tuple[OperatorProfile, list[OperatorWork]]:
    artifact = Artifact(data, file_format, "m")
    profile = cpu.profile_operators(artifact, Settings(), 3)
    return profile, works_of(artifact, profile)


def named(profile: OperatorProfile, works: Sequence[OperatorWork]) -> dict[str, tuple[OperatorTimes, OperatorWork]]:
    return {own.name: (own, work) for own, work in zip(profile.operators, works, strict=True)}


def weight(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def graph(nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], **weights: Any) -> Any:
    values = [
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in side.items()]
        for side in (inputs, outputs)
    ]
    return helper.make_graph(nodes, "g", *values, [numpy_helper.from_array(v, name) for name, v in weights.items()])


def model(own: Any) -> bytes:
    made = helper.make_model(own, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("operators", [1, 5])
def test_a_tflite_file_has_its_operators_once(cpu: CpuDevice, signed: bool, operators: int) -> None:
    profile, _ = profiled(cpu, flat.chain(operators, signed=signed), "tflite")
    assert len(profile.operators) == operators
    assert all(len(own.latency_us) == 3 and own.calls == 1 for own in profile.operators)


@pytest.mark.parametrize("signed", [False, True])
def test_a_while_s_body_is_called(cpu: CpuDevice, signed: bool) -> None:
    told = named(*profiled(cpu, flat.loop(10, 16, signed=signed), "tflite"))
    (connected,) = [both for name, both in told.items() if "Fully Connected" in name]
    assert connected[0].calls == 10
    assert connected[1].macs == 10 * 16**3
    assert told["LESS:1.0"][0].calls == 11
    assert told["WHILE:1"][0].inside > 30 and told["WHILE:1"][1].moved_bytes == 0


@pytest.mark.parametrize(
    ("data", "macs"),
    [(flat.open_inside(6), 6 * 8 * 4), (flat.product(adjoint=True), 65_536), (flat.product(adjoint=False), 65_536)],
    ids=["open sides", "adjoint", "plain"],
)
def test_tflite_shapes_are_the_real_ones(cpu: CpuDevice, data: bytes, macs: int) -> None:
    profile, works = profiled(cpu, data, "tflite")
    assert sum(work.macs or 0 for work in works) == macs
    assert all(work.macs is not None for work in works), [own.type for own in profile.operators]


def test_padded_channels_and_packed_weights(cpu: CpuDevice) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "w2"], ["d"], pads=[1] * 4),
        helper.make_node("Add", ["d", "r"], ["e"]),
        helper.make_node("ConvTranspose", ["e", "t"], ["y"], strides=[2, 2]),
    ]
    weights = {"w": weight(6, 6, 3, 3), "w2": weight(6, 6, 3, 3), "t": weight(6, 4, 2, 2)}
    own = graph(nodes, {"x": [1, 6, 32, 32]}, {"y": [1, 4, 64, 64]}, **weights)
    _, works = profiled(cpu, model(own), "onnx")
    assert sum(work.macs or 0 for work in works) == 2 * 331_776 + 6 * 1024 * 16
    for work in works:
        assert work.macs is not None and work.executed_macs is not None and work.macs <= work.executed_macs


def test_loops_of_convolutions(cpu: CpuDevice) -> None:
    nodes = [
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("Conv", ["s", "w"], ["o"], pads=[1] * 4),
    ]
    body = graph(nodes, {}, {}, w=weight(3, 3, 3, 3))
    body.input.extend(
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s", FLOAT, [1, 3, 8, 8]),
        ]
    )
    body.output.extend(
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("o", FLOAT, [1, 3, 8, 8]),
        ]
    )
    outer = [
        helper.make_node("Conv", ["x", "v"], ["c"], pads=[1] * 4),
        helper.make_node("Loop", ["turns", "true", "c"], ["y"], body=body),
    ]
    constants = {"v": weight(3, 3, 3, 3), "turns": np.array(10), "true": np.array(True)}
    own = graph(outer, {"x": [1, 3, 8, 8]}, {"y": [1, 3, 8, 8]}, **constants)
    profile, works = profiled(cpu, model(own), "onnx")
    assert sum(work.macs or 0 for work in works) == 11 * 9 * 9 * 64
    (around,) = [operator for operator in profile.operators if operator.type == "Loop"]
    assert around.inside >= 10


def test_einsum_and_recurrent_cells(cpu: CpuDevice) -> None:
    nodes = [
        helper.make_node("Einsum", ["x", "m"], ["e"], equation="sbi,ij->sbj"),
        helper.make_node("LSTM", ["e", "w", "r"], ["", "h"], hidden_size=16),
        helper.make_node("Squeeze", ["h"], ["y"]),
    ]
    weights = {"m": weight(12, 8), "w": weight(1, 64, 8), "r": weight(1, 64, 16)}
    profile, works = profiled(cpu, model(graph(nodes, {"x": [5, 2, 12]}, {"y": None}, **weights)), "onnx")
    assert sum(work.macs or 0 for work in works) == 5 * 2 * 12 * 8 + 5 * 2 * 64 * 24
    assert named(profile, works)["Squeeze_2"][1].moved_bytes == 0, "a view"


@pytest.mark.parametrize("how", ["QDQ", "QOperator", "dynamic"])
def test_quantised_models(cpu: CpuDevice, how: str, tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

    class Readings(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = [{"x": weight(1, 6, 16, 16)}]

        def get_next(self) -> Any:
            return self._left.pop() if self._left else None

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "g"], ["y"]),
    ]
    own = graph(nodes, {"x": [1, 6, 16, 16]}, {"y": [1, 10]}, w=weight(12, 6, 3, 3), g=weight(12, 10))
    plain, quantised = tmp_path / "plain.onnx", tmp_path / "quantised.onnx"
    plain.write_bytes(model(own))
    if how == "dynamic":
        quantize_dynamic(plain, quantised)
    else:
        quantize_static(plain, quantised, Readings(), quant_format=QuantFormat[how])
    profile, works = profiled(cpu, quantised.read_bytes(), "onnx")
    counted = [(own.type, work) for own, work in zip(profile.operators, works, strict=True) if work.macs]
    assert sum(work.macs or 0 for _, work in counted) == 12 * 6 * 9 * 256 + 120
    assert {work.precision for _, work in counted} == {"int8"}, counted
    assert onnx.load(quantised) is not None
