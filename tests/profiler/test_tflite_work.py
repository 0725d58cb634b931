"""Work of a TFLite profile's operators, those included that the file does not have as often."""

from __future__ import annotations

import numpy as np
import pytest

from netdyno.devices.operators import OperatorTimes
from netdyno.exporters import write
from netdyno.exporters.graph import GraphBuilder
from netdyno.profiler.tflite_work import works


@pytest.mark.parametrize(
    ("kind", "provider", "macs"),
    [
        ("RESHAPE", "", 0),
        ("IF", "", 0),
        ("GATHER", "", 0),
        ("CONV_2D", "", None),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "", None),
        ("TFLite_Detection_PostProcess", "", None),
        ("Clamp (NC)", "XNNPACK", 0),
        ("Convolution (NHWC, F32) IGEMM", "XNNPACK", None),
    ],
)
def test_what_multiplies_nothing_is_known_without_the_file(kind, provider, macs):
    builder = GraphBuilder("linear")
    weight = np.ones((2, 3), np.float32)
    linear = builder.linear(builder.input("x", (1, 3)), weight, np.ones(2, np.float32), name="y")
    artifact = write(builder.build(linear), "tflite")
    operators = [OperatorTimes(kind, kind, provider), OperatorTimes(kind, kind, provider)]
    assert [work[0] for work in works(artifact, operators, ())] == [macs, macs]
