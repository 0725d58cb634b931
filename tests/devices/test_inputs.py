from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netdyno.base.artifact import TensorSpec
from netdyno.base.errors import InputError
from netdyno.devices.inputs import require_value, values_of
from netdyno.devices.types import to_wire


def value(text: str, dtype: str, shape: tuple[int, ...] = (1000,)) -> np.ndarray:
    return values_of([TensorSpec("x", shape, dtype)], {"x": text}, {})[0]["x"]


def words(text: str, dtype: str, shape: tuple[int, ...] = (1000,)) -> str:
    return values_of([TensorSpec("x", shape, dtype)], {"x": text}, {})[1][0].values


def test_default_values() -> None:
    names = ("float32", "int64", "uint8", "int8", "bool")
    values, fed = values_of([TensorSpec(name, (1000,), name) for name in names], {}, {})
    assert 0 <= values["float32"].min() < values["float32"].max() < 1
    assert set(values["int64"]) == {0, 1}
    assert values["uint8"].max() > 250
    assert values["int8"].min() < -120
    assert set(values["bool"]) == {False, True}
    assert [own.values for own in fed] == [
        "random in [0, 1)",
        "random integers 0..1",
        "random integers 0..255",
        "random integers -128..127",
        "random true or false",
    ]


def test_indices_are_legal() -> None:
    values, (fed,) = values_of([TensorSpec("i", (1000,), "uint8")], {}, {"i": (0, 9, "indices of Gather")})
    assert set(values["i"]) == set(range(10))
    assert fed.values == "random integers 0..9 (indices of Gather)"


@pytest.mark.parametrize(
    ("text", "dtype", "wanted"),
    [
        ("16000", "int64", 16000),
        ("-1.5e-3", "float32", np.float32(-1.5e-3)),
        ("inf", "float64", np.inf),
        ("true", "bool", True),
        ("0", "bool", False),
        ("0..9", "string", "0..9"),
        ("-8", "int4", -8),
        ("0.5", "bfloat16", 0.5),
    ],
)
def test_a_scalar_fills_the_shape(text: str, dtype: str, wanted: object) -> None:
    found = value(text, dtype, (2, 3))
    assert found.shape == (2, 3)
    assert (found == wanted).all()


def test_ranges() -> None:
    assert set(value("3..5", "int32")) == {3, 4, 5}
    assert words("3..5", "int32") == "random integers 3..5"
    reals = value("-2..2.5", "float32")
    assert -2 <= reals.min() < -1.9
    assert 2.4 < reals.max() < 2.5
    assert words("-2..2.5", "float32") == "random in [-2, 2.5)"


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("0.5", "int64"),
        ("300", "uint8"),
        ("0..256", "uint8"),
        ("maybe", "bool"),
        ("0..1", "bool"),
        ("one", "float32"),
        ("", "float32"),
        ("8", "int4"),
        ("1_000", "int64"),
    ],
)
def test_values_that_do_not_suit(text: str, dtype: str) -> None:
    with pytest.raises(InputError, match="input 'x' is"):
        value(text, dtype)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([[1, 2], [3, 250]]))
    assert value(str(path), "uint8", (2, 2)).tolist() == [[1, 2], [3, 250]]
    assert words(str(path), "uint8", (2, 2)) == f"from {path}"
    for dtype, shape in (("int8", (2, 2)), ("uint8", (4,)), ("bool", (2, 2)), ("string", (2, 2))):
        with pytest.raises(InputError, match=r"x\.npy"):
            value(str(path), dtype, shape)
    assert value(str(path), "float32", (2, 2)).dtype == np.float32


def test_what_is_no_value(tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    for text in (
        "9..0",
        "1e400..2",
        str(tmp_path / "text.npy"),
        str(tmp_path / "no.npy"),
        str(tmp_path / "objects.npy"),
    ):
        with pytest.raises(InputError):
            require_value("x", text)


def test_types_of_few_bits_travel() -> None:
    array, code = to_wire("int4", value("-3", "int4", (3,)))
    assert (array.tolist(), code) == ([0xDD, 0x0D, 0], 22)
    array, code = to_wire("bfloat16", value("1", "bfloat16", (2,)))
    assert (array.tolist(), code) == ([0x3F80, 0x3F80], 16)
    array, code = to_wire("string", value("é", "string", (1, 2)))
    assert (bytes(array), code) == (b'{"shape": [1, 2], "values": ["\\u00e9", "\\u00e9"]}', 8)
