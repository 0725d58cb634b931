"""Every file of a table, run, bundle, supernet and journal damaged or replaced: refused, or the right answer."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from netdyno.nas.search import search
from netdyno.nas.search.journal import Journal as SearchJournal
from netdyno.nas.ship import ship
from netdyno.nas.supernets.store import make_supernet, save_supernet
from netdyno.nas.supernets.train import Training
from netdyno.profiler.energy import Window
from netdyno.profiler.journal import Journal, Visit
from netdyno.profiler.samples import make_samples
from netdyno.profiler.table import LookupTable, format_genes, make_rows
from netdyno.profiler.windows import make_windows
from netdyno.runs import write_run

PLACES, SAMPLE = 200, 4
MORE_S, MORE_MB = 2, 500
Ask = Callable[[str, Path], dict[str, Any]]


def _damage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("damage", Path(__file__).with_name("damage.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for each reader of ``damage.py``, as netdyno writes it."""
    damage, folder = _damage(), tmp_path_factory.mktemp("specimens")
    problem = damage.problem()
    space, generator = problem.space, np.random.default_rng(0)
    _write_table(space, folder / "table", generator)
    supernet = make_supernet(space)
    save_supernet(supernet, folder / "supernet", data="digits", training=Training())
    ship(supernet.extract(space.smallest()), folder / "bundle", ["onnx", "tflite"])
    objectives = {"objectives": [each.name for each in problem.objectives]}
    write_run(folder / "run", {"method": "random", **objectives}, search(space, problem.objectives, "random", 60))
    (folder / "search").mkdir()
    with SearchJournal(folder / "search/journal.sqlite", problem, {"method": "sweep"}) as kept:
        kept.knows(X := space.sample(40, 1))
        kept._position = {}
        kept.scores(X, problem)
    with Journal(folder / "journal/journal.sqlite", damage.CONDITIONS) as journal:
        for number in range(1, 40):
            for name in "abc":
                journal.visit(name, number, generator.integers(1000, 2000, 20))
        journal.memory("a", 4096)
        journal.energy("a", Window(5.0, 1.0, 2.0, 100))
        journal.flag(1, 3, "hot")
    return folder


def _write_table(space: Any, folder: Path, generator: np.random.Generator) -> None:
    rows, visits = {}, {}
    for layer in space.vocabulary():
        latency_ms = generator.uniform(1, 2, 5)
        low, middle, high = np.quantile(latency_ms, [0, 0.5, 1]).tolist()
        rows[layer.key] = {"latency_ms": middle, "latency_ms_low": low, "latency_ms_high": high, "method": "measured"}
        visits[layer.key] = [Visit(1, number, latency_ms[number : number + 1]) for number in range(5)]
    genes = {format_genes(own): {"latency_ms": 9.5, "method": "measured"} for own in space.sample(10, 0)}
    windows = make_windows({name: [Window(5.0, 1.0, 2.0, 100)] for name in rows})
    layers, networks = make_rows("layer", rows), make_rows("genes", genes)
    conditions = {"device": {"name": "x"}, "runtime": "onnxruntime", "threads": 1}
    LookupTable("specimen", conditions, layers, networks, make_samples(visits), windows).save(folder)


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Opens a folder in a forked child of a process that has all that it takes loaded, and has no threads."""
    command = [sys.executable, str(Path(__file__).with_name("damage.py"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL  # it warns of every file that was changed
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, text=True, env=environment
    ) as server:
        stdin, stdout = server.stdin, server.stdout
        assert stdin is not None and stdout is not None

        def run(reader: str, path: Path) -> dict[str, Any]:
            stdin.write(json.dumps({"reader": reader, "path": str(path)}) + "\n")
            stdin.flush()
            found: dict[str, Any] = json.loads(stdout.readline())
            return found

        yield run
        stdin.close()


def _damages(content: bytes, places: int, generator: random.Random) -> Iterator[tuple[str, bytes]]:
    """The content with one bit or one byte another, and cut short, at so many places each."""
    positions = generator.sample(range(len(content)), min(places, len(content)))
    for number, at in enumerate(positions):
        byte = content[at] ^ (1 << generator.randrange(8)) if number % 2 else generator.randrange(256)
        yield f"byte {at} is {byte}", content[:at] + bytes([byte]) + content[at + 1 :]
    for at in generator.sample(range(len(content)), min(places, len(content))):
        yield f"cut at {at}", content[:at]


REPLACEMENTS: dict[str, Callable[[Path, Path], None]] = {
    "pipe": lambda path, good: os.mkfifo(path),
    "/dev/zero": lambda path, good: path.symlink_to("/dev/zero"),
    "folder": lambda path, good: path.mkdir(),
    "dangling link": lambda path, good: path.symlink_to(good.with_name("nowhere")),
    "link to itself": lambda path, good: path.symlink_to(path.name),
    "link to a good file": lambda path, good: path.symlink_to(good),
}


def _clear(path: Path) -> None:
    """Remove a specimen's file, whatever stands there, and what SQLite left beside it."""
    for each in (path, *path.parent.glob(f"{path.name}-*")):
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink(missing_ok=True)


def _judge(kind: str, name: str, what: str, found: dict[str, Any], plain: dict[str, Any]) -> str:
    """The outcome in a word; fails where it is none of those that are right."""
    where = f"{kind}/{name}, {what}: {found}, plain {plain}"
    assert found["outcome"] != "fault", where
    assert found["cpu_s"] <= plain["cpu_s"] + MORE_S, where
    assert found["peak_mb"] <= plain["peak_mb"] + MORE_MB, where
    if found["outcome"] in ("refused", "edited"):
        return found["outcome"]
    if found["text"] == plain["text"]:
        return "right"
    raise AssertionError(f"another answer, and nothing said: {where}")


def _try(kind: str, places: int, specimens: Path, scratch: Path, ask: Ask) -> Counter[str]:
    """Damage each file of a specimen, open what it has become, and count the outcomes."""
    copy, good = scratch / kind, specimens / kind
    shutil.copytree(good, copy)
    plain = ask(kind, copy)
    assert plain["outcome"] == "answer", plain
    outcomes: Counter[str] = Counter()
    for file in sorted(each for each in good.iterdir() if not each.name.endswith(("-wal", "-shm"))):
        path, content = copy / file.name, file.read_bytes()
        generator = random.Random(f"{kind} {file.name} {places}")  # noqa: S311
        for what, damaged in _damages(content, places, generator):
            _clear(path)
            path.write_bytes(damaged)
            outcomes[f"{file.name} damaged: {_judge(kind, file.name, what, ask(kind, copy), plain)}"] += 1
        for what, replace in REPLACEMENTS.items():
            _clear(path)
            replace(path, file)
            outcomes[f"{file.name} replaced: {_judge(kind, file.name, what, ask(kind, copy), plain)}"] += 1
            assert not file.with_name("nowhere").exists() and file.read_bytes() == content, "written outside"
        _clear(path)
        path.write_bytes(content)
    assert ask(kind, copy)["text"] == plain["text"]
    return outcomes


KINDS = ["table", "run", "bundle", "supernet", "journal", "search"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_damages(kind: str, specimens: Path, tmp_path: Path, ask: Ask) -> None:
    assert _try(kind, SAMPLE, specimens, tmp_path, ask).total()


@pytest.mark.sweep
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_damage(kind: str, specimens: Path, tmp_path: Path, ask: Ask) -> None:
    outcomes = _try(kind, PLACES, specimens, tmp_path, ask)
    print("\n".join(f"{kind}/{what}: {count}" for what, count in sorted(outcomes.items())))
