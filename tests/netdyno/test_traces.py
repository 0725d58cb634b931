"""Leftovers on a machine: files of our own cache folder, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netdyno.exporters import GraphBuilder, write

pytestmark = pytest.mark.alone

INFER = """
import numpy, onnxruntime
session = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
session.run(None, {session.get_inputs()[0].name: numpy.zeros((1, 3), "float32")})
"""


def left_by(home: Path, *arguments: str) -> set[str]:
    """Files below a fresh home folder after this Python has run; models lie in the working folder."""
    builder = GraphBuilder("m")
    graph = builder.build(builder.unary("relu", builder.input("x", (1, 3))))
    for kind in ("onnx", "tflite"):
        (home.parent / f"m.{kind}").write_bytes(write(graph, kind).data)
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    subprocess.run(
        [sys.executable, *arguments], env=kept | {"HOME": str(home)}, check=True, cwd=home.parent, capture_output=True
    )
    return {str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("words", [("m.onnx",), ("m.tflite", "--no-operators")])
def test_a_profile(tmp_path: Path, words: tuple[str, ...]) -> None:
    left = left_by(tmp_path / "home", "-m", "netdyno", "profile", *words, "--budget", "1s")
    assert left
    assert all(path.startswith(".cache/netdyno/") for path in left)


def test_a_program_that_uses_the_library(tmp_path: Path) -> None:
    assert left_by(tmp_path / "home", "-c", f"import netdyno{INFER}") == set()


def test_this_would_show_it(tmp_path: Path) -> None:
    left = left_by(tmp_path / "home", "-c", INFER)
    if not left:
        pytest.skip("this release of ONNX Runtime leaves nothing anyway")
    assert any("onnxruntime" in path for path in left)
