"""The ONNX conformance suite: what ONNX Runtime runs, ``netdyno profile`` measures, or says in one line why not.

The suite ships with the ``onnx`` package: models of one operator each, made when they are asked for, and files. Each
is profiled with the inputs that the suite has for it.
"""

from __future__ import annotations

import functools
import json
import re
import signal
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from netdyno.cli.main import run

pytestmark = pytest.mark.alone

DATA = Path(onnx.__file__).parent / "backend/test/data"
SAMPLE, SEED = 10, 23
BUDGET = "0.2s"
LONGEST_S = 120
REASONS = {}
"""Why a model that the runtime runs is not measured: a name for the reason, and what the line then says."""


@dataclass(frozen=True)
class Case:
    """A model of the suite, and its first inputs in the order in which the model declares them."""

    name: str
    model: bytes
    inputs: tuple[Any, ...]


@functools.cache
def cases() -> dict[str, Case]:
    """All models of the suite, by name."""
    found = {case.name: case for case in (*_operators(), *_files(), *_light())}
    assert len(found) > 2000
    return found


def _operators() -> Iterator[Case]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite computes with infinities on purpose
        collected = collect_testcases(None)
    for case in collected:
        yield Case(case.name, case.model.SerializeToString(), tuple(map(_value, case.data_sets[0][0])))


def _files() -> Iterator[Case]:
    for path in sorted(DATA.glob("*/*/model.onnx")):
        inputs = path.parent.glob("test_data_set_0/input_*.pb")
        ordered = sorted(inputs, key=lambda file: int(file.stem.partition("_")[2]))
        declared = onnx.load(path).graph.input
        values = tuple(_read(file, each.type) for file, each in zip(ordered, declared, strict=False))
        yield Case(f"{path.parent.parent.name}/{path.parent.name}", path.read_bytes(), values)


def _light() -> Iterator[Case]:
    """Whole networks; the suite feeds them numbers in a row, divided by their count."""
    for path in sorted((DATA / "light").glob("*.onnx")):
        graph = onnx.load(path).graph
        weights = {weight.name for weight in graph.initializer}
        (image,) = [each for each in graph.input if each.name not in weights]
        shape = [side.dim_value for side in image.type.tensor_type.shape.dim]
        values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / np.float32(np.prod(shape))
        yield Case(f"light/{path.stem}", path.read_bytes(), (values,))


def _read(path: Path, declared: onnx.TypeProto) -> Any:
    kind = declared.WhichOneof("value")
    proto = {"sequence_type": onnx.SequenceProto, "optional_type": onnx.OptionalProto}.get(kind, onnx.TensorProto)()
    proto.ParseFromString(path.read_bytes())
    return _value(proto)


def _value(given: Any) -> Any:
    if isinstance(given, onnx.TensorProto):
        return onnx.numpy_helper.to_array(given)
    if isinstance(given, onnx.SequenceProto):
        return onnx.numpy_helper.to_list(given)
    if isinstance(given, onnx.OptionalProto):
        return onnx.numpy_helper.to_optional(given)
    return given if given is None or isinstance(given, list) else np.asarray(given)


def feeds(case: Case) -> dict[str, Any] | None:
    """The inputs by name, if ONNX Runtime runs the model with them."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = onnxruntime.InferenceSession(case.model, options, providers=["CPUExecutionProvider"])
        named = dict(zip((each.name for each in session.get_inputs()), case.inputs, strict=True))
        session.run(None, named)
    except Exception:  # the runtime has many types of its own, and refuses in as many ways
        return None
    return named


def arguments(named: dict[str, Any], folder: Path) -> list[str]:
    """The inputs as the command line takes them: arrays as files."""
    words = []
    for number, (name, value) in enumerate(named.items()):
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufcSU":
            np.save(folder / f"{number}.npy", value)
            words += ["--input", f"{name}={folder / f'{number}.npy'}"]
    return words


@contextmanager
def deadline(seconds: int) -> Iterator[None]:
    """A hang ends as an internal error, which is a failure."""

    def end(number: int, frame: object) -> None:
        raise TimeoutError(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def profiled(case: Case, named: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Profile a model; returns an empty string if it was measured, else the reason's name.

    Raises:
        AssertionError: neither was it measured, nor does one line of a known kind say why not.
    """
    path = folder / "model.onnx"
    path.write_bytes(case.model)
    capsys.readouterr()
    with deadline(LONGEST_S):
        code = run(["profile", str(path), "--budget", BUDGET, "--json", *arguments(named, folder)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err, said.err
    document = json.loads(said.out)
    if code == 0:
        assert document["latency_ms"] > 0 and document["samples"] > 0
        return ""
    if code == 4 and "latency_ms" in document:
        return ""
    assert code == 2, f"{code}: {said.err}"
    line = document["error"]["message"]
    for reason, pattern in REASONS.items():
        if re.search(pattern, line):
            return reason
    raise AssertionError(f"an unknown reason: {line}")


def sweep(names: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Profile what the runtime runs of these models; returns the closing line.

    Raises:
        AssertionError: names every model that fails.
    """
    refused: Counter[str] = Counter()
    faults, run_by_runtime = [], 0
    for number, name in enumerate(names):
        case = cases()[name]
        if (named := feeds(case)) is None:
            continue
        run_by_runtime += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            refused[profiled(case, named, folder, capsys)] += 1
        except AssertionError as error:
            faults.append(f"{name}: {error}")
    assert not faults, f"{len(faults)} of {run_by_runtime}:\n" + "\n".join(faults)
    measured = refused.pop("", 0)
    reasons = ", ".join(f"{count} {reason}" for reason, count in refused.most_common())
    return (
        f"{len(names)} models; run by the runtime: {run_by_runtime}; profiled: {measured}; "
        f"refused with a line: {refused.total()}" + (f" ({reasons})" if reasons else "")
    )
