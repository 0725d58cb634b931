"""Does a model file compute what its reference computed? Asked of the device that will run it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact
from netdyno.devices.device import DEFAULT_SETTINGS, Device, Settings
from netdyno.exporters.layout import from_format, to_format

Tensors = Mapping[str, NDArray[Any]]
FP32_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Verification:
    """One artifact on one device: ``difference`` from the reference, relative to the reference's range."""

    format: str
    runtime: str
    device: str
    difference: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference <= self.tolerance


def verify(
    artifact: Artifact,
    device: Device,
    inputs_nchw: Tensors,
    reference: Tensors,
    settings: Settings = DEFAULT_SETTINGS,
    tolerance: float = FP32_TOLERANCE,
) -> Verification:
    """Run an artifact on a device and compare its outputs with ``reference``, both NCHW and by name.

    Raises:
        InputError: the model takes other inputs, or the device does not run this format.
        DeviceError: the device was lost.
    """
    runtime = device.runtime_for(artifact, settings)
    with device.open(artifact, settings) as session:
        samples = session.run(to_format(inputs_nchw, artifact.format))
    difference = largest_difference(from_format(samples.outputs, artifact.format), reference)
    return Verification(artifact.format, runtime, device.id, difference, tolerance)


def largest_difference(outputs: Tensors, reference: Tensors) -> float:
    """The largest difference in any output, relative to that output's range (max - min) in the reference.

    A reference of one value only is compared relative to its magnitude, zeros absolutely. Infinite where there
    is nothing to compare: an output that is missing, empty, of another shape, or not finite on either side.
    """
    differences = (_difference(outputs.get(name), expected) for name, expected in reference.items())
    return max(differences, default=math.inf)


def _difference(actual: NDArray[Any] | None, expected: NDArray[Any]) -> float:
    if actual is None or actual.shape != expected.shape or expected.size == 0:
        return math.inf
    if not (np.isfinite(actual).all() and np.isfinite(expected).all()):
        return math.inf
    wanted = expected.astype(np.float64)
    scale = float(np.ptp(wanted)) or float(np.abs(wanted).max()) or 1.0
    return float(np.abs(actual - wanted).max()) / scale
