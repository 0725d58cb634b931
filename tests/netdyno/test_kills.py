"""Every command that writes, killed between every two changes that it makes to files.

Afterwards the old result stands there or the new one, whole; the same command again ends well, and leaves nothing but
what it leaves when nobody kills it. ``make sweep`` takes every position, ``make test`` a few of each quick command.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdyno.base.errors import InputError
from netdyno.exporters import write
from netdyno.exporters.bundle import load_bundle
from netdyno.nas.search.front import Front
from netdyno.nas.space import make_space, parse_space
from netdyno.profiler.table import JOURNAL, LookupTable, load_table, make_rows
from netdyno.runs import CASCADES, load_run, write_run

pytest.importorskip("torch", reason="trains supernets: needs the extra train")
pytest.importorskip("plotly", reason="writes reports: needs the extra report")
pytestmark = pytest.mark.alone

KILLS = Path(__file__).with_name("kills")
SPACE = "ofa-mobilenetv3:width=0.25,resolutions=48,classes=10"
CASCADE = "cnn-caffenet:resolution=12,width=0.1,every=3"
DESCENT = "single-path:width=0.1,resolution=32,classes=10"
TELEMETRY = ".ses"
"""Files that ONNX Runtime leaves in the folder for temporary files."""
SAMPLES = 2


class Lab:
    """A folder to work in, and processes that run commands there and may be killed."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler here to make the library that kills: apt install gcc libc6-dev")
        self.folder, self.inputs, self.work, self.tmp = (folder, *(folder / name for name in ("in", "work", "tmp")))
        for path in (self.inputs, self.work, self.tmp):
            path.mkdir()
        shim = folder / "shim.so"
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", shim, KILLS / "shim.c"], check=True)
        environment = {**os.environ, "LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(KILLS / "server.py")]
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)

    def run(self, words: list[str], at: int = 0) -> int:
        """Run a command, killed in place of its change number ``at``; returns its exit code."""
        assert self._server.stdin is not None and self._server.stdout is not None
        where = {"cwd": str(self.work), "tmp": str(self.tmp), "output": str(self.folder / "output")}
        self._server.stdin.write(json.dumps({"words": words, "at": at, **where}) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def said(self) -> str:
        """Output of the last command."""
        return (self.folder / "output").read_text()

    def counted(self) -> tuple[int, list[int]]:
        """Changes of the last command, which was not killed, and after how many of them readings were kept."""
        known = json.loads((self.folder / "output.json").read_text())
        return known["changes"], known["kept"]

    def restore(self, content: Path | None) -> None:
        """Make the working folder what it was."""
        shutil.rmtree(self.work)
        shutil.copytree(content, self.work) if content else self.work.mkdir()

    def left(self) -> set[str]:
        """Everything that is in the working folder and in that for temporary files."""
        found = {str(path.relative_to(self.work)) for path in self.work.rglob("*")}
        return found | {f"tmp/{path.name}" for path in self.tmp.iterdir() if path.name != TELEMETRY}

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()


@dataclass(frozen=True)
class Case:
    """A command over an old result: words that made it, words of the command, and what a reader finds.

    ``read`` takes the working folder. A ``measured`` result is another each time: ``read`` tells old and new apart.
    One that has ``finished`` measuring goes on from its own journal. ``quick`` are those that ``make test`` samples.
    """

    name: str
    old: list[str]
    new: list[str]
    read: Callable[[Path], Any]
    finished: bool = False
    quick: bool = True


def _table(name: str) -> Callable[[Path], Any]:
    def read(work: Path) -> Any:
        if not (work / name).exists():
            return None
        table = load_table(work / name)
        assert not table.edited
        return table.name, table.layers.to_csv(), table.networks.to_csv(), str(table.conditions)

    return read


def _measured(name: str) -> Callable[[Path], Any]:
    """A table that is another each time it is measured: whole, and whose it is."""

    def read(work: Path) -> Any:
        table = load_table(work / name)
        assert not table.edited and table.problems() == []
        return table.name

    return read


def _run(work: Path) -> Any:
    run = load_run(work / "r")
    assert not run.edited
    parts = (run.front.F, run.front.X, run.front.growth, run.history, run.leads, run.measured)
    return [np.asarray(part).tolist() for part in parts], run.descriptor["seed"]


def _bytes(*names: str) -> Callable[[Path], Any]:
    return lambda work: [(work / name).read_bytes() if (work / name).exists() else None for name in names]


def _page(name: str) -> Callable[[Path], Any]:
    """A page names its figures anew each time."""
    return lambda work: (work / name).read_text().endswith("</html>\n") if (work / name).exists() else None


def _bundle(name: str) -> Callable[[Path], Any]:
    return lambda work: {k: len(v) for k, v in sorted(load_bundle(work / name).contents.items())}


def _cascade(work: Path) -> Any:
    from netdyno.nas.adaptive.bundle import KIND
    from netdyno.nas.composite import load_composite
    from netdyno.runs import cascade_parts

    parts = cascade_parts(work / "c")
    assert not parts.edited
    rows = [path.read_text() for name in (CASCADES, "members.csv", "thresholds.csv") if (path := parts.path(name))]
    return len(rows), len(load_composite(KIND, work / "c" / "bundle").members)


def _ensemble(work: Path) -> Any:
    from netdyno.nas.composite import load_composite
    from netdyno.nas.ensembles.bundle import KIND

    return (work / "e" / "ensembles.csv").exists(), len(load_composite(KIND, work / "e" / "bundle").members)


def _supernet(work: Path) -> Any:
    from netdyno.nas.supernets.store import load_supernet

    supernet, descriptor = load_supernet(work / "s")
    return float(sum(value.double().sum() for value in supernet.state_dict().values())), descriptor["training"]


def _import(name: str, out: str) -> list[str]:
    return ["table", "import", f"../in/{name}", "--format", "ofa-yaml", "--out", out]


def _train(seed: int) -> list[str]:
    return ["train", SPACE, "--steps", "1", "--batch", "2", "--seed", str(seed), "--out", "s"]


def _search(seed: int) -> list[str]:
    objectives = ["--objective", "macs", "--objective", "params"]
    return ["search", SPACE, *objectives, "--evaluations", "300", "--seed", str(seed), "--fresh", "--out", "r"]


def _descend(seed: int) -> list[str]:
    settings = ["--set", "steps=2", "--set", "batch=4"]
    return ["search", DESCENT, "--method", "single-path", "--table", "../in/descent", *settings, "--fresh",
            "--seed", str(seed), "--out", "r"]  # fmt: skip


def _export(point: str) -> list[str]:
    return ["export", "../in/run", "--point", point, "--to", "onnx", "--out", "b"]


def _form(evaluations: int) -> list[str]:
    return ["ensemble", "../in/run", "--pool", "2", "--evaluations", str(evaluations), "--to", "onnx", "--out", "e"]


def _cascades(networks: int) -> list[str]:
    return ["cascade", CASCADE, "--table", "../in/cascade", "--constraint", "latency_ms<=1e9", "--networks",
            str(networks), "--method", "random", "--evaluations", "2", "--accuracy", "train:steps=1,batch=4",
            "--to", "onnx", "--out", "c"]  # fmt: skip


MODELS = ["../in/small.onnx", "../in/large.onnx"]
LATENCY = ["--metrics", "latency"]
PROFILE = ["profile", "nasbench201", "--no-networks", *LATENCY, "--out", "t"]
CASES = [
    Case("import", _import("many", "t"), _import("one", "t"), _table("t")),
    Case("export-table", ["table", "export", "../in/exported", "--format", "ofa-yaml", "--out", "x"],
         ["table", "export", "../in/exported-too", "--format", "ofa-yaml", "--out", "x"],
         _bytes("x/48_lookup_table.yaml")),
    Case("check", ["table", "check", "../in/exported", "--against", "../in/exported", "--markdown", "m.md"],
         ["table", "check", "../in/exported", "--against", "../in/exported", "--junit", "j.xml"],
         _bytes("m.md", "j.xml")),
    Case("train", _train(1), _train(2), _supernet),
    Case("search", _search(1), _search(2), _run),
    Case("descend", _descend(1), _descend(2), _run, quick=False),
    Case("compare", ["compare", "../in/run", "--out", "page.html"],
         ["compare", "../in/run", "../in/run", "--out", "page.html"], _page("page.html")),
    Case("report", _search(1), ["report", "r"], _page("r/report.html"), quick=False),
    Case("export", _export("0"), _export("1"), _bundle("b"), quick=False),
    Case("ensemble", _form(2), _form(4), _ensemble, quick=False),
    Case("cascade", _cascades(3), _cascades(2), _cascade, quick=False),
    Case("profile-model", _import("many", "t"),
         ["profile", MODELS[0], "--budget", "300ms", "--no-operators", *LATENCY, "--out", "t"], _measured("t")),
    Case("profile-sustained", ["table", "list", "../in"],
         ["profile", MODELS[0], "--sustained", "500ms", "--out", "t"],
         lambda work: (work / "t/small-sustained.csv").exists(), quick=False),
    Case("profile-models", _import("many", "t"),
         ["profile", *MODELS, "--budget", "6s", *LATENCY, "--out", "t"], _measured("t"), quick=False),
    Case("profile-space", _import("many", "t"), [*PROFILE, "--budget", "15s"], _measured("t"), quick=False),
    Case("profile-space-finished", _import("many", "t"), PROFILE, _measured("t"), finished=True, quick=False),
]  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("kills"))
    _fill(lab)
    yield lab
    lab.close()


def _fill(lab: Lab) -> None:
    """Tables, models, a supernet and a run that the commands begin with."""
    for name, sizes in (("many", (32, 48)), ("one", (32,))):
        (lab.inputs / name).mkdir()
        for size in sizes:
            entry = f"Conv-input:{size}x{size}x3-output:16x16x8:\n  count: 9\n  mean: 1.{len(name)}\n  std: 0.25\n"
            (lab.inputs / name / f"{size}_lookup_table.yaml").write_text(entry)
    space = make_space("ofa-mobilenetv3", width=0.25, resolutions=[48], classes=10)
    for name, factor in (("exported", 1.0), ("exported-too", 2.0)):
        _cost_work(SPACE, factor).save(lab.inputs / name)
    for name, text in (("cascade", CASCADE), ("descent", DESCENT), ("table", SPACE)):
        _cost_work(text).save(lab.inputs / name)
    for name, genes in (("small", space.smallest()), ("large", space.largest())):
        (lab.inputs / f"{name}.onnx").write_bytes(write(space.graph(genes), "onnx").data)
    assert lab.run(_train(0)) == 0, lab.said()
    shutil.move(lab.work / "s", lab.inputs / "supernet")
    X = np.unique(space.canonical(np.stack([space.smallest(), space.largest()])), axis=0)
    front = Front(space, ("latency_ms", "error_pct"), X, np.array([[1.0, 9.0], [2.0, 8.0]]), 2)
    known = {"objectives": ["latency_ms", "error_pct"], "table": "../table", "supernet": "../supernet"}
    write_run(lab.inputs / "run", known, front)


def _cost_work(space: str, factor: float = 1.0) -> LookupTable:
    """A table whose layers cost their work."""
    layers = parse_space(space).vocabulary()
    rows = {layer.key: {"latency_ms": factor * (0.001 + layer.macs / 1e6)} for layer in layers}
    return LookupTable("twin", {}, make_rows("layer", rows))


@dataclass
class Prepared:
    """A case that was run once: its old result, what a reader finds of both, what the new leaves, the positions."""

    case: Case
    start: Path
    states: tuple[Any, Any]
    left: set[str]
    positions: list[int]


def _prepare(case: Case, lab: Lab) -> Prepared:
    lab.restore(None)
    assert lab.run(case.old) == 0, lab.said()
    old = case.read(lab.work)
    start = lab.folder / f"start-{case.name}"
    if not start.exists():
        shutil.copytree(lab.work, start)
    assert lab.run(case.new) == 0, lab.said()
    if case.finished:  # from its own journal, over the old table
        for path in (lab.work / "t").glob(f"{JOURNAL}*"):
            shutil.copy(path, start / "t" / path.name)
        lab.restore(start)
        assert lab.run(case.new) == 0, lab.said()
    changes, kept = lab.counted()
    positions = list(range(1, changes + 1))
    if kept and not case.finished:
        positions = [at for at in positions if at <= kept[1] + 1 or at > kept[-1]]
    return Prepared(case, start, (old, case.read(lab.work)), lab.left(), positions)


def _kill(prepared: Prepared, at: int, lab: Lab) -> str:
    """Kill the command there, and check what it left; returns which of both results a reader finds."""
    case = prepared.case
    lab.restore(prepared.start)
    code = lab.run(case.new, at)
    assert code in (-9, 0), lab.said()  # a measurement may make fewer changes than the one before
    try:
        state = case.read(lab.work)
    except InputError as error:
        pytest.fail(f"{case.name} killed at change {at}: {error}")
    assert state in prepared.states, f"{case.name} killed at change {at}"
    assert lab.run(case.new) == 0, f"{case.name} killed at change {at}: {lab.said()}"
    assert case.read(lab.work) == prepared.states[1], f"{case.name} killed at change {at}"
    assert lab.left() == prepared.left, f"{case.name} killed at change {at}"
    return "old" if state == prepared.states[0] else "new"


@pytest.mark.parametrize("case", [case for case in CASES if case.quick], ids=lambda case: case.name)
def test_killed_anywhere_the_old_result_stands_or_the_new(case: Case, lab: Lab) -> None:
    prepared = _prepare(case, lab)
    drawn = np.random.default_rng(0).permutation(prepared.positions)[:SAMPLES].tolist()
    for at in drawn:
        _kill(prepared, at, lab)


@pytest.mark.sweep
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_position(case: Case, lab: Lab, record_property: Callable[[str, Any], None]) -> None:
    prepared = _prepare(case, lab)
    found = [_kill(prepared, at, lab) for at in prepared.positions]
    counts = {state: found.count(state) for state in ("old", "new")}
    record_property("positions", counts)
    print(f"{case.name}: {len(found)} positions, {counts}")
