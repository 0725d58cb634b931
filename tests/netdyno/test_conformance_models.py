"""The ONNX conformance suite: what ONNX Runtime runs, ``netdyno profile`` measures, or says in one line why not.

The suite ships with the ``onnx`` package: models of one operator each, made when they are asked for, and files. Each
is profiled with the inputs that the suite has for it.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import shutil
import signal
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from netdyno.base.clock import process_age_s
from netdyno.cli.main import run

pytestmark = pytest.mark.alone

DATA = Path(onnx.__file__).parent / "backend/test/data"
SAMPLE, SEED = 10, 23
BUDGET_S, LEAST_BUDGET_S = 2.5, 0.2
LONGEST_S = 120
REASONS = {
    "sequences": r"input '\w+' is of a type that netdyno cannot feed: seq",
    "optional inputs": r"input '\w+' is of a type that netdyno cannot feed: opt",
}
"""Why a model that the runtime runs is not measured: what it has, and what the line then says."""


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
        if any(map(_is_extended, named.values())):
            session.run_with_ort_values(None, {name: _ort_value(value) for name, value in named.items()})
        else:
            session.run(None, named)
    except Exception:  # the runtime has many types of its own, and refuses in as many ways
        return None
    return named


def arguments(named: dict[str, Any], folder: Path) -> list[str]:
    """The inputs as the command line takes them: arrays as files, of a wider type where NumPy has none of its own."""
    words = []
    for number, (name, value) in enumerate(named.items()):
        if isinstance(value, np.ndarray):  # no file holds a sequence, or nothing
            np.save(folder / f"{number}.npy", _storable(value))
            words += ["--input", f"{name}={folder / f'{number}.npy'}"]
    return words


def _storable(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if value.dtype.kind == "O":
        return value.astype(str)
    return value.astype(np.int32 if "int" in value.dtype.name else np.float32) if _is_extended(value) else value


def _is_extended(value: Any) -> bool:
    """True where an array is of a type that NumPy itself lacks, such as bfloat16, float8 or int4."""
    return isinstance(value, np.ndarray) and value.dtype.isbuiltin == 2


def _ort_value(value: np.ndarray[Any, Any]) -> Any:
    from onnxruntime import OrtValue

    if not _is_extended(value):
        return OrtValue.ortvalue_from_numpy(value)
    bits = value.view(np.uint16 if value.itemsize == 2 else np.uint8)
    return OrtValue.ortvalue_from_numpy_with_onnx_type(bits, onnx.helper.np_dtype_to_tensor_dtype(value.dtype))


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


def profiled(
    case: Case, named: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str], operators: bool = True
) -> str:
    """Profile a model; returns an empty string if it was measured, else the reason's name.

    Raises:
        AssertionError: neither was it measured, nor does one line of a known kind say why not.
    """
    path = folder / "model.onnx"
    path.write_bytes(case.model)
    capsys.readouterr()
    with deadline(LONGEST_S):
        words = ["profile", str(path), "--json", *arguments(named, folder)]
        if not case.name.startswith("light/"):  # those are whole networks
            # A budget counts from this process's start.
            words += ["--budget", f"{process_age_s() + (BUDGET_S if operators else LEAST_BUDGET_S):.1f}s"]
        code = run(words if operators else [*words, "--no-operators"])
    said = capsys.readouterr()
    assert "Traceback" not in said.err, said.err
    document = json.loads(said.out)
    if code == 0:
        assert document["latency_ms"] > 0 and document["samples"] > 0
        assert not operators or "operators" in document or "no operators: " in said.err
        return ""
    if code == 4:
        assert document["latency_ms"] > 0 and document["valid"] is False
        return ""
    assert code == 2, f"{code}: {said.err}"
    line = document["error"]["message"]
    for reason, pattern in REASONS.items():
        if re.search(pattern, line):
            return reason
    raise AssertionError(f"an unknown reason: {line}")


@pytest.mark.sweep
def test_every_model_that_the_runtime_runs(tmp_path, capsys):
    refused: Counter[str] = Counter()
    faults = []
    for number, case in enumerate(cases().values()):
        if (named := feeds(case)) is None:
            continue
        (folder := tmp_path / str(number)).mkdir()
        try:
            refused[profiled(case, named, folder, capsys)] += 1
        except AssertionError as error:
            faults.append(f"{case.name}: {error}")
        shutil.rmtree(folder)
    measured = refused.pop("", 0)
    reasons = ", ".join(f"{count} {reason}" for reason, count in refused.most_common())
    with capsys.disabled():
        print(
            f"\n{len(cases())} models; run by the runtime: {measured + refused.total() + len(faults)}; "
            f"profiled: {measured}; refused with a line: {refused.total()} ({reasons})"
        )
    assert not faults, "\n".join([f"{len(faults)} at fault:", *faults])


def test_a_sample_of_them(tmp_path, capsys):
    shuffled = np.random.default_rng(SEED).permutation(sorted(cases()))
    run_by_runtime = ((case, named) for name in shuffled if (named := feeds(case := cases()[name])) is not None)
    for number, (case, named) in enumerate(itertools.islice(run_by_runtime, SAMPLE)):
        (folder := tmp_path / str(number)).mkdir()
        profiled(case, named, folder, capsys, operators=number % 2 == 0)
