from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.artifact import TensorSpec
from netdyno.base.errors import ModelError
from netdyno.devices.runtimes import concrete, default_inputs
from netdyno.devices.wire import DTYPES

SPECS = st.builds(TensorSpec, st.text(), arrays.array_shapes(min_dims=0, max_side=4), st.sampled_from(sorted(DTYPES)))


@given(SPECS)
def test_default_inputs_fit_and_are_fixed(spec: TensorSpec) -> None:
    value, again = (default_inputs([spec])[spec.name] for _ in range(2))
    assert isinstance(value, np.ndarray)
    assert (value.shape, value.dtype.name) == (spec.shape, spec.dtype)
    np.testing.assert_array_equal(value, again)


def test_default_values() -> None:
    names = ("float32", "int64", "uint8", "int8", "bool")
    values = default_inputs([TensorSpec(name, (1000,), name) for name in names])
    assert 0 <= values["float32"].min() < values["float32"].max() < 1
    assert set(values["int64"]) == {0, 1}
    assert values["uint8"].max() > 250
    assert values["int8"].min() < -120
    assert set(values["bool"]) == {False, True}


@given(st.lists(st.integers(1, 9), max_size=5), st.data())
def test_open_dimensions_are_filled(shape: list[int], data: st.DataObject) -> None:
    is_open = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    blanks = st.sampled_from(["batch", None, -1, 0])
    found = [data.draw(blanks) if blank else side for blank, side in zip(is_open, shape, strict=True)]
    assert concrete([("x", found, "float32")], {"x": tuple(shape)})[0].shape == tuple(shape)
    if any(is_open):
        with pytest.raises(ModelError, match="--input-shape"):
            concrete([("x", found, "float32")], {})
    else:
        assert concrete([("x", found, "float32")], {})[0].shape == tuple(shape)


@pytest.mark.parametrize(
    "found",
    [
        [("x", [1], "float32"), ("x", [1], "float32")],
        [("x", [1], "seq(tensor(float))")],
        [("x", [2**20, 2**20], "float32")],
    ],
    ids=["twice", "sequence", "huge"],
)
def test_refused(found: list[tuple[str, list[int], str]]) -> None:
    with pytest.raises(ModelError):
        concrete(found, {})
