"""Comparing outputs, and asking a real device for them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from netdyno.base.errors import InputError
from netdyno.devices import Settings, open_device
from netdyno.exporters import GraphBuilder, largest_difference, verify, write

FINITE = st.floats(-1e6, 1e6, width=32)
ARRAYS = arrays(np.float32, array_shapes(max_dims=4, max_side=4), elements=FINITE)


@given(ARRAYS)
def test_equal_outputs_do_not_differ(reference):
    assert largest_difference({"y": reference.copy()}, {"y": reference}) == 0


@given(ARRAYS, st.floats(1e-6, 1e3))
def test_difference_is_in_units_of_the_range(reference, share):
    scale = float(np.ptp(reference.astype(np.float64)))
    shifted = reference.astype(np.float64) + share * (scale or 1.0)
    if scale > 1e-3:
        assert largest_difference({"y": shifted}, {"y": reference}) == pytest.approx(share, rel=1e-3, abs=1e-9)


def test_largest_of_several_outputs_counts():
    reference = {"a": np.array([0.0, 10.0]), "b": np.array([0.0, 1.0])}
    outputs = {"a": np.array([0.0, 11.0]), "b": np.array([0.5, 1.0])}
    assert largest_difference(outputs, reference) == 0.5


def test_constant_reference_is_compared_by_magnitude():
    assert largest_difference({"y": np.array([4.0, 5.0])}, {"y": np.array([4.0, 4.0])}) == 0.25
    assert largest_difference({"y": np.array([0.5])}, {"y": np.array([0.0])}) == 0.5


@pytest.mark.parametrize(
    ("outputs", "reference"),
    [
        ({}, {"y": np.zeros(3)}),
        ({"y": np.zeros(3)}, {}),
        ({"y": np.zeros(3)}, {"y": np.zeros((1, 3))}),
        ({"y": np.zeros(0)}, {"y": np.zeros(0)}),
        ({"y": np.array([np.nan, 1.0])}, {"y": np.array([0.0, 1.0])}),
        ({"y": np.array([0.0, 1.0])}, {"y": np.array([np.nan, 1.0])}),
        ({"y": np.array([np.inf, 1.0])}, {"y": np.array([np.inf, 1.0])}),
    ],
)
def test_nothing_to_compare_is_no_agreement(outputs, reference):
    assert largest_difference(outputs, reference) == math.inf


@pytest.fixture(scope="module")
def cpu():
    with open_device("cpu") as device:
        yield device


def test_device_agrees_with_torch(block, mbconv, file_format, cpu, inputs_of, torch_outputs):
    graph = mbconv(block(kernel=5, stride=2, excite=True, filters=12))
    inputs = inputs_of(graph)
    result = verify(write(graph, file_format), cpu, inputs, torch_outputs(graph, inputs))
    assert result.ok
    assert (result.format, result.device) == (file_format, cpu.id)
    assert cpu.formats[result.runtime] == file_format
    assert 0 <= result.difference <= result.tolerance


def test_device_is_caught_when_it_does_not_agree(block, mbconv, file_format, cpu, inputs_of, torch_outputs):
    graph = mbconv(block())
    inputs = inputs_of(graph)
    (name, expected), *_ = torch_outputs(graph, inputs).items()
    wrong = expected.copy()
    wrong.flat[0] += 1e-3 * np.ptp(expected)
    result = verify(write(graph, file_format), cpu, inputs, {name: wrong})
    assert not result.ok
    assert result.difference == pytest.approx(1e-3, rel=0.1)


def test_flat_outputs_are_compared_too(weights, file_format, cpu, inputs_of, torch_outputs):
    builder = GraphBuilder("linear")
    x = builder.input("x", (2, 6))
    graph = builder.build(builder.linear(x, weights(3, 6), weights(3), name="y"))
    inputs = inputs_of(graph)
    assert verify(write(graph, file_format), cpu, inputs, torch_outputs(graph, inputs)).ok


def test_runtime_that_does_not_run_the_format_is_refused(block, mbconv, cpu, inputs_of):
    graph = mbconv(block())
    settings = Settings(runtime="litert")
    with pytest.raises(InputError):
        verify(write(graph, "onnx"), cpu, inputs_of(graph), {}, settings)
