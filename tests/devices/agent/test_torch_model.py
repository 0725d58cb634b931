"""ONNX models as PyTorch's own functions: the same outputs as ONNX Runtime's."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'netdyno[train]'")

from netdyno.devices.agent.torch_model import OPERATORS, TorchModel

F = TensorProto.FLOAT
X = (2, 4, 9, 8)


def model(
    node: Any, shape: tuple[int, ...] = X, weights: dict[str, Any] | None = None, inputs: Any = ("x",)
) -> bytes:
    """A model of one operator."""
    made = [node] if not isinstance(node, list) else node
    graph = helper.make_graph(
        made,
        "one",
        [helper.make_tensor_value_info(name, F, shape) for name in inputs],
        [helper.make_tensor_value_info("y", F, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnx.shape_inference.infer_shapes(proto).SerializeToString()


def compare(data: bytes, shape: tuple[int, ...] = X, inputs: tuple[str, ...] = ("x",)) -> None:
    random = np.random.default_rng(0)
    arrays = {name: random.normal(size=shape).astype(np.float32) + 0.1 for name in inputs}
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, arrays)
    ours = TorchModel(data, 1)
    assert [name for name, _, _ in ours.found] == list(inputs)
    ours.allocate([shape] * len(inputs))
    ours.feed(arrays)
    ours.run()
    np.testing.assert_allclose(ours.outputs()["y"], expected, rtol=1e-4, atol=1e-5)


def weight(*shape: int) -> Any:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


CASES = {
    "Add": (helper.make_node("Add", ["x", "z"], ["y"]), {"inputs": ("x", "z")}),
    "AveragePool": (helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]), {}),
    "BatchNormalization": (
        helper.make_node("BatchNormalization", ["x", "a", "b", "c", "d"], ["y"], epsilon=1e-3),
        {"weights": {"a": weight(4), "b": weight(4), "c": weight(4), "d": np.abs(weight(4)) + 0.5}},
    ),
    "Clip": (
        helper.make_node("Clip", ["x", "low", "high"], ["y"]),
        {"weights": {"low": np.float32(0), "high": np.float32(0.5)}},
    ),
    "Concat": (helper.make_node("Concat", ["x", "x"], ["y"], axis=1), {}),
    "Constant": (
        [
            helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.array([2, 4, 72]))),
            helper.make_node("Reshape", ["x", "s"], ["y"]),
        ],
        {},
    ),
    "Conv": (
        helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[2, 1], pads=[1, 1, 1, 1], group=2),
        {"weights": {"w": weight(6, 2, 3, 3), "b": weight(6)}},
    ),
    "Div": (helper.make_node("Div", ["x", "w"], ["y"]), {"weights": {"w": np.abs(weight(4, 1, 1)) + 1}}),
    "Flatten": (helper.make_node("Flatten", ["x"], ["y"]), {}),
    "Gemm": (
        helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1),
        {"weights": {"w": weight(5, 7), "b": weight(5)}, "shape": (3, 7)},
    ),
    "GlobalAveragePool": (helper.make_node("GlobalAveragePool", ["x"], ["y"]), {}),
    "HardSigmoid": (helper.make_node("HardSigmoid", ["x"], ["y"], alpha=1 / 6, beta=0.5), {}),
    "HardSwish": (helper.make_node("HardSwish", ["x"], ["y"]), {}),
    "Identity": (helper.make_node("Identity", ["x"], ["y"]), {}),
    "MatMul": (helper.make_node("MatMul", ["x", "w"], ["y"]), {"weights": {"w": weight(8, 3)}}),
    "MaxPool": (
        helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]),
        {},
    ),
    "Mul": (helper.make_node("Mul", ["x", "z"], ["y"]), {"inputs": ("x", "z")}),
    "ReduceMean": (helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0), {}),
    "Relu": (helper.make_node("Relu", ["x"], ["y"]), {}),
    "Reshape": (
        helper.make_node("Reshape", ["x", "s"], ["y"]),
        {"weights": {"s": np.array([0, -1, 8], np.int64)}},
    ),
    "Sigmoid": (helper.make_node("Sigmoid", ["x"], ["y"]), {}),
    "Softmax": (helper.make_node("Softmax", ["x"], ["y"], axis=1), {}),
    "Sub": (helper.make_node("Sub", ["x", "x"], ["y"]), {}),
    "Transpose": (helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1]), {}),
}


def test_every_operator_has_a_case() -> None:
    assert set(CASES) == set(OPERATORS)


@pytest.mark.parametrize("name", CASES)
def test_operators(name: str) -> None:
    node, settings = CASES[name]
    shape, inputs = settings.get("shape", X), settings.get("inputs", ("x",))
    compare(model(node, shape, settings.get("weights"), inputs), shape, inputs)


@settings(max_examples=60)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.lists(st.integers(1, 3), min_size=2, max_size=2),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    dilations=st.lists(st.integers(1, 2), min_size=2, max_size=2),
    group=st.sampled_from((1, 2, 4)),
)
def test_any_convolution(kernel: Any, strides: Any, pads: Any, dilations: Any, group: int) -> None:
    """Uneven padding included."""
    attributes = {"strides": strides, "pads": pads, "dilations": dilations, "group": group}
    node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    compare(model(node, weights={"w": weight(8, 4 // group, *kernel)}))


def run(data: bytes) -> None:
    ours = TorchModel(data, 1)
    ours.allocate([X])
    ours.run()


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (helper.make_node("Sin", ["x"], ["y"]), "operator Sin"),
        (helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER"), "auto_pad SAME_UPPER"),
        (helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], ceil_mode=1), "ceil_mode"),
        (helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[0, 0, 1, 1]), "uneven padding"),
        (helper.make_node("Flatten", ["x"], ["y"], axis=2), "axis 2"),
    ],
)
def test_what_is_not_translated_is_refused(node: Any, why: str) -> None:
    """Never a wrong number."""
    data = model(node, weights={"w": weight(8, 4, 3, 3)})
    with pytest.raises(ValueError, match=why):
        run(data)
