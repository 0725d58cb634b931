"""Tiny models, and a look at which worker processes live."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from netdyno.base.artifact import Artifact, TensorSpec
from netdyno.devices.cpu import CpuDevice
from netdyno.devices.testing import Case
from netdyno.exporters import GraphBuilder, write

PATIENCE_S = 20.0


@pytest.fixture(scope="class")
def device() -> Iterator[CpuDevice]:
    with CpuDevice() as device:
        yield device


def _onnx(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: tuple[Any, ...] = ()) -> Artifact:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return Artifact(model.SerializeToString(), "onnx", "tiny")


def _floats(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _add() -> Artifact:
    values = [_floats(name, 2, 3) for name in "abc"]
    return _onnx([helper.make_node("Add", ["a", "b"], ["c"])], values[:2], values[2:])


def _dynamic() -> Artifact:
    node = helper.make_node("Relu", ["x"], ["y"])
    return _onnx([node], [_floats("x", "batch", 3)], [_floats("y", "batch", 3)])


def _embedding() -> Artifact:
    table = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "table")
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, (5,))
    node = helper.make_node("Gather", ["table", "tokens"], ["y"])
    return _onnx([node], [tokens], [_floats("y", 5, 3)], (table,))


def _texts() -> Artifact:
    text = [helper.make_tensor_value_info(name, TensorProto.STRING, (1,)) for name in "xy"]
    return _onnx([helper.make_node("Identity", ["x"], ["y"])], text[:1], text[1:])


def _endless() -> Artifact:
    """A loop that takes hours."""
    condition = [helper.make_tensor_value_info(name, TensorProto.BOOL, ()) for name in ("go", "on")]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Sin", ["v"], ["w"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, ()), condition[0], _floats("v", 4)],
        [condition[1], _floats("w", 4)],
    )
    weights = (
        numpy_helper.from_array(np.array(2**40), "trips"),
        numpy_helper.from_array(np.array(True), "start"),
    )
    node = helper.make_node("Loop", ["trips", "start", "x"], ["y"], body=body)
    return _onnx([node], [_floats("x", 4)], [_floats("y", 4)], weights)


def _heavy() -> Artifact:
    """A product with 40 MB of weights."""
    weight = numpy_helper.from_array(np.full((2500, 4000), 0.5, np.float32), "weight")
    node = helper.make_node("MatMul", ["x", "weight"], ["y"])
    return _onnx([node], [_floats("x", 1, 2500)], [_floats("y", 1, 4000)], (weight,))


def _tflite() -> Artifact:
    return write(_linear(), "tflite")


def _dynamic_tflite() -> Artifact:
    """The linear model with its batch left open, and without the specs that our writer gives."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(_tflite().data, 0)
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shapeSignature = [-1, 3]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return Artifact(bytes(builder.Output()), "tflite", "tiny")


def _linear() -> Any:
    builder = GraphBuilder("linear")
    weight = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    return builder.build(builder.linear(builder.input("x", (1, 3)), weight, np.ones(2, np.float32), name="y"))


@pytest.fixture(scope="session")
def trtexec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to be put on a PATH: a stand-in for ``trtexec``, and a Python that has done so."""
    folder = tmp_path_factory.mktemp("trtexec")
    program = Path(__file__).with_name("trtexec.py")
    (folder / "trtexec").write_text(f'#!/bin/sh\nexec {sys.executable} -P {program} "$@"\n')
    (folder / "python").write_text(f'#!/bin/sh\nPATH="{folder}:$PATH" exec {sys.executable} "$@"\n')
    for name in ("trtexec", "python"):
        (folder / name).chmod(0o755)
    return folder


_MODELS = {
    "add": _add,
    "dynamic": _dynamic,
    "dynamic-tflite": _dynamic_tflite,
    "embedding": _embedding,
    "endless": _endless,
    "heavy": _heavy,
    "linear-tflite": _tflite,
    "texts": _texts,
}


@pytest.fixture(scope="session")
def model() -> Callable[..., Artifact]:
    """An artifact by name; shapes may be given as keywords."""

    def make(name: str, **shapes: tuple[int, ...]) -> Artifact:
        artifact = _MODELS[name]()
        inputs = tuple(TensorSpec(name, shape) for name, shape in shapes.items()) or artifact.inputs
        return Artifact(artifact.data, artifact.format, name, inputs)

    return make


@pytest.fixture(scope="session")
def cases() -> list[Case]:
    x = np.array([[1, -2, 3]], np.float32)
    y = np.array([[7, 13]], np.float32)
    linear = []
    for suffix in ("onnx", "tflite"):
        artifact = write(_linear(), suffix)
        linear.append(Case(artifact, {artifact.inputs[0].name: x}, {"y": y}))
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 3), np.float32)
    return [*linear, Case(_add(), {"a": a, "b": b}, {"c": a + b})]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


class Processes:
    """The worker processes on this machine."""

    def of(self, parent: int) -> set[int]:
        """Workers and zombies that descend from a process."""
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        parents = {pid: int(stat[1]) for pid in pids if (stat := _stat(pid))}
        found: set[int] = set()
        while new := {pid for pid, above in parents.items() if above in found | {parent}} - found:
            found |= new
        return found

    def lives(self, pid: int) -> bool:
        stat = _stat(pid)
        return bool(stat) and stat[0] != "Z"

    def cpu_ticks(self, pid: int) -> int:
        stat = _stat(pid)
        return int(stat[11]) + int(stat[12]) if stat else 0

    def wait_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail("what was waited for did not happen")
            time.sleep(0.01)

    def wait_until_busy(self, pid: int) -> None:
        """Until a process has computed for a tenth of a second from now."""
        ticks = self.cpu_ticks(pid) + os.sysconf("SC_CLK_TCK") // 10
        self.wait_until(lambda: self.cpu_ticks(pid) >= ticks)


@pytest.fixture(scope="session")
def processes() -> Processes:
    return Processes()


@pytest.fixture
def other_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Runs Python code in a process of its own group, as a terminal would."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
