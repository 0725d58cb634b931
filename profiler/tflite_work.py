"""Work of a TFLite model's operators as a profile names them: those of the file, met in order."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from netdyno.base.artifact import Artifact
from netdyno.devices.operators import OperatorTimes, Shapes
from netdyno.exporters.tflite_operators import TfliteOperator, has_no_product, read_operators

_CLASSES = {
    "Convolution": "convolution",
    "Fully Connected": "convolution",
    "Dynamic Fully Connected": "convolution",
    "Deconvolution": "convolution",
    "Batch Matrix Multiply": "convolution",
    "CONV_2D": "convolution",
    "DEPTHWISE_CONV_2D": "convolution",
    "FULLY_CONNECTED": "convolution",
    "TRANSPOSE_CONV": "convolution",
    "BATCH_MATMUL": "convolution",
    "Abs": "ABS",
    "Add": "ADD",
    "Average Pooling": "AVERAGE_POOL_2D",
    "Clamp": "RELU6",
    "Concatenate 2": "CONCATENATION",
    "Concatenate 3": "CONCATENATION",
    "Concatenate 4": "CONCATENATION",
    "Constant Pad": "PAD",
    "Divide": "DIV",
    "ELU": "ELU",
    "Exp": "EXP",
    "GELU": "GELU",
    "HardSwish": "HARD_SWISH",
    "Leaky ReLU": "LEAKY_RELU",
    "Max Pooling": "MAX_POOL_2D",
    "Maximum": "MAXIMUM",
    "Mean": "MEAN",
    "Minimum": "MINIMUM",
    "Multiply": "MUL",
    "Negate": "NEG",
    "PReLU": "PRELU",
    "Resize Bilinear": "RESIZE_BILINEAR",
    "Sigmoid": "LOGISTIC",
    "Softmax": "SOFTMAX",
    "Square": "SQUARE",
    "Square Root": "SQRT",
    "Static Reshape": "RESHAPE",
    "Static Slice": "STRIDED_SLICE",
    "Subtract": "SUB",
    "Tanh": "TANH",
    "Transpose": "TRANSPOSE",
}
"""Names of operators in XNNPACK (up to the first bracket) and in the file, as one."""
_PRODUCTS = ("convolution", "Scaled Dot-Product Attention")
_INTEGERS = re.compile(r"\bQ[A-Z]*8")

Known = tuple[int | None, int | None, str]
"""Multiply-accumulates and bytes of a call, and the precision of its arithmetic."""


def works(artifact: Artifact, operators: Sequence[OperatorTimes], tensors: Sequence[Shapes]) -> list[Known]:
    """The work of a call of each operator: those of one class meet in order, where there are as many of them.

    Raises:
        ModelError: the file cannot be understood.
    """
    found = read_operators(artifact, tensors)
    written: dict[tuple[int, str], list[TfliteOperator]] = defaultdict(list)
    for each in found:
        written[each.subgraph, _CLASSES.get(each.type, each.type)].append(each)
    classes = [_class(operator) for operator in operators]
    counts = Counter(classes)
    known = {kind: iter(own) for kind, own in written.items() if len(own) == counts[kind]}
    return [_known(own, kind, known.get(kind)) for own, kind in zip(operators, classes, strict=True)]


def _known(own: OperatorTimes, kind: tuple[int, str], same: Iterator[TfliteOperator] | None) -> Known:
    precision = "int8" if _INTEGERS.search(own.type) else "fp16" if "F16" in own.type else ""
    if same is not None:
        each = next(same)
        return each.macs, each.moved_bytes, precision or each.precision
    nothing = kind[1] not in _PRODUCTS if own.provider == "XNNPACK" else has_no_product(own.type)
    return (0 if nothing else None), None, precision or "fp32"


def _class(operator: OperatorTimes) -> tuple[int, str]:
    name = operator.type.partition(" (")[0]
    return operator.subgraph, _CLASSES.get(name, name)
