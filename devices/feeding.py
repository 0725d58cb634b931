"""Everything that is fed to a model: its inputs' shapes, their values, and in words what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from netdyno.base.artifact import Artifact, TensorSpec
from netdyno.base.errors import InputError, ModelError
from netdyno.devices.inputs import FedInput, is_file, load, values_of
from netdyno.devices.onnx_inputs import onnx_inputs, onnx_limits
from netdyno.devices.shapes import Declared, concrete, declared
from netdyno.devices.tflite_inputs import tflite_inputs, tflite_limits
from netdyno.devices.types import integer_range, to_wire


@dataclass(frozen=True)
class Fed:
    """Concrete inputs, an array of each, and what each holds in words."""

    specs: tuple[TensorSpec, ...]
    arrays: Mapping[str, NDArray[Any]]
    inputs: tuple[FedInput, ...]

    def on_wire(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A message's ``shapes`` and ``types``, and the arrays beside it; see :func:`agent.work.arrays_of`."""
        arrays, types = {}, {}
        for spec in self.specs:
            arrays[spec.name], code = to_wire(spec.dtype, self.arrays[spec.name])
            if code is not None:
                types[spec.name] = code
        return {"shapes": [spec.shape for spec in self.specs], "types": types}, arrays


def feed(artifact: Artifact, found: Sequence[tuple[str, Sequence[Any] | None, str]]) -> Fed:
    """Inputs for a model whose runtime tells of these: name, sides and dtype.

    Raises:
        InputError: a shape is missing, or something that the user gives does not suit the model.
    """
    try:
        return _feed(artifact, [declared(*each) for each in found])
    except InputError as error:
        raise InputError(f"{artifact.name}: {error}", artifact=artifact.name) from error


def _feed(artifact: Artifact, inputs: Sequence[Declared]) -> Fed:
    feeding, names = artifact.feeding, [each.name for each in inputs]
    values = dict(feeding.values)
    for name in values:
        if name not in names:
            raise InputError(f"it has no input {name!r}; its inputs: {', '.join(names) or 'none'}")
    shapes = {spec.name: spec.shape for spec in artifact.inputs}
    shapes |= {name: load(text).shape for name, text in values.items() if is_file(text)}
    shapes |= dict(feeding.shapes)
    specs = concrete(_with_unranked(artifact, inputs), shapes, dict(feeding.dimensions))
    counted = any(integer_range(spec.dtype) and spec.name not in values for spec in specs)
    arrays, fed = values_of(specs, values, _limits(artifact, specs) if counted else {})
    return Fed(specs, arrays, fed)


def _with_unranked(artifact: Artifact, inputs: Sequence[Declared]) -> list[Declared]:
    """The same inputs, those without a rank told apart from scalars, which ONNX Runtime does not do."""
    if artifact.format != "onnx" or all(each.sides for each in inputs):
        return list(inputs)
    known = {each.name: each for each in declared_inputs(artifact)}
    return [
        Declared(each.name, None, each.dtype) if each.name in known and known[each.name].sides is None else each
        for each in inputs
    ]


def declared_inputs(artifact: Artifact) -> list[Declared]:
    """A model's inputs as its file declares them; none where the file cannot be read, which the runtime will tell.

    Raises:
        UnknownName: it has no signature such as the user asks for.
    """
    try:
        return onnx_inputs(artifact) if artifact.format == "onnx" else tflite_inputs(artifact)
    except ModelError:
        return []


def _limits(artifact: Artifact, specs: Sequence[TensorSpec]) -> Mapping[str, tuple[int, int, str]]:
    try:
        return onnx_limits(artifact, specs) if artifact.format == "onnx" else tflite_limits(artifact)
    except ModelError:
        return {}
