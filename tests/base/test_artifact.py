from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from netdyno.base.artifact import Artifact, read_artifact

Refuses = Callable[[Callable[[], object]], str]


def test_a_model_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.v2.ONNX"
    path.write_bytes(b"model")
    artifact = read_artifact(path)
    assert (artifact.data, artifact.format, artifact.name, len(artifact)) == (b"model", "onnx", "net.v2", 5)
    assert artifact.sha256 == hashlib.sha256(b"model").hexdigest()
    assert artifact.inputs == ()


def test_its_bytes_are_never_printed() -> None:
    assert "secret" not in repr(Artifact(b"secret", "onnx"))


def test_what_is_no_model_file(tmp_path: Path, refuses: Refuses) -> None:
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "text.txt").write_text("x")
    for name in ("empty.onnx", "folder.onnx", "text.txt", "missing.tflite", "noending"):
        assert name in refuses(lambda name=name: read_artifact(tmp_path / name))
    assert ".onnx" in refuses(lambda: read_artifact(tmp_path / "empty.onnx", formats=("tflite",))).lower()
