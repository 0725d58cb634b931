"""Multiply-accumulates of ONNX operators, from the shapes that a runtime tells of."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from functools import cache
from itertools import chain
from typing import Any

from netdyno.devices.operators import Execution, OperatorTimes, Shape, Shapes

_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "DeformConv": 1, "QLinearConv": 3}
"""Which input of a convolution is its weight."""
_GATES = {"LSTM": 4, "DynamicQuantizeLSTM": 4, "GRU": 3, "RNN": 1}
_PRODUCTS = {
    "DynamicQuantizeMatMul": 1, "Gemm": 1, "GemmFastGelu": 1, "GemmFloat8": 1, "MatMul": 1, "MatMulBnb4": 1,
    "MatMulInteger": 1, "MatMulIntegerToFloat": 1, "MatMulNBits": 1, "QGemm": 3, "QLinearMatMul": 3,
    "TransposeMatMul": 1,
}  # fmt: skip
"""Which input of a product of matrices is its second factor; it may be packed in a form of the runtime's own."""
_PACKED = ("MatMulBnb4", "MatMulNBits")
_PAST = {"Attention": 4, "QAttention": 8, "MultiHeadAttention": 6, "GroupQueryAttention": 3}
"""Which input of an attention is the keys that are kept from before."""
_UNCOUNTED = {"LinearClassifier", "SVMClassifier", "SVMRegressor", "GaussianProcessRegressor"}
"""Operators of ONNX that multiply and whose shapes do not tell how often."""
_WITHOUT = (
    "Bias", "Embed", "FastGelu", "Gelu", "QuickGelu", "Reorder", "SimplifiedLayer", "SkipLayer", "SkipSimplified",
    "SkipGroup", "QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearConcat",
    "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearReduceMean", "QLinearWhere", "MemcpyFromHost",
    "MemcpyToHost", "RotaryEmbedding", "GatherBlockQuantized", "CropAndResize", "ExpandDims", "Trilu", "Unique",
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "NGramRepeatBlock", "Sampling", "Rfft", "Irfft",
    "SparseToDense", "Tokenizer", "WordConvEmbedding", "QEmbedLayerNormalization", "BifurcationDetector",
)  # fmt: skip
"""Beginnings of names of the runtime's own operators that hold no product."""


def macs_of(operator: OperatorTimes) -> int | None:
    """Multiply-accumulates of an operator's calls in one inference, as the model has them; None if unknown."""
    return _total(operator, _own_weight)


def executed_macs_of(operator: OperatorTimes) -> int | None:
    """Those that are executed: with the channels that a runtime adds to fill its vectors."""
    return _total(operator, lambda own, execution: execution)


def _total(operator: OperatorTimes, prepare: Callable[[OperatorTimes, Execution], Execution]) -> int | None:
    total = 0.0
    for execution in operator.executions or (Execution(),):
        macs = _macs(operator.type, prepare(operator, execution), operator.attributes)
        if macs is None:
            return None
        total += execution.calls * macs
    return round(total)


def _own_weight(operator: OperatorTimes, execution: Execution) -> Execution:
    """An execution with the model's own weight, and as many channels."""
    own, written = operator.original, execution.output_shapes
    if own == ():
        return Execution()
    if own is None or not written or written[0] is None or len(execution.input_shapes) < 2:
        return execution
    batch, _, *sides = written[0]
    read = (execution.input_shapes[0], own, *execution.input_shapes[2:])
    return Execution(read, ((batch, own[0], *sides), *written[1:]))


def _macs(type_: str, execution: Execution, attributes: Mapping[str, Any]) -> int | None:
    """Multiply-accumulates of one call."""
    kind = type_.removeprefix("Nhwc").removeprefix("Fused").removesuffix("Activation")
    read, written = execution.input_shapes, execution.output_shapes
    try:
        for kinds, count in _COUNTED:
            if kind in kinds:
                return count(kind, read, written, attributes)
    except (IndexError, KeyError, ValueError):
        return None
    return 0 if _is_known(kind) or _is_known(type_) else None


def _at(shapes: Shapes, index: int) -> Shape:
    shape = shapes[index]
    if shape is None:
        raise IndexError(index)
    return shape


def _size(shapes: Shapes, index: int) -> int:
    return math.prod(_at(shapes, index))


def _convolution(kind: str, read: Shapes, written: Shapes, attributes: Mapping[str, Any]) -> int:
    return _size(written, 0) * math.prod(_at(read, _CONVOLUTIONS[kind])[1:])


def _transposed(kind: str, read: Shapes, written: Shapes, attributes: Mapping[str, Any]) -> int:
    """Each input value goes into a window of all output channels."""
    return _size(read, 0) * math.prod(_at(read, 1)[1:])


def _product(kind: str, read: Shapes, written: Shapes, attributes: Mapping[str, Any]) -> int:
    return _size(written, 0) * _contracted(kind, read, attributes)


def _linear(kind: str, read: Shapes, written: Shapes, attributes: Mapping[str, Any]) -> int:
    return _size(written, 0) * _at(read, 0)[-1]


def _contracted(kind: str, read: Shapes, attributes: Mapping[str, Any]) -> int:
    """The side that a product sums over: of the first factor, or of the second where that is not told."""
    if read and read[0] is not None:
        first = read[0]
        if not attributes.get("transA") or len(first) == 1:
            return first[-1]
        return first[0] if attributes.get("transBatchA") else first[-2]
    if kind in _PACKED:
        return int(attributes["K"])
    second = _at(read, _PRODUCTS[kind])
    return second[-1] if attributes.get("transB") or len(second) == 1 else second[-2]


def _recurrent(kind: str, read: Shapes, written: Shapes, attributes: Mapping[str, Any]) -> int:
    """Each step multiplies its input and its state by one matrix a gate, in each direction."""
    steps, batch, inputs = _at(read, 0)
    hidden = attributes.get("hidden_size") or _at(written, 0)[-1]
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    return int(directions * steps * batch * _GATES[kind] * hidden * (inputs + hidden))


def _attention(kind: str, read: Shapes, written: Shapes, attributes: Mapping[str, Any]) -> int:
    """Queries by keys and weights by values, of all heads; and the projection where the operator holds it."""
    query, projected = _at(read, 0), 0
    past = read[_PAST[kind]] if len(read) > _PAST[kind] else None
    if kind == "QAttention" or (kind == "Attention" and len(_at(read, 1)) == 2):
        batch, steps, _ = query
        columns = _at(read, 1)[1]
        sizes = attributes.get("qkv_hidden_sizes") or [columns // 3] * 3
        projected = batch * steps * query[-1] * columns
        keys = steps + (past[3] if past is not None else 0)
        return int(projected + batch * steps * keys * (sizes[0] + sizes[2]))
    output = _at(written, 0)
    rows = math.prod(query) // query[-1] if len(query) == 4 else math.prod(query[:2])
    values = math.prod(output) // max(rows, 1)
    width = (
        values if kind == "GroupQueryAttention" else math.prod(query) // max(rows, 1) // (3 if len(query) == 5 else 1)
    )
    return rows * _keys(kind, read, written, past) * (width + values)


def _keys(kind: str, read: Shapes, written: Shapes, past: Shape | None) -> int:
    """Count of keys that each query meets: those kept, or those given and those from before."""
    present = written[1] if len(written) > 1 else None
    if present is not None and len(present) == 4:
        return present[2]
    key = read[1] if len(read) > 1 else None
    own = _at(read, 0)[1] if key is None else key[2 if len(key) == 4 else 1]
    return own + (past[2] if past is not None else 0)


def _einsum(kind: str, read: Shapes, written: Shapes, attributes: Mapping[str, Any]) -> int:
    """The product of all labels' sizes, of pairs of factors from left to right."""
    left, arrow, output = str(attributes["equation"]).replace(" ", "").partition("->")
    terms = [_labelled(term, _at(read, i)) for i, term in enumerate(left.split(","))]
    sizes: dict[str, int] = {}
    for label, size in chain.from_iterable(terms):
        sizes[label] = max(sizes.get(label, 1), size)
    labels = [{label for label, _ in term} for term in terms]
    kept = {label for label in sizes if label in output or (label[0] == "." and "." in output)}
    if not arrow:
        every = [label for term in terms for label, _ in term]
        kept = {label for label in sizes if every.count(label) == 1 or label[0] == "."}
    total, reached = 0, labels[0]
    for position, own in enumerate(labels[1:], start=1):
        total += math.prod(sizes[label] for label in reached | own)
        reached = (reached | own) & (kept | set[str]().union(*labels[position + 1 :]))
    return total


def _labelled(term: str, shape: Shape) -> list[tuple[str, int]]:
    """Labels with sizes; those behind an ellipsis are counted from the right."""
    before, dots, after = term.partition("...")
    many = len(shape) - len(before) - len(after)
    if many < 0 or (many and not dots):
        raise ValueError(term)
    names = [*before, *(f".{many - i}" for i in range(many)), *after]
    return list(zip(names, shape, strict=True))


@cache
def _is_known(kind: str) -> bool:
    """True where an operator is known to hold no product."""
    return kind not in _UNCOUNTED and (kind in _standard() or kind.startswith(_WITHOUT))


@cache
def _standard() -> frozenset[str]:
    import onnx

    return frozenset(schema.name for schema in onnx.defs.get_all_schemas())


_COUNTED: tuple[tuple[Collection[str], Callable[[str, Shapes, Shapes, Mapping[str, Any]], int]], ...] = (
    (_CONVOLUTIONS, _convolution),
    (("ConvTranspose",), _transposed),
    (_PRODUCTS, _product),
    (_GATES, _recurrent),
    (_PAST, _attention),
    (("Einsum",), _einsum),
    (("LinearRegressor",), _linear),
)
