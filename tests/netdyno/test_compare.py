"""Runs beside each other, as a user compares them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from netdyno.compare import compare_runs
from netdyno.nas import pareto
from netdyno.profiler.table import LookupTable, load_table
from netdyno.runs import load_run
from tests.netdyno.test_cli import run

pytestmark = pytest.mark.alone

SPACE = "ofa-mobilenetv3:width=1.0,resolutions=224"
TABLES = sorted(path.parent for path in Path("tables").glob("ofa-mobilenetv3-*/layers.csv"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on one of our own tables."""
    folder = tmp_path_factory.mktemp("runs")
    for method in ("ofa2", "random"):
        words = ["--table", str(TABLES[0].resolve()), "--objective", "latency", "--objective", "params"]
        done = run("search", SPACE, *words, "--method", method, "--evaluations", "2000", "--out", method, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def test_figures_and_a_page(runs: Path) -> None:
    done = run("compare", "ofa2", "random", "--out", "page.html", "--json", cwd=runs)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    ahead, behind = told["runs"]
    assert ahead["hypervolume"] > behind["hypervolume"]
    assert 1 >= ahead["share"] > behind["share"] > 0
    assert ahead["hypervolume"] == pytest.approx(pareto.hypervolume(np.array(ahead["F"]), told["reference"]))
    assert ahead["growth"][-1] == [2000, pytest.approx(ahead["hypervolume"])]
    page = (runs / "page.html").read_text()
    assert "Hypervolume over evaluations" in page
    assert "ofa2" in page
    people = run("compare", "ofa2", "random", cwd=runs)
    assert "hypervolume up to" in people.stderr
    assert people.stdout.splitlines()[0].split()[:2] == ["run", "method"]


def test_on_another_device(runs: Path) -> None:
    """What is optimal here is not there: scores are those of the other table."""
    table: LookupTable = load_table(TABLES[-1])
    own = load_run(runs / "ofa2")
    done = run("compare", "ofa2", "random", "--on", str(TABLES[-1].resolve()), "--json", cwd=runs)
    assert done.returncode == 0, done.stderr
    F = np.array(json.loads(done.stdout)["runs"][0]["F"])
    assert len(F) <= len(own.front)
    assert set(F[:, 0]) <= set(table.cost(own.space, "latency_ms")(own.front.X).tolist())


def test_runs_that_cannot_be_compared(runs: Path) -> None:
    done = run("search", SPACE, "--objective", "macs", "--evaluations", "10", "--out", "other", cwd=runs)
    assert done.returncode == 0, done.stderr
    refused = run("compare", "ofa2", "other", cwd=runs)
    assert refused.returncode == 2
    assert "other: minimises macs" in refused.stderr


def test_one_objective(runs: Path) -> None:
    run("search", SPACE, "--objective", "macs", "--evaluations", "10", "--out", "single", cwd=runs)
    compared = compare_runs([load_run(runs / "single")])
    assert len(compared.rows) == 1
    done = run("compare", "single", "--out", "single.html", cwd=runs)
    assert done.returncode == 0, done.stderr


def test_a_search_begins_with_another_run(runs: Path) -> None:
    words = ["--objective", "latency", "--objective", "params", "--table", str(TABLES[-1].resolve())]
    done = run(
        "search", SPACE, *words, "--start", "ofa2", "--evaluations", "150", "--out", "warm", "--json", cwd=runs
    )
    assert done.returncode == 0, done.stderr
    cold = run("search", SPACE, *words, "--evaluations", "150", "--out", "cold", "--json", cwd=runs)
    compared = compare_runs([load_run(runs / "warm"), load_run(runs / "cold")])
    assert cold.returncode == 0
    assert compared.rows[0].share > compared.rows[1].share


def test_a_search_that_is_cut_goes_on(runs: Path) -> None:
    words = ["search", SPACE, "--objective", "macs", "--objective", "params", "--seed", "5"]
    whole = run(*words, "--evaluations", "3000", "--out", "whole", "--json", cwd=runs)
    run(*words, "--evaluations", "1234", "--out", "cut", cwd=runs)
    resumed = run(*words, "--evaluations", "3000", "--out", "cut", "--json", cwd=runs)
    assert json.loads(resumed.stdout)["X"] == json.loads(whole.stdout)["X"]
    refused = run(*words, "--set", "population=50", "--out", "cut", cwd=runs)
    assert refused.returncode == 2
    assert "--fresh" in refused.stderr
    assert (
        run(*words, "--set", "population=50", "--evaluations", "100", "--out", "cut", "--fresh", cwd=runs).returncode
        == 0
    )
