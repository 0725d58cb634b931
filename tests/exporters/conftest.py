"""Graphs to write, runtimes to run them with, and torch to say what they should compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from netdyno.base.artifact import Artifact
from netdyno.exporters import Graph, GraphBuilder, Node


@dataclass(frozen=True)
class Block:
    """An MBConv block: what the published spaces are made of."""

    kernel: int = 3
    stride: int = 1
    side: int = 8
    channels: int = 8
    filters: int = 8
    middle: int = 16
    activation: str = "relu"
    excite: bool = False
    skip: bool = False


class Weights:
    """Pseudo-random weights, scaled so that activations keep their size."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)

    def __call__(self, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        fan_in = max(int(np.prod(shape[1:])), 1)
        return (self._random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)


def build_mbconv(block: Block) -> Graph:
    weights = Weights()
    middle, filters = block.middle, block.filters
    builder = GraphBuilder("mbconv")
    x = y = builder.input("x", (1, block.channels, block.side, block.side))
    if middle != block.channels:
        y = builder.conv(y, weights(middle, block.channels, 1, 1), weights(middle), name="expand")
        y = builder.unary(block.activation, y)
    kernel = weights(middle, 1, block.kernel, block.kernel)
    y = builder.conv(y, kernel, weights(middle), name="depthwise", stride=block.stride, groups=middle)
    y = builder.unary(block.activation, y)
    if block.excite:
        squeezed = middle // 4
        s = builder.global_mean(y)
        s = builder.conv(s, weights(squeezed, middle, 1, 1), weights(squeezed), name="squeeze")
        s = builder.unary("relu", s)
        s = builder.conv(s, weights(middle, squeezed, 1, 1), weights(middle), name="excite")
        y = builder.mul(y, builder.unary("h_sigmoid", s))
    y = builder.conv(y, weights(filters, middle, 1, 1), weights(filters), name="project")
    return builder.build(builder.add(y, x) if block.skip else y)


def run_onnx(artifact: Artifact, inputs: dict[str, Any]) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(artifact.data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def run_tflite(artifact: Artifact, inputs: dict[str, Any]) -> dict[str, Any]:
    interpreter = Interpreter(model_content=artifact.data, num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        value = inputs[detail["name"]]
        interpreter.set_tensor(detail["index"], np.moveaxis(value, 1, -1).copy() if value.ndim == 4 else value)
    interpreter.invoke()
    outputs = {d["name"]: interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()}
    return {name: np.moveaxis(y, -1, 1) if y.ndim == 4 else y for name, y in outputs.items()}


def run_torch(graph: Graph, inputs: dict[str, Any]) -> dict[str, Any]:
    """What the table of operators in ``exporters/graph.py`` says, by torch."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional

    def conv(node: Node, x: Any, weight: Any, bias: Any) -> Any:
        a = node.attributes
        return F.conv2d(padded(node, x, 0.0), weight, bias, stride=a["stride"], groups=a["groups"])

    def padded(node: Node, x: Any, value: float) -> Any:
        before, after = node.attributes["padding"], node.attributes["after"]
        return F.pad(x, (before, after, before, after), value=value)

    def max_pool(node: Node, x: Any) -> Any:
        return F.max_pool2d(padded(node, x, -np.inf), node.attributes["kernel"], node.attributes["stride"])

    def avg_pool(node: Node, x: Any) -> Any:
        a = node.attributes
        return F.avg_pool2d(x, a["kernel"], a["stride"], a["padding"], count_include_pad=False)

    operators: dict[str, Callable[..., Any]] = {
        "conv": conv,
        "linear": lambda _, x, weight, bias: F.linear(x, weight, bias),
        "relu": lambda _, x: F.relu(x),
        "swish": lambda _, x: F.silu(x),
        "h_swish": lambda _, x: F.hardswish(x),
        "h_sigmoid": lambda _, x: F.hardsigmoid(x),
        "global_mean": lambda _, x: x.mean((2, 3), keepdim=True),
        "avg_pool": avg_pool,
        "max_pool": max_pool,
        "shuffle": lambda node, x: F.channel_shuffle(x, node.attributes["groups"]),
        "zero": lambda _, x: torch.zeros_like(x),
        "flatten": lambda _, x: x.flatten(1),
        "add": lambda _, a, b: a + b,
        "mul": lambda _, a, b: a * b,
        "identity": lambda _, x: x,
    }
    values = {name: torch.from_numpy(array) for name, array in {**graph.weights, **inputs}.items()}
    for node in graph.nodes:
        read = [values[name] for name in (*node.inputs, *node.weights)]
        values[node.output] = operators[node.op](node, *read)
    return {name: values[name].numpy() for name in graph.outputs}


def random_inputs(graph: Graph, seed: int = 1) -> dict[str, Any]:
    """Inputs of every graph input's shape, wide enough to reach both ends of h_swish and h_sigmoid."""
    random = np.random.default_rng(seed)
    return {name: (3 * random.standard_normal(graph.shapes[name])).astype(np.float32) for name in graph.inputs}


@pytest.fixture(scope="session")
def block() -> type[Block]:
    return Block


@pytest.fixture(scope="session")
def weights() -> Weights:
    return Weights()


@pytest.fixture(scope="session")
def mbconv() -> Callable[[Block], Graph]:
    return build_mbconv


@pytest.fixture(scope="session")
def inputs_of() -> Callable[[Graph], dict[str, Any]]:
    return random_inputs


@pytest.fixture(scope="session")
def torch_outputs() -> Callable[[Graph, dict[str, Any]], dict[str, Any]]:
    return run_torch


@pytest.fixture(params=["onnx", "tflite"])
def file_format(request: pytest.FixtureRequest) -> str:
    """Each format that is written directly."""
    return str(request.param)


@pytest.fixture
def run(file_format: str) -> Callable[[Artifact, dict[str, Any]], dict[str, Any]]:
    """The format's runtime itself, without a device around it; NCHW in and out."""
    return {"onnx": run_onnx, "tflite": run_tflite}[file_format]


def build_every_operator() -> dict[str, Graph]:
    """One small graph for each operator, and for each shape of it that a writer treats in its own way."""
    weights = Weights(2)
    graphs = {}

    def add(name: str, shape: tuple[int, ...], build: Callable[[GraphBuilder, str], str]) -> None:
        builder = GraphBuilder(name)
        graphs[name] = builder.build(build(builder, builder.input("x", shape)))

    for op in ("relu", "swish", "h_swish", "h_sigmoid", "identity", "zero"):
        add(op, (1, 6, 5, 7), lambda b, x, op=op: b.unary(op, x))
        add(f"{op}-flat", (2, 6), lambda b, x, op=op: b.unary(op, x))
    for kernel in (1, 2, 3, 4, 5, 7):
        for stride in (1, 2):
            for groups, per_group in ((1, 6), (6, 1), (2, 3)):
                w, bias = weights(12, per_group, kernel, kernel), weights(12)
                for shape in ((2, 6, 8, 8), (1, 6, 9, 9), (1, 6, 8, 9), (1, 6, 7, 2)):
                    name = f"conv-k{kernel}-s{stride}-g{groups}-{'x'.join(map(str, shape))}"
                    add(
                        name,
                        shape,
                        lambda b, x, w=w, bias=bias, s=stride, g=groups: b.conv(
                            x, w, bias, name="conv", stride=s, groups=g
                        ),
                    )
    for kernel, stride in ((1, 1), (3, 1), (5, 1), (2, 2), (3, 3)):
        for shape in ((2, 6, 6, 6), (1, 6, 9, 6)):
            name = f"avg_pool-k{kernel}-s{stride}-{'x'.join(map(str, shape))}"
            add(name, shape, lambda b, x, k=kernel, s=stride: b.avg_pool(x, kernel=k, stride=s))
    for kernel, stride, side in product((1, 2, 3), (1, 2), (6, 7)):
        shape = (2, 6, side, side)
        add(
            f"max_pool-k{kernel}-s{stride}-{side}",
            shape,
            lambda b, x, k=kernel, s=stride: b.max_pool(x, kernel=k, stride=s),
        )
    w, bias = weights(5, 6, 4, 4), weights(5)
    add("conv-whole", (2, 6, 4, 4), lambda b, x, w=w, bias=bias: b.conv(x, w, bias, name="conv", whole=True))
    for groups in (2, 3):
        add(f"shuffle-{groups}", (2, 12, 5, 7), lambda b, x, g=groups: b.shuffle(x, groups=g))
    add("linear", (3, 10), lambda b, x: b.linear(x, weights(4, 10), weights(4), name="linear"))
    add("global_mean", (2, 6, 5, 7), lambda b, x: b.global_mean(x))
    add("flatten", (2, 6, 1, 1), lambda b, x: b.flatten(x))
    add("add", (1, 6, 5, 7), lambda b, x: b.add(b.unary("h_swish", x), x))
    add("mul", (1, 6, 5, 7), lambda b, x: b.mul(b.unary("h_swish", x), x))
    add("mul-broadcast", (2, 6, 5, 7), lambda b, x: b.mul(x, b.global_mean(x)))
    add("two-readers", (1, 6, 4, 4), _two_readers)
    return graphs


def _two_readers(b: GraphBuilder, x: str) -> str:
    """A sum that a relu reads, but not the relu alone: it must not be fused."""
    total = b.add(x, x)
    return b.mul(b.unary("relu", total), total)


EVERY_OPERATOR = build_every_operator()


@pytest.fixture(params=EVERY_OPERATOR)
def operator_graph(request: pytest.FixtureRequest) -> Graph:
    return EVERY_OPERATOR[request.param]
