"""Bundles: written whole, read with suspicion."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.base.documents import seal
from netdyno.base.errors import InputError, UnknownName, VerificationError
from netdyno.devices import Settings, open_device
from netdyno.exporters import load_bundle, verify_bundle, write_bundle
from netdyno.exporters.layout import spec_in

CARD = {"labels": ["cat", "dog"], "normalisation": {"mean": [0.5], "std": [0.25]}}
FILES = {"card.json", "model.onnx", "model.tflite", "golden_input.npy", "golden_output.npy"}


@pytest.fixture(scope="module")
def golden(block, mbconv, inputs_of, torch_outputs):
    """A graph with an input and torch's output for it."""
    graph = mbconv(block(excite=True, stride=2, filters=12))
    inputs = inputs_of(graph)
    return graph, inputs["x"], torch_outputs(graph, inputs)[graph.outputs[0]]


@pytest.fixture(scope="module")
def pristine(golden, tmp_path_factory):
    graph, x, y = golden
    return write_bundle(graph, tmp_path_factory.mktemp("bundles") / "dist", ["onnx", "tflite"], x, y, CARD)


@pytest.fixture(scope="module")
def original(pristine):
    return pristine.path


@pytest.fixture
def folder(original, tmp_path):
    """A copy of a good bundle, to spoil."""
    return Path(shutil.copytree(original, tmp_path / "copy"))


@pytest.fixture(scope="module")
def cpu():
    with open_device("cpu") as device:
        yield device


def edit_card(folder, edit):
    path = folder / "card.json"
    card = json.loads(path.read_text())
    edit(card)
    path.write_text(json.dumps(seal(card)))


def forge(folder, name, data):
    """Put a file in a bundle and make the card agree with it."""
    (folder / name).write_bytes(data)

    def edit(card):
        (entry,) = (entry for entry in card["files"] if entry["name"] == name)
        entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    edit_card(folder, edit)


def test_bundle_is_a_folder_with_a_card(pristine, golden):
    graph, _, _ = golden
    assert {path.name for path in pristine.path.iterdir()} == FILES
    card = json.loads((pristine.path / "card.json").read_text())
    layouts = {"onnx": "NCHW", "tflite": "NHWC"}
    assert card["schema"] == 1
    assert card["name"] == "mbconv"
    assert card["input"] == {"name": "x", "shape": [1, 8, 8, 8], "dtype": "float32", "layouts": layouts}
    assert card["output"]["name"] == graph.outputs[0]
    assert card["labels"] == CARD["labels"]
    for entry in card["files"]:
        data = (pristine.path / entry["name"]).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert {entry["name"] for entry in card["files"]} == FILES - {"card.json"}


def test_bundle_reads_back(pristine, golden):
    graph, x, y = golden
    bundle = load_bundle(pristine.path)
    assert bundle.card.extra == CARD
    inputs, outputs = bundle.golden()
    np.testing.assert_array_equal(inputs["x"], x)
    np.testing.assert_array_equal(outputs[graph.outputs[0]], y)
    assert [(a.format, a.name, a.inputs[0].shape) for a in bundle.artifacts()] == [
        ("onnx", "mbconv", (1, 8, 8, 8)),
        ("tflite", "mbconv", (1, 8, 8, 8)),
    ]


def test_only_the_formats_asked_for_are_written(golden, tmp_path):
    graph, x, y = golden
    bundle = write_bundle(graph, tmp_path / "dist", ["tflite", "tflite"], x, y, {})
    assert [artifact.format for artifact in bundle.artifacts()] == ["tflite"]
    assert not (bundle.path / "model.onnx").exists()


def test_bundle_replaces_a_bundle_whole(golden, tmp_path):
    graph, x, y = golden
    write_bundle(graph, tmp_path / "dist", ["onnx", "tflite"], x, y, {})
    write_bundle(graph, tmp_path / "dist", ["onnx"], x, y, {})
    assert {path.name for path in (tmp_path / "dist").iterdir()} == FILES - {"model.tflite"}
    assert [path.name for path in tmp_path.iterdir()] == ["dist"]


def test_bundle_never_replaces_somebody_elses_files(golden, tmp_path):
    graph, x, y = golden
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="folder of its own"):
        write_bundle(graph, tmp_path, ["onnx"], x, y, {})
    with pytest.raises(InputError, match="not a folder"):
        write_bundle(graph, tmp_path / "thesis.txt", ["onnx"], x, y, {})
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"formats": []}, InputError, "at least one format"),
        ({"formats": ["onnyx"]}, UnknownName, "did you mean 'onnx'"),
        ({"golden_input": np.zeros((8, 8))}, InputError, "shape"),
        ({"golden_output": np.full((1, 12, 4, 4), np.nan)}, InputError, "numbers that are not finite; .* weights"),
        ({"golden_output": np.full((1, 12, 4, 4), -np.inf)}, InputError, "numbers that are not finite; .* weights"),
        ({"golden_output": np.zeros((1, 12))}, InputError, r"of shape \(1, 12\), not \(1, 12, 4, 4\)"),
        ({"card": {"files": []}}, InputError, "files"),
        ({"card": {"measured": float("nan")}}, InputError, "not JSON"),
        ({"card": {"measured": object()}}, InputError, "not JSON"),
    ],
)
def test_bundle_that_could_not_be_read_back_is_not_written(golden, tmp_path, change, error, message):
    graph, x, y = golden
    arguments = {"formats": ["onnx"], "golden_input": x, "golden_output": y, "card": {}} | change
    with pytest.raises(error, match=message):
        write_bundle(graph, tmp_path / "dist", **arguments)
    assert not list(tmp_path.iterdir())


def test_bundle_that_cannot_be_read_back_leaves_the_old_one(golden, tmp_path):
    graph, x, y = golden
    old = write_bundle(graph, tmp_path / "dist", ["onnx"], x, y, {})
    with pytest.raises(InputError, match="name of the document"):
        write_bundle(replace(graph, name="two\nlines"), tmp_path / "dist", ["onnx"], x, y, {})
    assert load_bundle(tmp_path / "dist") == old
    assert [path.name for path in tmp_path.iterdir()] == ["dist"]


def test_device_verifies_a_bundle(pristine, cpu):
    results = verify_bundle(pristine, cpu)
    assert [result.format for result in results] == ["onnx", "tflite"]
    assert all(result.ok for result in results)


def test_device_verifies_with_the_runtime_asked_for(pristine, cpu):
    (result,) = verify_bundle(pristine, cpu, Settings(runtime="litert"))
    assert (result.format, result.runtime, result.ok) == ("tflite", "litert", True)
    with pytest.raises(InputError, match="runs none of the models"):
        verify_bundle(pristine, cpu, Settings(runtime="abacus"))


def test_device_catches_a_golden_output_of_another_model(folder, cpu):
    buffer = io.BytesIO()
    np.save(buffer, np.linspace(-1, 1, 12 * 16, dtype="<f4").reshape(1, 12, 4, 4))
    forge(folder, "golden_output.npy", buffer.getvalue())
    assert not any(result.ok for result in verify_bundle(load_bundle(folder), cpu))


@pytest.mark.parametrize("name", sorted(FILES - {"card.json"}))
def test_changed_file_is_caught(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(VerificationError, match=name):
        load_bundle(folder)


@pytest.mark.parametrize("name", sorted(FILES))
def test_missing_file_is_caught(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        load_bundle(folder)


@pytest.mark.parametrize("name", sorted(FILES))
def test_symbolic_link_is_refused_even_to_the_right_bytes(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="symbolic link"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["card.json", "model.onnx"])
def test_pipe_or_folder_in_a_files_place_is_refused(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match="not a regular file"):
        load_bundle(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(InputError, match="not a regular file"):
        load_bundle(folder)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "model.onnx/../../secret", "card.json", "model.", "model.a\n", ""]
)
def test_file_name_that_is_none_of_a_bundles_is_refused(folder, name):
    edit_card(folder, lambda card: card["files"][0].update(name=name))
    with pytest.raises(InputError, match="not a file name of a bundle"):
        load_bundle(folder)


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


SHAPE = (1, 8, 8, 8)
HOSTILE_ARRAYS = {
    "pickle": npy(np.full(SHAPE, None), allow_pickle=True),
    "float64": npy(np.zeros(SHAPE)),
    "other shape": npy(np.zeros((1, 8, 8, 9), "<f4")),
    "fortran": npy(np.asfortranarray(np.zeros(SHAPE, "<f4"))),
    "not finite": npy(np.full(SHAPE, np.inf, "<f4")),
    "truncated": npy(np.zeros(SHAPE, "<f4"))[:-4],
    "trailing": npy(np.zeros(SHAPE, "<f4")) + b"\0",
    "zip": b"PK\x03\x04" + bytes(100),
    "nothing but the magic": b"\x93NUMPY\x01\x00",
    "header of nonsense": b"\x93NUMPY\x01\x00\x08\x00{[]: 1}\n",
    "header not closed": b"\x93NUMPY\x01\x00\x08\x00{'a': ((",
    "one byte": b"\x93",
}


@pytest.mark.parametrize("kind", HOSTILE_ARRAYS)
def test_hostile_array_is_refused(folder, kind):
    forge(folder, "golden_input.npy", HOSTILE_ARRAYS[kind])
    with pytest.raises(InputError, match=r"golden_input\.npy") as caught:
        load_bundle(folder)
    assert "\n" not in str(caught.value)


@given(data=st.binary(min_size=1, max_size=400))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_for_an_array_header_are_refused(folder, data):
    forge(folder, "golden_input.npy", b"\x93NUMPY\x01\x00" + len(data).to_bytes(2, "little") + data)
    with pytest.raises(InputError):
        load_bundle(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        "NaN",
        '{"schema": 2}',
        "[" * 100_000,
        "9" * 5000,
        "\ufeff{}",
        '{"schema": Infinity}',
    ],
)
def test_text_that_is_no_card_is_refused(folder, text):
    (folder / "card.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"card\.json"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda card: card.update(schema=2), "a newer one wrote it"),
        (lambda card: card.update(name="two\nlines"), "name of the document"),
        (lambda card: card["input"].update(name="\x1b[2J"), "name of input"),
        (lambda card: card["output"].update(name=7), "name of output"),
        (lambda card: card["input"].update(dtype="object"), "input: the dtype"),
        (lambda card: card["input"].update(shape=[1, 8, 8, -8]), "input: the shape"),
        (lambda card: card["input"].update(shape=[True, 8, 8, 8]), "input: the shape"),
        (lambda card: card.pop("output"), "output is not an object"),
        (lambda card: card.update(files={}), "files is not a list"),
        (lambda card: card["files"].append(card["files"][0]), "each once"),
        (lambda card: card["files"].pop(), "each golden output"),
        (lambda card: card.update(files=card["files"][2:]), "must list a model"),
        (lambda card: card["files"][0].update(bytes=1.5), "size or sha256 of model.onnx"),
        (lambda card: card["files"][0].update(sha256="A" * 64), "size or sha256 of model.onnx"),
    ],
)
def test_malformed_field_is_named(folder, edit, message):
    edit_card(folder, edit)
    with pytest.raises(InputError, match=message) as caught:
        load_bundle(folder)
    assert len(str(caught.value).splitlines()) == 1


def test_card_that_is_not_text_is_refused(folder):
    (folder / "card.json").write_bytes(b"\xff\xfe{\x00}\x00")
    with pytest.raises(InputError, match="UTF-8"):
        load_bundle(folder)


def test_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        load_bundle(tmp_path / "nowhere")


def paths_of(value, path=()):
    """Every place in a JSON document, the document itself left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths_of(inner, (*path, key))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data(), replacement=JSON, delete=st.booleans())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_card_gives_a_bundle_or_one_of_our_errors(original, folder, data, replacement, delete):
    """Whatever one value of the card becomes: one of our errors on one line, or a bundle that still works."""
    card = json.loads((original / "card.json").read_text())
    *way, last = data.draw(st.sampled_from(sorted(paths_of(card), key=repr)))
    place = card
    for key in way:
        place = place[key]
    if delete:
        del place[last]
    else:
        place[last] = replacement
    (folder / "card.json").write_text(json.dumps(seal(card)))
    try:
        bundle = load_bundle(folder)
    except (InputError, VerificationError) as error:
        message = str(error)
    else:
        message = "none"
        assert bundle.contents.keys() < FILES
        assert all(data == (folder / name).read_bytes() for name, data in bundle.contents.items())
        assert all(a.inputs == (spec_in(bundle.card.input, a.format),) for a in bundle.artifacts())
        inputs, _ = bundle.golden()
        assert inputs[bundle.card.input.name].shape == SHAPE
    assert len(message.splitlines()) == 1
