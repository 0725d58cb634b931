from __future__ import annotations

import pytest

from netdyno.base import errors
from netdyno.base.errors import InputError, NetdynoError, UnknownName

EXIT_CODES = {
    "NetdynoError": 70,
    "CheckFailed": 1,
    "VerificationError": 1,
    "TableInvalid": 1,
    "InputError": 2,
    "UnknownName": 2,
    "ModelError": 2,
    "MissingExtra": 2,
    "DeviceError": 3,
    "DeviceBusy": 3,
    "WorkerLost": 3,
    "MeasurementInvalid": 4,
}


def test_exit_codes_of_the_whole_tree() -> None:
    tree = {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, NetdynoError)
    }
    assert tree == EXIT_CODES


def test_the_drawing_at_the_top_names_every_error() -> None:
    assert errors.__doc__ is not None
    assert not [name for name in EXIT_CODES if name not in errors.__doc__]


def test_context_leaves_out_what_is_not_known() -> None:
    error = InputError("no", device="cpu", artifact="a.onnx")
    assert error.context() == {"device": "cpu", "artifact": "a.onnx"}
    assert str(error) == "no"
    assert NetdynoError("no").context() == {}


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("onxx", ["tflite", "onnx"], "did you mean 'onnx'?"),
        ("qqq", ["tflite", "onnx"], "known: onnx, tflite"),
        ("qqq", [], "known: none"),
    ],
)
def test_unknown_names_point_to_known_ones(name: str, known: list[str], hint: str) -> None:
    error = UnknownName("format", name, iter(known))
    assert str(error) == f"unknown format {name!r}; {hint}"
    assert error.known == sorted(known)


def test_a_message_is_one_line_whatever_names_are_in_it() -> None:
    for hostile in ("a\nb", "a\x1cb", "a\x1b[2Jb", "a\u2028b", "a\0b"):
        message = str(InputError(f"no layer {hostile}"))
        assert len(message.splitlines()) == 1 and message.isprintable()
