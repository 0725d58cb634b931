"""The whole road, on real input in a small size, and what it leaves behind."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from netdyno.base.errors import InputError
from netdyno.cli.main import app
from netdyno.devices import open_device
from netdyno.exporters.bundle import load_bundle, verify_bundle
from netdyno.nas.data import digits
from netdyno.nas.space import parse_genes
from netdyno.profiler.table import load_table
from netdyno.runs import load_run, pick_winners

pytest.importorskip("torch", reason="the demo trains a supernet")
pytest.importorskip("plotly", reason="the demo writes a report")

from netdyno.demo import RUNTIMES, Demo, Size, clear, demo_space
from netdyno.ensembles import form_ensembles
from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy

pytestmark = pytest.mark.alone

SMALL = Size(
    steps=3, predictor_samples=12, evaluations=600, front_points=5, table_budget_s=12.0, network_budget_s=3.0
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small demo's folder and what it said."""
    counts = dict(digits.COUNTS)
    digits.COUNTS.update(train=200, val=60, test=60)
    digits.load_digits.cache_clear()
    out = tmp_path_factory.mktemp("demo") / "out"
    said: list[str] = []
    Demo(out, SMALL, say=said.append).run()
    yield out, said
    digits.COUNTS.update(counts)
    digits.load_digits.cache_clear()


def test_leaves_tables_front_bundles_and_a_report(finished):
    out, said = finished
    for runtime in RUNTIMES:
        table = load_table(out / "tables" / runtime)
        table.check()
        assert len(table.layers) == len(demo_space().vocabulary()) + 1
        assert table.conditions["runtime"] == runtime
    run = load_run(out)
    assert len(run.measured) == min(SMALL.front_points, len(run.front))
    assert 1 <= len(run.winners) <= 3
    assert (out / "report.html").stat().st_size > 0
    assert [line.split()[0] for line in said[:5]] == ["profile", "profile", "train", "evaluate", "search"]


def test_winners_are_measured_beside_their_predictions(finished):
    out, _ = finished
    run = load_run(out)
    winners = run.winners
    X = np.array([parse_genes(run.space, text) for text in winners["genes"]])
    cost = load_table(out / run.descriptor["table"]).cost(run.space, "latency_ms")
    np.testing.assert_allclose(winners["latency_ms_predicted"], cost(X))
    assert (winners["latency_ms"] > 0).all()
    assert winners["accuracy_pct"].between(0, 100).all()
    assert winners["test_accuracy_pct"].between(0, 100).all()


def test_bundles_verify_and_say_what_they_are(finished):
    out, _ = finished
    run = load_run(out)
    for row in run.winners.to_dict("records"):
        bundle = load_bundle(out / "bundles" / row["winner"])
        with open_device("cpu") as device:
            results = verify_bundle(bundle, device)
        assert [result.format for result in results] == ["onnx", "tflite"]
        assert all(result.ok for result in results)
        card = json.loads((out / "bundles" / row["winner"] / "card.json").read_text())
        assert card["labels"] == list("0123456789")
        assert card["facts"]["latency_ms"] == {
            "measured": row["latency_ms"],
            "predicted": row["latency_ms_predicted"],
        }


def test_second_run_goes_on_from_what_is_there(finished):
    out, _ = finished
    kept = [*out.glob("tables/*/layers.csv"), out / "supernet" / "weights.pt", out / "accuracy.csv"]
    before = {path: path.read_bytes() for path in kept}
    front = load_run(out).front
    said: list[str] = []
    again = Demo(out, SMALL, say=said.append).run()
    assert {path: path.read_bytes() for path in kept} == before
    np.testing.assert_array_equal(again.front.X, front.X)
    assert not [line for line in said if line.startswith(("profile", "train"))]


def test_clear_removes_a_demo_and_nothing_else(finished, tmp_path):
    out, _ = finished
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        clear(mine)
    assert (mine / "thesis.tex").exists()
    clear(tmp_path / "nothing there")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "front.csv").write_bytes((out / "front.csv").read_bytes())
    clear(copy)
    assert not copy.exists()


def test_winners_span_the_measured_front(finished):
    out, _ = finished
    rows = load_run(out).measured.iloc[[0] * 6].reset_index(drop=True)
    rows["latency_ms"] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    rows["accuracy_pct"] = [50.0, 80.0, 85.0, 70.0, 90.0, 89.0]
    picked = pick_winners(rows)
    assert picked["winner"].tolist() == ["fast", "balanced", "", "", "accurate", ""]


def test_ensembles_of_its_subnets(finished, tmp_path, monkeypatch):
    """Formed, shipped and verified by the command line; what the subnets answered is not computed again."""
    out, _ = finished
    words = ["ensemble", str(out), "--out", str(tmp_path), "--pool", "14", "--evaluations", "300", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    table = pd.read_csv(told["ensembles"])
    np.testing.assert_allclose(table[["latency_ms", "error_pct"]], told["F"])
    assert table["size"].between(2, 8).all()
    assert (table["members"].str.split("; ").map(len) == table["size"]).all()
    last = table.iloc[-1]
    run = load_run(out)
    X = np.array([parse_genes(run.space, genes) for genes in last["members"].split("; ")])
    cost = load_table(out / run.descriptor["table"]).cost(run.space, "latency_ms")
    assert told["facts"]["latency_ms"]["predicted"] == pytest.approx(cost(X).sum())
    assert told["facts"]["accuracy_pct"]["measured"] == pytest.approx(100 - last["error_pct"])
    verified = CliRunner().invoke(app, ["verify", told["bundle"], "--json"])
    assert verified.exit_code == 0, verified.output
    assert len(json.loads(verified.stdout)["results"]) == 2 * last["size"]

    asked = []
    monkeypatch.setattr(EvaluatedAccuracy, "probabilities", lambda self, genes: asked.append(genes))
    pool, front = form_ensembles(run, tmp_path, size=14, evaluations=300)
    assert not asked
    np.testing.assert_allclose(front.F, told["F"])
    assert len(pool.X) == 14


@pytest.mark.parametrize("wrong", [["--voting", "loud"], ["--latency", "mean"], ["--point", "999"], ["--pool", "1"]])
def test_ensembles_that_cannot_be(finished, tmp_path, wrong):
    out, _ = finished
    words = ["ensemble", str(out), "--out", str(tmp_path), "--pool", "4", "--evaluations", "50", *wrong]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert not (tmp_path / "bundle").exists()


def test_an_ensemble_needs_a_table(finished, tmp_path):
    out, _ = finished
    run = load_run(out)
    bare = replace(run, descriptor={**run.descriptor, "table": None})
    with pytest.raises(InputError, match="without a table"):
        form_ensembles(bare, tmp_path)
