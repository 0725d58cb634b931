"""Work of a profiled model's operators in one inference: from the shapes that its runtime tells, or from its file."""

from __future__ import annotations

from dataclasses import dataclass

from netdyno.base.artifact import Artifact
from netdyno.devices.operators import OperatorProfile, OperatorTimes
from netdyno.profiler import tflite_work
from netdyno.profiler.macs import executed_macs_of, macs_of

_VIEWS = {
    "EXPAND_DIMS", "Flatten", "Identity", "Optional", "OptionalGetElement", "OptionalHasElement", "RANK", "RESHAPE",
    "Reshape", "SHAPE", "SQUEEZE", "SequenceLength", "Shape", "Size", "Squeeze", "Static Reshape", "Unsqueeze",
}  # fmt: skip
"""Operators that look at the same bytes in another way."""
_INT8 = {
    "ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat",
    "QAttention", "QGemm", "QLinearConv", "QLinearMatMul",
}  # fmt: skip
_PRECISIONS = {"float": "fp32", "float16": "fp16", "int8": "int8", "uint8": "int8", "": "fp32"}


@dataclass(frozen=True)
class OperatorWork:
    """Multiply-accumulates, as the model has them and as they are executed, and bytes moved; None if unknown.

    ``precision`` is that of the arithmetic: ``fp32``, ``int8``, or another.
    """

    macs: int | None = None
    executed_macs: int | None = None
    moved_bytes: int | None = None
    precision: str = "fp32"


def works_of(artifact: Artifact, profile: OperatorProfile) -> list[OperatorWork]:
    """The work of each operator in one inference.

    Raises:
        ModelError: a file that has to tell cannot be understood.
    """
    operators = profile.operators
    if artifact.format == "onnx" and any(own.executions for own in operators):
        return [_from_shapes(own) for own in operators]
    if artifact.format != "tflite":
        return [OperatorWork()] * len(operators)
    known = tflite_work.works(artifact, operators, profile.tensors)
    return [_of_calls(own, *work) for own, work in zip(operators, known, strict=True)]


def _from_shapes(own: OperatorTimes) -> OperatorWork:
    precision = "int8" if own.type in _INT8 else _PRECISIONS.get(own.executions[0].dtype, own.executions[0].dtype)
    return OperatorWork(macs_of(own), executed_macs_of(own), _moved(own), precision)


def _moved(own: OperatorTimes) -> int | None:
    if own.type in _VIEWS or own.inside:
        return 0
    each = [execution.moved_bytes for execution in own.executions]
    known = [moved for moved in each if moved is not None]
    if len(known) < len(each):
        return None
    return round(sum(moved * own.calls for moved, own in zip(known, own.executions, strict=True)))


def _of_calls(own: OperatorTimes, macs: int | None, moved_bytes: int | None, precision: str) -> OperatorWork:
    moved = 0 if own.inside or own.type.partition(" (")[0] in _VIEWS else moved_bytes
    total, moved = (None if value is None else round(own.calls * value) for value in (macs, moved))
    return OperatorWork(total, total, moved, precision)
