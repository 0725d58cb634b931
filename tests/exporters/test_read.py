"""Model files as others keep them: external data, and links into a folder of blobs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from netdyno.base.artifact import Feeding
from netdyno.devices import Settings
from netdyno.devices.cpu import CpuDevice
from netdyno.exporters.read import read_model

Refuses = Callable[[Callable[[], object]], str]
WEIGHT = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)


def save(folder: Path, location: str = "m.data") -> Path:
    """``y = x @ w`` with its weight beside it."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    if location != "m.data":
        model = onnx.load_model(folder / "m.onnx", load_external_data=False)
        for entry in model.graph.initializer[0].external_data:
            if entry.key == "location":
                entry.value = location
        (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def measured(device: CpuDevice, path: Path) -> None:
    """Open a model as it lies and as one piece, and profile its operators."""
    artifact = read_model(path)
    x = np.ones((1, 64), np.float32)
    for each in (artifact, type(artifact)(artifact.data, "onnx", "one piece")):
        with device.open(each) as session:
            np.testing.assert_allclose(session.run({"x": x}).outputs["y"], x @ WEIGHT, rtol=1e-5)
    assert device.profile_operators(artifact, Settings(), 2).operators


def _as_a_hub(folder: Path) -> Path:
    """Both files are links into one folder of blobs, under names that say nothing."""
    save(folder / "made")
    (folder / "blobs").mkdir()
    (folder / "snap").mkdir()
    for number, name in enumerate(("m.onnx", "m.data")):
        os.rename(folder / "made" / name, folder / "blobs" / str(number))
        (folder / "snap" / name).symlink_to(f"../blobs/{number}")
    return folder / "snap" / "m.onnx"


def _data_elsewhere(folder: Path) -> Path:
    """Only the data is a link, and leads out of the folder."""
    path = save(folder / "made")
    (folder / "far" / "away").mkdir(parents=True)
    os.rename(folder / "made" / "m.data", folder / "far" / "away" / "0")
    (folder / "made" / "m.data").symlink_to(folder / "far" / "away" / "0")
    return path


def _both_elsewhere(folder: Path) -> Path:
    """Each file is a link into another folder."""
    path = _data_elsewhere(folder)
    (folder / "other").mkdir()
    os.rename(path, folder / "other" / "model")
    path.symlink_to(folder / "other" / "model")
    return path


def _linked_folder(folder: Path) -> Path:
    """The folder is a link."""
    save(folder / "made")
    (folder / "linked").symlink_to(folder / "made")
    return folder / "linked" / "m.onnx"


def _in_a_folder(folder: Path) -> Path:
    """The data lies in a folder of the model's."""
    path = save(folder / "made", "weights/m.data")
    (folder / "made" / "weights").mkdir()
    os.rename(folder / "made" / "m.data", folder / "made" / "weights" / "m.data")
    return path


@pytest.mark.parametrize("place", [_as_a_hub, _data_elsewhere, _both_elsewhere, _linked_folder, _in_a_folder])
def test_links_are_followed(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    with CpuDevice() as device:
        measured(device, place(tmp_path))


@pytest.mark.parametrize("location", ["../m.data", "a/../../m.data", "/etc/passwd", "..\\m.data", "C:\\m.data"])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, refuses: Refuses, location: str) -> None:
    (tmp_path / "m.data").write_bytes(WEIGHT.tobytes())
    path = save(tmp_path / "made", location)
    said = refuses(lambda: read_model(path))
    assert "external data lies outside its folder" in said
    assert "m.onnx" in said


def test_what_is_no_data(tmp_path: Path, refuses: Refuses) -> None:
    path = save(tmp_path)
    (tmp_path / "m.data").unlink()
    assert "m.data" in refuses(lambda: read_model(path))
    os.mkfifo(tmp_path / "m.data")
    assert "m.data" in refuses(lambda: read_model(path))
    (tmp_path / "m.data").unlink()
    (tmp_path / "m.data").write_bytes(b"short")
    assert "ends too soon" in refuses(lambda: read_model(path).data)
    with CpuDevice() as device:
        assert "m" in refuses(lambda: device.open(read_model(path)))


def test_a_digest_covers_the_data(tmp_path: Path) -> None:
    path = save(tmp_path)
    before = read_model(path)
    digest = before.sha256
    with (tmp_path / "m.data").open("r+b") as file:
        file.write(b"\1")
    assert read_model(path).sha256 != digest
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(before.data)
    assert read_model(alone).sha256 == hashlib.sha256(alone.read_bytes()).hexdigest()


def test_choices_read_nothing(tmp_path: Path) -> None:
    path = save(tmp_path)
    artifact = read_model(path)
    (tmp_path / "m.data").unlink()
    chosen = artifact.with_feeding(Feeding(signature="s"))
    assert (chosen.file, chosen.feeding.signature) == (artifact.file, "s")
