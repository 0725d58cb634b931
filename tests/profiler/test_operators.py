"""Operators of whole models: times that add up, work that is counted, roofs that are met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from netdyno.base.artifact import Artifact
from netdyno.base.errors import ModelError
from netdyno.devices.cpu import CpuDevice
from netdyno.devices.device import Settings
from netdyno.devices.litert_profile import read_events
from netdyno.exporters.graph import Graph, GraphBuilder
from netdyno.exporters.read import read_model
from netdyno.exporters.tflite_operators import read_operators
from netdyno.exporters.writers import write
from netdyno.nas.space import make_space
from netdyno.profiler.layers import Operator, parse_layer
from netdyno.profiler.measure import Method
from netdyno.profiler.model import model_table, profile_model, profile_parts
from netdyno.profiler.operators import profile_operators
from netdyno.profiler.roofs import Roofs, measure_roofs

pytestmark = pytest.mark.alone

Refuses = Callable[[Callable[[], object]], str]
ROOFS = Roofs(1e11, ((1_000_000, 1e11), (100_000_000, 1e10)))
RUNTIMES = {"onnxruntime": "onnx", "litert": "tflite"}


@pytest.fixture(scope="module")
def network() -> tuple[Graph, int]:
    """A small network, and its multiply-accumulates."""
    space = make_space("ofa-mobilenetv3", width=0.5, resolutions=[64], classes=10)
    genes = space.smallest()
    return space.graph(genes), int(space.macs(genes)[0])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_operators_add_up_to_the_whole(runtime: str, cpu: CpuDevice, network: tuple[Graph, int]) -> None:
    graph, macs = network
    artifact = write(graph, RUNTIMES[runtime])
    report = profile_operators(artifact, cpu, Settings(runtime), ROOFS, budget_s=60)
    # A network of 0.3 ms on a shared machine; benchmarks/operator_times.py holds real ones to 10 %.
    assert 0.6 < report.covered < 1.4
    assert sum(own.share for own in report.operators) == pytest.approx(1)
    assert report.outside_delegate == ()
    for own in report.operators:
        assert own.latency_ms_low is not None and own.latency_ms_high is not None
        assert own.latency_ms_low <= own.latency_ms <= own.latency_ms_high
    counted = sum(own.macs or 0 for own in report.operators)
    assert counted == report.macs == macs
    # ONNX Runtime pads channels to a vector's width.
    assert macs <= sum(own.executed_macs or 0 for own in report.operators) < 2 * macs
    timed = [own for own in report.operators if own.latency_ms >= 0.001 and own.macs and own.moved_bytes]
    assert {own.roof for own in timed} <= {"compute", "memory"}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_model_is_a_table_of_its_operators(
    runtime: str, cpu: CpuDevice, network: tuple[Graph, int], tmp_path: Path
) -> None:
    artifact = write(network[0], RUNTIMES[runtime])
    method = Method(budget_s=5)
    whole = profile_model(artifact, cpu, Settings(runtime), method)
    parts, why_not = profile_parts(artifact, cpu, Settings(runtime), method)
    assert parts is not None and why_not == ""
    table = model_table(artifact, cpu, Settings(runtime), whole, parts)
    table.check()
    operators = [parse_layer(str(key)) for key in table.layers.index]
    assert [own.name for own in operators if isinstance(own, Operator)] == [own.name for own in parts.operators]
    assert list(table.networks.index) == [artifact.name]
    assert table.conditions["runtime"] == runtime


def test_roofs_are_those_of_a_machine(cpu: CpuDevice) -> None:
    roofs = measure_roofs(cpu, Settings("onnxruntime"))
    assert 1e8 < roofs.macs_per_s < 1e13
    sizes = [size for size, _ in roofs.bytes_per_s]
    assert sizes == sorted(sizes)
    assert all(1e7 < rate < 1e13 for _, rate in roofs.bytes_per_s)


def test_which_roof_by_hand() -> None:
    assert ROOFS.under(1.0, 10**8, 1000) == ("compute", pytest.approx(1.0))
    assert ROOFS.under(1.0, 0, 5 * 10**7) == ("memory", pytest.approx(5.0))
    assert ROOFS.under(1.0, 10**6, 500_000) == ("compute", pytest.approx(0.01)), "of the nearer cache"
    assert ROOFS.under(1.0, 10**6, 2_000_000) == ("memory", pytest.approx(0.2)), "of the farther one"
    assert ROOFS.under(1.0, None, 5) == ROOFS.under(0.0, 5, 5) == ROOFS.under(1.0, 0, 0) == ("", None)
    assert ROOFS.under(1.0, 10**8, 1000, "int8") == ROOFS.under(1.0, 10**8, 1000, "fp16") == ("", None)
    assert ROOFS.under(1.0, 0, 5 * 10**7, "int8")[0] == "memory", "what does not multiply stands under the other roof"
    eight_bits = replace(ROOFS, int8_macs_per_s=4e11)
    assert eight_bits.under(1.0, 10**8, 1000, "int8") == ("compute", pytest.approx(0.25))
    assert ROOFS.under(1.0, 0, 2_000_000, calls=4) == ("memory", pytest.approx(0.02)), "each call fits the nearer one"
    assert Roofs().under(1.0, 10**8, 1000) == ("", None)


def test_many_operators_travel(cpu: CpuDevice) -> None:
    """Times are arrays of a frame, not text in its header."""
    builder = GraphBuilder("chain")
    x = builder.input("x", (1, 2, 2, 2))
    for i in range(700):
        x = builder.unary(("relu", "h_swish")[i % 2], x)
    profile = cpu.profile_operators(write(builder.build(x), "onnx"), Settings("onnxruntime"), 100)
    assert len(profile.operators) >= 450
    assert len(profile.operators[-1].latency_us) == len(profile.whole_us) == 100


def test_the_file_tells_a_tflite_model_s_work(network: tuple[Graph, int]) -> None:
    operators = read_operators(write(network[0], "tflite"))
    assert sum(own.macs for own in operators) == network[1]
    builder = GraphBuilder("one")
    x, weight, bias = builder.input("x", (1, 8)), np.ones((3, 8), np.float32), np.zeros(3, np.float32)
    graph = builder.build(builder.linear(x, weight, bias, name="l"))
    (own,) = read_operators(write(graph, "tflite"))
    assert (own.type, own.macs, own.moved_bytes) == ("FULLY_CONNECTED", 24, 4 * (8 + 24 + 3 + 3))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0\0\0\0TFL3" + b"\xff" * 100, b"x" * 1000])
def test_what_is_no_tflite_file(data: bytes) -> None:
    with pytest.raises(ModelError, match="not a TFLite model"):
        read_operators(Artifact(data, "tflite", "broken"))


def test_events_of_every_known_size_are_read() -> None:
    for size in (88, 104, 120):
        event = bytearray(size)
        event[8:12], event[24:32] = (16).to_bytes(4, "little"), (77).to_bytes(8, "little")
        assert [event[:3] for event in read_events(bytes(event) * 3 + bytes(400), 3)] == [("", 16, 77)] * 3
    with pytest.raises(ModelError, match="unknown form"):
        read_events(b"\x03" * 400, 3).__next__()


def test_a_runtime_s_refusal_is_told(cpu: CpuDevice) -> None:
    with pytest.raises(ModelError):
        cpu.profile_operators(Artifact(b"no model", "onnx", "bad"), Settings(), 3)


def _with_open_batch(path: Path, *, external: bool) -> np.ndarray:
    """``y = x @ w`` for any number of rows, its weight beside the file or in it."""
    weight = np.arange(12, dtype=np.float32).reshape(4, 3)
    tensors = [onnx.numpy_helper.from_array(weight, "w")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    beside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0} if external else {}
    onnx.save_model(model, str(path), **beside)
    return weight


def test_external_data_and_open_shapes(cpu: CpuDevice, tmp_path: Path, refuses: Refuses) -> None:
    weight = _with_open_batch(tmp_path / "m.onnx", external=True)
    assert (tmp_path / "weights.bin").stat().st_size >= weight.nbytes
    artifact = read_model(tmp_path / "m.onnx")
    assert cpu.open(artifact).inputs[0].shape == (1, 4)
    from netdyno.base.artifact import TensorSpec

    shaped = replace(artifact, inputs=(TensorSpec("x", (5, 4)),))
    x = np.ones((5, 4), np.float32)
    with cpu.open(shaped) as session:
        np.testing.assert_allclose(session.run({"x": x}).outputs["y"], x @ weight)
    (own,) = profile_operators(shaped, cpu, Settings("onnxruntime"), ROOFS, budget_s=2).operators
    assert own.macs == 5 * 4 * 3
    (tmp_path / "weights.bin").unlink()
    assert "external data" in refuses(lambda: read_model(tmp_path / "m.onnx"))


def test_external_data_outside_its_folder_is_refused(tmp_path: Path, refuses: Refuses) -> None:
    _with_open_batch(tmp_path / "m.onnx", external=True)
    (tmp_path / "weights.bin").rename(tmp_path.parent / "weights.bin")
    model = onnx.load_model(str(tmp_path / "m.onnx"), load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../weights.bin"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert "external data" in refuses(lambda: read_model(tmp_path / "m.onnx"))
