from __future__ import annotations

import hypothesis.extra.numpy as arrays
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.artifact import TensorSpec
from netdyno.base.errors import InputError
from netdyno.devices.inputs import values_of
from netdyno.devices.shapes import Declared, concrete, declared
from netdyno.devices.wire import DTYPES

SPECS = st.builds(TensorSpec, st.text(), arrays.array_shapes(min_dims=0, max_side=4), st.sampled_from(sorted(DTYPES)))


@given(SPECS)
def test_default_inputs_fit_and_are_fixed(spec: TensorSpec) -> None:
    value, again = (values_of([spec], {}, {})[0][spec.name] for _ in range(2))
    assert (value.shape, value.dtype.name) == (spec.shape, spec.dtype)
    assert value.tobytes() == again.tobytes()


@given(st.lists(st.integers(0, 9), max_size=5), st.data())
def test_open_sides_are_filled(shape: list[int], data: st.DataObject) -> None:
    is_open = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    blanks = st.sampled_from(["batch", None, -1, ""])
    sides = [data.draw(blanks) if blank else side for blank, side in zip(is_open, shape, strict=True)]
    own = declared("x", sides, "float32")
    assert concrete([own], {"x": tuple(shape)})[0].shape == tuple(shape)
    if any(is_open[1:]):
        with pytest.raises(InputError, match=r"--dim batch=128|--input-shape x:"):
            concrete([own], {})
    else:
        first = [1] if is_open[:1] == [True] else shape[:1]
        assert concrete([own], {})[0].shape == (*first, *shape[1:])


def x(*sides: int | str | None, name: str = "x") -> Declared:
    return declared(name, sides, "float32")


def test_dimensions_by_symbol() -> None:
    inputs = [x("batch", "past", 8, name="p"), x("batch", "seq", 8)]
    shapes = [spec.shape for spec in concrete(inputs, {}, {"past": 0, "seq": 4})]
    assert shapes == [(1, 0, 8), (1, 4, 8)]
    shapes = [spec.shape for spec in concrete(inputs, {"x": (3, 4, 8)}, {"past": 2})]
    assert shapes == [(3, 2, 8), (3, 4, 8)]  # a symbol that a shape tells is told for all


def test_all_open_inputs_are_named_with_what_would_close_them() -> None:
    inputs = [x("batch", "seq", name="ids"), x(None, "seq", name="mask"), x(2, None, name="other")]
    with pytest.raises(InputError) as caught:
        concrete([*inputs, Declared("any", None, "float32")], {})
    for words in (
        "'ids' is open (batchxseq)",
        "'mask' is open (?xseq)",
        "--dim seq=128",
        "--input-shape other:2x128",
    ):
        assert words in str(caught.value)
    assert "'any' is open (of any rank)" in str(caught.value)
    assert "--input-shape any:" in str(caught.value)


def test_any_rank_takes_what_is_given() -> None:
    own = Declared("x", None, "float32")
    for shape in ((), (3,), (1, 0, 8)):
        assert concrete([own], {"x": shape})[0].shape == shape


@pytest.mark.parametrize(
    ("inputs", "shapes"),
    [
        ([x(1), x(1)], {}),
        ([declared("x", [1], "seq(tensor(float))")], {}),
        ([x(2**20, 2**20)], {}),
        ([x(0, 3)], {"x": (1, 3)}),
        ([x(1, "n")], {"x": (1, 2, 3)}),
        ([x(1)], {"y": (1,)}),
    ],
    ids=["twice", "sequence", "huge", "a static 0", "another rank", "another name"],
)
def test_refused(inputs: list[Declared], shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(InputError):
        concrete(inputs, shapes)
