from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact
from netdyno.base.errors import DeviceError, InputError, UnknownName
from netdyno.devices.cpu import CpuDevice
from netdyno.devices.device import Settings
from netdyno.devices.workers import WorkerSession
from netdyno.exporters.writers import write
from netdyno.profiler.journal import Journal
from netdyno.profiler.layers import Layer, Overhead
from netdyno.profiler.lower import lower
from netdyno.profiler.measure import Bench, Method, check_metrics
from netdyno.profiler.model import profile_model
from netdyno.profiler.profile import profile_layers, profile_networks
from netdyno.profiler.profiling import Profiling
from netdyno.profiler.samples import make_samples
from netdyno.profiler.statistics import estimate
from netdyno.profiler.table import JOURNAL, load_table

pytestmark = pytest.mark.alone

Refuses = Callable[[Callable[[], object]], str]

QUICK = Method(visit_s=0.0005, warm_up_s=0.0005, least_rounds=3, most_rounds=3, memory=False)
ONNX = Settings("onnxruntime")


@pytest.fixture(autouse=True)
def _an_undisturbed_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where visits are counted, no other virtual machine's theft of time may add any."""
    monkeypatch.setattr(CpuDevice, "faults", lambda *_: [])


class Candidate:
    """Hands out a layer's artifact, and counts how often."""

    def __init__(self, layer: Layer) -> None:
        self.artifact = write(lower(layer), "onnx")
        self.made = 0

    def __call__(self) -> Artifact:
        self.made += 1
        return self.artifact


def own_workers() -> list[int]:
    """The worker processes that this process started."""
    own = os.getpid()
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _parent(entry) == own and b"netdyno" in (entry / "cmdline").read_bytes()
    ]


def kill_workers() -> None:
    for process in own_workers():
        os.kill(process, signal.SIGKILL)


def _parent(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _conditions() -> dict[str, str]:
    return {"what": "test"}


def test_rounds_are_counted_and_a_second_run_takes_nothing(
    cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path
) -> None:
    path = tmp_path / JOURNAL
    for _ in range(2):
        candidates = {layer.key: Candidate(layer) for layer in tiny_layers}
        with Journal(path, _conditions()) as journal:
            Bench(cpu, ONNX, candidates, journal, QUICK).run()
            assert {name: len(visits) for name, visits in journal.visits().items()} == dict.fromkeys(candidates, 3)
            visits = [visit for own in journal.visits().values() for visit in own]
            assert {visit.start for visit in visits} == {1, 2, 3}
            assert all((visit.latency_ms > 0).all() for visit in visits)
    assert not any(candidate.made for candidate in candidates.values()), "the second run opened something"


def test_every_start_is_a_process_of_its_own(cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path) -> None:
    workers: dict[str, set[int]] = {}

    def tell(stage: str, done: int, total: int, note: str = "") -> None:
        workers.setdefault(note.partition(",")[0], set()).update(own_workers())

    candidates = {layer.key: Candidate(layer) for layer in tiny_layers}
    with Journal(tmp_path / JOURNAL, _conditions()) as journal:
        Bench(cpu, ONNX, candidates, journal, replace(QUICK, least_rounds=6, most_rounds=6), tell).run()
        for own in journal.visits().values():
            assert Counter(visit.start for visit in own) == {1: 2, 2: 2, 3: 2}
    first, second, third = (workers[f"start {number} of 3"] for number in (1, 2, 3))
    assert first and second and third
    assert not first & second and not second & third and not first & third


def test_a_spent_budget_is_the_end_and_the_same_command_goes_on(
    cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path
) -> None:
    candidates = {layer.key: Candidate(layer) for layer in tiny_layers}
    hurried = replace(QUICK, budget_s=1e-9)
    with Journal(tmp_path / JOURNAL, _conditions()) as journal:
        Bench(cpu, ONNX, candidates, journal, hurried).run()
        assert journal.visits() == {}
    with Journal(tmp_path / JOURNAL, _conditions()) as journal:
        Bench(cpu, ONNX, candidates, journal, QUICK).run()
        assert {name: len(visits) for name, visits in journal.visits().items()} == dict.fromkeys(candidates, 3)


def test_a_small_budget_goes_to_the_lower_ranks_and_to_latency(
    cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path
) -> None:
    order: list[str] = []

    class Noted(Journal):
        def visit(self, candidate: str, round: int, latency_ns: NDArray[np.int64]) -> None:
            order.append(candidate)
            super().visit(candidate, round, latency_ns)

        def memory(self, candidate: str, peak_bytes: int) -> None:
            order.append(f"memory of {candidate}")
            super().memory(candidate, peak_bytes)

    candidates = {layer.key: Candidate(layer) for layer in tiny_layers}
    ranks = {layer.key: 1 for layer in tiny_layers[:2]}
    with Noted(tmp_path / JOURNAL, _conditions()) as journal:
        Bench(cpu, ONNX, candidates, journal, replace(QUICK, memory=True), ranks=ranks).run()
    first = order[: len(candidates)]
    assert set(first[:2]) == {layer.key for layer in tiny_layers[2:]}
    assert set(first[2:]) == set(ranks)


def test_a_round_in_which_the_device_was_not_itself_is_flagged(
    cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path
) -> None:
    layers = tiny_layers[-2:]
    faults = iter([["throttled by heat"], [], []])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CpuDevice, "faults", lambda *_: next(faults, []))
        table = profile_layers(layers, Profiling(cpu, ONNX, QUICK, tmp_path / "a"), subject="x")
    assert table.conditions["flagged_rounds"] == {"throttled by heat": 1}
    assert (table.layers["valid"] == 1).all()
    assert (table.layers["starts"] == 3).all(), "what is flagged is made up for"
    assert (table.samples["round"] > 1).all(), "and left out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CpuDevice, "faults", lambda *_: ["throttled by heat"])
        table = profile_layers(layers, Profiling(cpu, ONNX, QUICK, tmp_path / "b"), subject="x")
    assert (table.layers["valid"] == 0).all()
    assert set(table.layers["method"]) == {"flagged: throttled by heat"}
    assert (table.layers["latency_ms"] > 0).all(), "what was read is still told"
    table = profile_layers(layers, Profiling(cpu, ONNX, QUICK, tmp_path / "b"), subject="x")
    assert (table.layers["valid"] == 1).all(), "the same run on a calm machine mends it"


def test_a_batch_is_a_condition_and_takes_longer(cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path) -> None:
    layers = tiny_layers[:1]
    one, many = (profile_layers(layers, Profiling(cpu, ONNX, QUICK, batch=n), subject="x") for n in (1, 64))
    assert (one.conditions["batch"], many.conditions["batch"]) == (1, 64)
    key = layers[0].key
    assert many.layers.loc[key, "latency_ms"] > 1.5 * one.layers.loc[key, "latency_ms"]


def test_memory_is_made_up_for_where_an_earlier_run_left_it_out(
    cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path
) -> None:
    candidates = {layer.key: Candidate(layer) for layer in tiny_layers[-2:]}
    with Journal(tmp_path / JOURNAL, _conditions()) as journal:
        Bench(cpu, ONNX, candidates, journal, QUICK).run()
        assert journal.memories() == {}
        Bench(cpu, ONNX, candidates, journal, replace(QUICK, memory=True)).run()
        assert set(journal.memories()) == set(candidates)


def test_rows_are_rid_of_slow_seconds_and_samples_are_not(cpu: CpuDevice, tiny_layers: list[Layer]) -> None:
    """A device that takes three times as long for thirty calls of every ninety."""
    calls = count()
    timed = WorkerSession.time

    def at_times_slow(self: WorkerSession, repeat: int) -> NDArray[np.int64]:
        return timed(self, repeat) * (3 if next(calls) % 90 >= 60 else 1)

    candidates = {f"candidate {number}": Candidate(tiny_layers[-1]) for number in range(24)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerSession, "time", at_times_slow)
        method = replace(QUICK, least_rounds=12, most_rounds=12)
        readings = Profiling(cpu, ONNX, method).measure(candidates, "x")
    samples = make_samples(readings.visits)
    assert samples["slowdown"].max() > 2 and readings.conditions["slowed_visits_pct"] > 10
    assert samples["latency_ms"].max() > 2 * samples["latency_ms"].median(), "what was read is kept"
    for name, visits in readings.visits.items():
        usual_ms = [visit.latency_ms / visit.slowdown for visit in visits]
        assert readings.rows[name]["latency_ms"] == estimate(usual_ms, [visit.start for visit in visits]).median


def test_a_killed_worker_costs_one_visit(cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path) -> None:
    candidates = {layer.key: Candidate(layer) for layer in tiny_layers}
    armed, killed = [], []
    timed = WorkerSession.time

    def tell(stage: str, done: int, total: int, note: str = "") -> None:
        if "round 2" in note:
            armed.append(note)

    def fatal(self: WorkerSession, repeat: int) -> NDArray[np.int64]:
        if armed and not killed:
            kill_workers()
            killed.append(repeat)
        return timed(self, repeat)

    with Journal(tmp_path / JOURNAL, _conditions()) as journal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerSession, "time", fatal)
        Bench(cpu, ONNX, candidates, journal, QUICK, tell).run()
        assert killed
        assert {name: len(visits) for name, visits in journal.visits().items()} == dict.fromkeys(candidates, 3)
        assert [len(reasons) for reasons in journal.failures().values()] == [1]
        assert {visit.start for visits in journal.visits().values() for visit in visits} == {1, 2, 3, 4}


def test_a_candidate_that_always_kills_is_given_up(cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path) -> None:
    candidates = {layer.key: Candidate(layer) for layer in tiny_layers}
    culprit = tiny_layers[1].key
    with Journal(tmp_path / JOURNAL, _conditions()) as journal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerSession, "time", _fatal_to_time(candidates[culprit].artifact))
        Bench(cpu, ONNX, candidates, journal, QUICK).run()
        assert len(journal.failures()[culprit]) == 2
        assert {name: len(visits) for name, visits in journal.visits().items()} == {
            name: 3 for name in candidates if name != culprit
        }


@pytest.mark.parametrize("together", [2, 64])
def test_a_culprit_among_those_that_are_visited_together_is_found(
    together: int, cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path
) -> None:
    """None of the others is blamed, and none of their visits is lost or made twice."""
    candidates = {layer.key: Candidate(layer) for layer in tiny_layers}
    culprit = tiny_layers[-1].key
    sizes: list[int] = []

    def fatal(turns: Sequence[tuple[WorkerSession, int]]) -> Iterator[NDArray[np.int64]]:
        sizes.append(len(turns))
        for session, repeat in turns:
            if session._artifact == candidates[culprit].artifact and len(journal.visits()) == len(candidates):
                kill_workers()  # from the second round on: in the first each is alone, as it gets ready
            yield session.time(repeat)

    with Journal(tmp_path / JOURNAL, _conditions()) as journal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "together", together)
        patch.setattr(cpu, "time_all", fatal)
        Bench(cpu, ONNX, candidates, journal, replace(QUICK, starts=1)).run()
        assert {name: len(reasons) for name, reasons in journal.failures().items()} == {culprit: 2}
        counts = {name: len(visits) for name, visits in journal.visits().items()}
        assert counts == {name: 1 if name == culprit else 3 for name in candidates}
    assert max(sizes) == min(together, len(candidates)), "they were visited together at first"


def _fatal_to_time(artifact: Artifact) -> Callable[..., NDArray[np.int64]]:
    """A session's ``time`` during which the worker is killed whenever that artifact's turn has come."""
    timed = WorkerSession.time

    def fatal(self: WorkerSession, repeat: int) -> NDArray[np.int64]:
        if self._artifact == artifact:
            kill_workers()
        return timed(self, repeat)

    return fatal


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_layers_become_a_table(runtime: str, cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path) -> None:
    method = Method(visit_s=0.0005, warm_up_s=0.0005, least_rounds=2, most_rounds=2)
    run = Profiling(cpu, Settings(runtime), method, tmp_path / "out")
    table = profile_layers([*tiny_layers, tiny_layers[0]], run, subject="tiny:x=1")
    table.check()
    assert list(table.layers.index) == ["overhead", *(layer.key for layer in tiny_layers)]
    assert (table.layers["valid"] == 1).all()
    assert table.layers[["latency_ms", "memory_bytes", "samples", "starts"]].notna().all(axis=None)
    assert table.name == f"tiny-cpu-{runtime}"
    assert table.conditions["runtime"] == runtime
    read = load_table(tmp_path / "out")
    assert read.layers.equals(table.layers)
    assert (tmp_path / "out" / JOURNAL).is_file()
    again = profile_layers(tiny_layers, run, subject="tiny:x=1")
    assert again.layers.equals(table.layers), "the same call again takes nothing anew"


def test_a_table_leaves_other_files_alone(cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    profile_layers(tiny_layers[-1:], Profiling(cpu, ONNX, QUICK, tmp_path), subject="x")
    profile_layers(tiny_layers[-1:], Profiling(cpu, ONNX, QUICK, tmp_path, fresh=True), subject="y")
    assert (tmp_path / "thesis.tex").read_text() == "years"


def test_other_conditions_need_fresh(
    cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path, refuses: Refuses
) -> None:
    layers, out = tiny_layers[-1:], tmp_path / "out"
    profile_layers(layers, Profiling(cpu, ONNX, QUICK, out), subject="a")
    refuses(lambda: profile_layers(layers, Profiling(cpu, ONNX, QUICK, out), subject="b"))
    assert load_table(out).conditions["subject"] == "a"
    profile_layers(layers, Profiling(cpu, ONNX, QUICK, out, fresh=True), subject="b")
    assert load_table(out).conditions["subject"] == "b"


def test_whole_networks_become_rows(cpu: CpuDevice, tiny_layers: list[Layer]) -> None:
    rows = profile_networks({"0 1": lower(tiny_layers[0]), "0 2": lower(tiny_layers[3])}, Profiling(cpu, ONNX, QUICK))
    assert list(rows.index) == ["0 1", "0 2"]
    assert (rows["latency_ms"] > 0).all()


def test_a_model_file_is_profiled(cpu: CpuDevice, tiny_layers: list[Layer]) -> None:
    report = profile_model(write(lower(tiny_layers[1]), "tflite"), cpu, Settings(), Method(budget_s=0.2))
    assert report.runtime == "litert"
    assert report.latency_ms_min <= report.latency_ms_low <= report.latency_ms <= report.latency_ms_high
    assert report.latency_ms_p90 <= report.latency_ms_p99
    assert report.samples > 0
    assert report.memory_bytes is not None and report.memory_bytes > 0


@pytest.mark.parametrize("budget_s", [1e-6, 0.001, 0.05])
def test_a_spent_budget_still_tells_a_quick_model_s_latency(
    cpu: CpuDevice, tiny_layers: list[Layer], budget_s: float
) -> None:
    model = write(lower(tiny_layers[1]), "onnx")
    report = profile_model(model, cpu, ONNX, Method(budget_s=budget_s, memory=False))
    assert report.samples > 10 and report.latency_ms < report.first_ms
    assert report.latency_ms_low is not None and report.latency_ms_low <= report.latency_ms


def test_methods_and_metrics_that_cannot_be(refuses: Refuses) -> None:
    refuses(lambda: Method(budget_s=0))
    assert check_metrics(["memory"]) == {"latency", "memory"}
    assert check_metrics([]) == {"latency"}
    assert check_metrics(["power"]) == {"latency", "energy", "power"}
    with pytest.raises(UnknownName, match="did you mean 'memory'"):
        check_metrics(["memry"])


def test_an_unknown_runtime_is_told(cpu: CpuDevice, tiny_layers: list[Layer]) -> None:
    with pytest.raises(InputError, match="unknown runtime 'onnx'"):
        profile_layers(tiny_layers, Profiling(cpu, Settings("onnx"), QUICK), subject="x")


def test_when_everything_dies_the_run_ends(cpu: CpuDevice, tiny_layers: list[Layer], tmp_path: Path) -> None:
    candidate = Candidate(tiny_layers[0])
    with Journal(tmp_path / JOURNAL, _conditions()) as journal, pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkerSession, "time", _fatal_to_time(candidate.artifact))
        with pytest.raises(DeviceError, match="every candidate failed"):
            Bench(cpu, ONNX, {"a": candidate}, journal, QUICK).run()


def test_a_refused_candidate_is_a_row_that_says_so(cpu: CpuDevice, tmp_path: Path) -> None:
    """One artifact that the runtime refuses costs its own row, not the others'."""
    good = write(lower(Overhead()), "onnx")
    candidates = {"good": lambda: good, "bad": lambda: Artifact(b"no model", "onnx", "bad")}
    method = Method(visit_s=0.0005, warm_up_s=0.0005, least_rounds=2, most_rounds=2)
    with Journal(tmp_path / "journal.sqlite", {}) as journal:
        Bench(cpu, Settings("onnxruntime"), candidates, journal, method).run()
        assert len(journal.visits()["good"]) == 2
        assert "bad" not in journal.visits()
        assert len(journal.failures()["bad"]) == 1
