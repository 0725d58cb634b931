"""The published Once-for-All accuracy predictor, a multi-layer perceptron (Cai et al. 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.nas.accuracy.accuracy import Accuracy
from netdyno.nas.space import Population, Space
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3
from netdyno.nas.state import read_state

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BLOCKS = 20
SMALLEST_SIZE, SIZE_STEP, SIZES = 112, 16, 8
INPUTS = BLOCKS * 6 + SIZES
CHUNK = 400
"""Rows of which all that a layer reads and writes stays in the cache of one core."""
_OPTIONS = np.eye(4, 3, dtype=np.float32)
"""One-hot options of a gene; the last row is that of a block that is not there."""
_SIZES = np.eye(SIZES, dtype=np.float32)

Matrix = NDArray[np.float32]


class OfaMlpAccuracy(Accuracy):
    """Accuracy by a 128-400-400-400-1 network on one-hot kernels, expansions and the resolution.

    Blocks beyond a unit's depth are all zero. ``layers``: weight ``(out, in)`` and bias ``(out,)``, in order.

    Raises:
        InputError: a resolution of the space is none that the predictor knows.
    """

    def __init__(self, space: OfaMobileNetV3, layers: list[tuple[Matrix, Matrix]]) -> None:
        sizes = (np.asarray(space.resolutions) - SMALLEST_SIZE) // SIZE_STEP
        if sizes.min() < 0 or sizes.max() >= SIZES:
            largest = SMALLEST_SIZE + SIZE_STEP * SIZES - 1
            raise InputError(f"the accuracy predictor knows resolutions from {SMALLEST_SIZE} to {largest} only")
        self._space = space
        self._sizes = sizes
        self._session = _session(layers)

    def __call__(self, X: Population) -> NDArray[np.float64]:
        """``X (n, 46)`` to percent ``(n,)``."""
        population = self._space.check(X)
        chunks = (self._encode(population[i : i + CHUNK]) for i in range(0, len(population), CHUNK))
        parts = [100.0 * self._session.run(None, {"x": x})[0][:, 0].astype(np.float64) for x in chunks]
        return np.concatenate([np.empty(0), *parts])

    def _encode(self, X: Population) -> Matrix:
        """``(n, 128)``: 20 × 3 kernels, 20 × 3 expansions, 8 resolutions."""
        columns, active = self._space.columns, self._space.active(X)[:, :BLOCKS]
        blocks = [_OPTIONS[np.where(active, X[:, columns[name]], -1)].reshape(-1, BLOCKS * 3) for name in ("ks", "e")]
        return np.concatenate([*blocks, _SIZES[self._sizes[X[:, columns["r"]][:, 0]]]], axis=1)


def _session(layers: list[tuple[Matrix, Matrix]]) -> InferenceSession:
    """The network for any number of rows, on one thread: populations of a search are small."""
    from onnx import TensorProto
    from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
    from onnx.numpy_helper import from_array
    from onnxruntime import InferenceSession, SessionOptions

    from netdyno.exporters.onnx import IR_VERSION, OPSET

    weights, nodes, y = [], [], "x"
    for number, (weight, bias) in enumerate(layers):
        weights += [from_array(weight, f"weight{number}"), from_array(bias, f"bias{number}")]
        if number:
            nodes.append(make_node("Relu", [y], [f"{y}.active"]))
            y = f"{y}.active"
        nodes.append(make_node("Gemm", [y, f"weight{number}", f"bias{number}"], [f"y{number}"], transB=1))
        y = f"y{number}"
    ends = [make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", INPUTS), (y, 1))]
    graph = make_graph(nodes, "accuracy", ends[:1], ends[1:], weights)
    model = make_model(graph, opset_imports=[make_opsetid("", OPSET)], ir_version=IR_VERSION)
    options = SessionOptions()
    options.intra_op_num_threads = 1
    return InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def load_ofa_mlp(path: Path, space: Space) -> OfaMlpAccuracy:
    """Read the published state dict, which was fitted for the supernet of width 1.2; only tensors are unpickled.

    Raises:
        InputError: no such file, not that predictor, or not for this space.
        MissingExtra: torch is not installed.
    """
    if not isinstance(space, OfaMobileNetV3):
        raise InputError(f"Once-for-All's accuracy predictor is for ofa-mobilenetv3, not {space.name}")
    state = read_state(path, purpose="reading a .pth accuracy predictor")
    tensors = {name: tensor.detach().float().numpy() for name, tensor in state.items()}
    shapes = [(INPUTS, 400), (400, 400), (400, 400), (400, 1)]
    layers = [(tensors.get(f"{2 * i}.weight"), tensors.get(f"{2 * i}.bias")) for i in range(len(shapes))]
    known = []
    for (weight, bias), (inputs, outputs) in zip(layers, shapes, strict=True):
        if weight is None or bias is None or weight.shape != (outputs, inputs) or bias.shape != (outputs,):
            raise InputError(f"{path}: not Once-for-All's accuracy predictor (128-400-400-400-1)")
        known.append((weight, bias))
    return OfaMlpAccuracy(space, known)
