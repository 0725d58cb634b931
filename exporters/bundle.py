"""A bundle: the folder that ships, with a model in each format, a card, and one golden input and output.

Whoever receives a bundle can check every file against the card and run the golden input on their own device.
A bundle may come from anywhere, so reading one trusts nothing: what :func:`load_bundle` returns was read once,
checked, and is held in memory.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact, TensorSpec
from netdyno.base.errors import InputError
from netdyno.base.folders import folder_atomic, require_replaceable
from netdyno.devices.device import DEFAULT_SETTINGS, Device, Settings
from netdyno.exporters.card import (
    CARD,
    GOLDEN_INPUT,
    GOLDEN_OUTPUT,
    MOST_OUTPUTS,
    Card,
    entry_of,
    read_card,
    read_checked,
)
from netdyno.exporters.graph import Graph
from netdyno.exporters.layout import spec_in
from netdyno.exporters.npy import parse_npy
from netdyno.exporters.verify import FP32_TOLERANCE, Tensors, Verification, verify
from netdyno.exporters.writers import formats as known_formats
from netdyno.exporters.writers import write


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and checked: its card, and the bytes of every file that the card lists."""

    path: Path
    card: Card
    contents: Mapping[str, bytes] = field(repr=False)

    def artifacts(self) -> list[Artifact]:
        """The model files, in the card's order."""
        card = self.card
        return [
            Artifact(self.contents[file.name], file.format, card.name, (spec_in(card.input, file.format),))
            for file in card.files
            if file.format
        ]

    def golden(self) -> tuple[Tensors, Tensors]:
        """An input and the output that belongs to it, float32 NCHW, by name.

        Raises:
            InputError: not NumPy arrays of the shapes in the card.
        """
        card = self.card
        inputs = {card.input.name: self._array(GOLDEN_INPUT, card.input)}
        files = zip(card.outputs, card.golden_outputs, strict=True)
        return inputs, {spec.name: self._array(file, spec) for spec, file in files}

    def _array(self, name: str, spec: TensorSpec) -> NDArray[np.float32]:
        return _parse_npy(self.contents[name], spec, self.path / name)


def write_bundle(
    graph: Graph,
    out: Path,
    formats: Sequence[str],
    golden_input: NDArray[Any],
    golden_output: NDArray[Any] | Tensors,
    card: Mapping[str, Any],
) -> Bundle:
    """Write a graph as a bundle, whole or not at all; a bundle that is there already is replaced.

    ``golden_input`` and ``golden_output`` are NCHW, of a graph with several outputs by name. ``card`` is what only
    the caller knows, as JSON values: normalisation, labels, what was measured and predicted.

    Raises:
        InputError: ``out`` is something other than a bundle, the arrays do not fit the graph, or the card
            is not JSON or uses a name that the bundle itself writes.
        UnknownName: no writer for one of the formats.
    """
    if len(graph.inputs) != 1 or not graph.outputs or not formats:
        raise InputError(f"{graph.name}: a bundle needs one input, an output and at least one format")
    require_place(out)
    taken, *made = (TensorSpec(name, graph.shapes[name]) for name in (*graph.inputs, *graph.outputs))
    known = Card(graph.name, taken, tuple(made), (), dict(card))
    golden = golden_output if isinstance(golden_output, Mapping) else {graph.outputs[0]: golden_output}
    if set(golden) != set(graph.outputs):
        raise InputError(f"{graph.name}: golden outputs of {', '.join(golden)}; it has {', '.join(graph.outputs)}")
    contents = {f"model.{name}": write(graph, name).data for name in dict.fromkeys(formats)}
    contents[GOLDEN_INPUT] = _npy(golden_input, taken)
    contents |= {file: _npy(golden[spec.name], spec) for spec, file in zip(made, known.golden_outputs, strict=True)}
    text = replace(known, files=tuple(entry_of(name, data) for name, data in contents.items())).to_json()
    with folder_atomic(out) as folder:
        (folder / CARD).write_text(text, encoding="utf-8")
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        bundle = load_bundle(folder)  # what cannot be read back never takes an older bundle's place
    return replace(bundle, path=out)


def require_place(out: Path) -> None:
    """Make sure that a bundle can be written there, and nothing but an older bundle would be lost.

    Raises:
        InputError: somebody's other files are in it, or it is no folder.
    """
    features = [f"golden_c{level}.npy" for level in range(1, MOST_OUTPUTS + 1)]
    models = [f"model.{name}" for name in known_formats()]
    require_replaceable(out, (CARD, GOLDEN_INPUT, GOLDEN_OUTPUT, *features, *models))


def load_bundle(path: Path) -> Bundle:
    """Read a bundle and check every file against its card.

    Raises:
        InputError: not a bundle, or one whose card or golden arrays are malformed.
        VerificationError: a file is not the one that the card was written for.
    """
    card = read_card(path / CARD)
    bundle = Bundle(path, card, {entry.name: read_checked(path, entry) for entry in card.files})
    bundle.golden()
    return bundle


def verify_bundle(
    bundle: Bundle,
    device: Device,
    settings: Settings = DEFAULT_SETTINGS,
    tolerance: float = FP32_TOLERANCE,
) -> list[Verification]:
    """Run the golden input through each model that the device has a runtime for, and compare.

    Raises:
        InputError: the device runs none of the bundle's formats, or a model is broken.
        DeviceError: the device was lost.
    """
    runs = {runs for runtime, runs in device.formats.items() if settings.runtime in ("", runtime)}
    runnable = [artifact for artifact in bundle.artifacts() if artifact.format in runs]
    if not runnable:
        raise InputError(f"{bundle.path}: {device.id} runs none of the models in this bundle", device=device.id)
    inputs, reference = bundle.golden()
    return [verify(artifact, device, inputs, reference, settings, tolerance) for artifact in runnable]


def _npy(array: NDArray[Any], spec: TensorSpec) -> bytes:
    if array.shape != spec.shape:
        raise InputError(f"golden {spec.name}: is of shape {array.shape}, not {spec.shape}")
    if not np.isfinite(array).all():
        raise InputError(
            f"golden {spec.name}: holds numbers that are not finite; see whether the network's weights are: "
            "a training that diverged leaves NaN"
        )
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype="<f4"), allow_pickle=False)
    return buffer.getvalue()


def _parse_npy(data: bytes, spec: TensorSpec, path: Path) -> NDArray[np.float32]:
    """A float32 array of the expected shape."""
    array: NDArray[np.float32] = parse_npy(data, path)
    if array.shape != spec.shape or array.dtype != np.dtype("<f4"):
        raise InputError(f"{path}: not a float32 array of shape {spec.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{path}: holds numbers that are not finite")
    return array
