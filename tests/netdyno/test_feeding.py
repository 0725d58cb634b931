"""Users' choices of a model's inputs: checked before anything runs, and told with the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from netdyno.base.artifact import Artifact
from netdyno.base.errors import InputError
from netdyno.cli.feeding import Choices, choose
from netdyno.cli.main import app
from netdyno.exporters.read import read_model


def save(path: Path, nodes: list[Any], inputs: list[Any], weights: dict[str, Any] | None = None) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info("y", T.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def two(tmp_path: Path) -> list[Artifact]:
    """Two models: ``in:x:0`` of [n, 16], and ``a=b`` and ``ids`` of [batch, seq]."""
    relu = [helper.make_node("Relu", ["in:x:0"], ["y"])]
    one = save(tmp_path / "one.onnx", relu, [("in:x:0", T.FLOAT, ["n", 16])])
    nodes = [helper.make_node("Cast", ["ids"], ["f"], to=T.FLOAT), helper.make_node("Add", ["a=b", "f"], ["y"])]
    inputs = [("a=b", T.FLOAT, ["batch", "seq"]), ("ids", T.INT64, ["batch", "seq"])]
    return [read_model(one), read_model(save(tmp_path / "two.onnx", nodes, inputs))]


def test_each_model_gets_its_own_part(two: list[Artifact]) -> None:
    choices = Choices(["in:x:0:8x16"], ["seq=4", "batch=2"], ["a=b=0.5", "in:x:0=0..1", "ids=3"])
    first, second = (artifact.feeding for artifact in choose(two, choices))
    assert (first.shapes, first.dimensions, first.values) == ((("in:x:0", (8, 16)),), (), (("in:x:0", "0..1"),))
    assert second.dimensions == (("seq", 4), ("batch", 2))
    assert second.values == (("a=b", "0.5"), ("ids", "3"))


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        (Choices(shapes=["1x3"]), "name the input"),
        (Choices(shapes=["in:x:1x16"]), "known: a=b, ids, in:x:0"),
        (Choices(shapes=["ids:1x4", "ids:2x4"]), "'ids' is given twice"),
        (Choices(shapes=["in:x:0:8x17"], dimensions=["seq=4"]), "nx16 in the model, not 8x17"),
        (Choices(dimensions=["seq=4", "seq=4"]), "given twice"),
        (Choices(dimensions=["sequence=4"]), "known: batch, n, seq"),
        (Choices(dimensions=["seq"]), "write it like batch=1"),
        (Choices(dimensions=["seq=-1"]), "write it like batch=1"),
        (Choices(dimensions=["seq=99999999999"]), "--dim"),
        (Choices(dimensions=["batch=2"]), "--dim seq=128"),
        (Choices(dimensions=["seq=4"], values=["ids"]), "write it like"),
        (Choices(dimensions=["seq=4"], values=["id=1"]), "known: a=b, ids"),
        (Choices(dimensions=["seq=4"], values=["ids=0.5"]), "an integer in"),
        (Choices(dimensions=["seq=4"], values=["ids=9..1"]), "lower end first"),
        (Choices(dimensions=["seq=4"], values=["ids=no.npy"]), "no.npy"),
        (Choices(dimensions=["seq=4"], values=["ids=1", "ids=2"]), "given twice"),
        (Choices(signature="s"), "TFLite"),
    ],
)
def test_what_cannot_be(two: list[Artifact], choices: Choices, told: str) -> None:
    with pytest.raises(InputError) as caught:
        choose(two, choices)
    assert told in str(caught.value)


def test_a_file_gives_the_shape(two: list[Artifact], tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.ones((3, 5), np.int64))
    (chosen,) = choose(two[1:], Choices(values=[f"ids={tmp_path / 'ids.npy'}"]))
    assert chosen.feeding.values[0][0] == "ids"
    with pytest.raises(InputError, match="3x5"):
        choose(two[1:], Choices(shapes=["ids:1x5"], values=[f"ids={tmp_path / 'ids.npy'}"]))


@pytest.mark.alone
def test_what_is_fed_is_told(tmp_path: Path) -> None:
    weights = {"w": np.ones((9, 4), np.float32)}
    path = save(
        tmp_path / "g.onnx", [helper.make_node("Gather", ["w", "i"], ["y"])], [("i", T.INT64, ["n"])], weights
    )
    ready = ["--budget", "0.5s", "--no-operators", "--metrics", "latency"]
    told = CliRunner().invoke(app, ["profile", str(path), *ready, "--json", "--input", "i=3..4", "--dim", "n=2"])
    assert json.loads(told.stdout)["inputs"] == [
        {"name": "i", "shape": [2], "dtype": "int64", "values": "random integers 3..4"}
    ]
    text = CliRunner().invoke(app, ["profile", str(path), *ready]).stdout
    assert "random integers 0..8 (indices of Gather)" in " ".join(text.split())
    curve = CliRunner().invoke(app, ["profile", str(path), "--sustained", "500ms", "--json", "--input", "i=7"])
    assert json.loads(curve.stdout)["inputs"][0]["values"] == "7"
