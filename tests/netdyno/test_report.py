"""The report: what it says is what the run holds, a browser draws it, and nothing in a run can speak through it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.exporters.bundle import write_bundle
from netdyno.nas.pareto import non_dominated
from netdyno.nas.search.front import Front
from netdyno.nas.space import Space, parse_genes
from netdyno.profiler.layers import Overhead
from netdyno.profiler.table import LookupTable, format_genes, make_rows
from netdyno.report import facts, write_report
from netdyno.report.breakdown import breakdown
from netdyno.report.validation import error_lines
from netdyno.runs import BUNDLES, MEASURED_COLUMNS, Run, load_run, write_measured, write_run

NAMES = ("fast", "balanced", "accurate")
SCRIPT = "<script>hit = 1</script><img src=x onerror='hit = 1'>"
CONDITIONS = {
    "device": {"id": "cpu", "name": "Test CPU", "cores": 2, "memory_bytes": 8_000_000_000, "virtual_machine": 0},
    "runtime": "onnxruntime",
    "threads": 1,
    "versions": {"onnxruntime": "1.2.3"},
    "method": {"budget_s": 30.0, "least_rounds": 6, "spread": 0.01, "seed": 7},
    "measured": "2026-11-22T09:40Z",
    "state_before": {"clock_mhz": 2596.1},
    "state_after": {"clock_mhz": 2400.0},
}


def make_table(space: Space, conditions: dict[str, Any]) -> LookupTable:
    """Made-up costs that grow with the work of a layer."""
    rows = {Overhead().key: 0.002} | {layer.key: 0.004 + layer.macs / 1e7 for layer in space.vocabulary()}
    readings = {
        key: {"latency_ms": ms, "latency_ms_low": ms * 0.99, "latency_ms_high": ms * 1.01, "samples": 10}
        for key, ms in rows.items()
    }
    return LookupTable("made-up", conditions, make_rows("layer", readings))


def make_run(
    out: Path, space: Space, names: tuple[str, ...] = NAMES, conditions: dict[str, Any] = CONDITIONS, **given: Any
) -> Run:
    """A run in the true format: a table, a front, and eight measured points, the first of them shipped."""
    table = make_table(space, conditions)
    table.save(out / "table")
    X = space.canonical(space.sample(400, seed=0))
    latency, accuracy = table.cost(space, "latency_ms")(X), 60 + 35 * space.params(X) / space.params(X).max()
    F = np.stack([latency, 100 - accuracy], axis=1)
    kept = non_dominated(F)
    kept = kept[np.argsort(F[kept, 0])]
    front = Front(space, ("latency_ms", "error_pct"), X[kept], F[kept], 400)
    descriptor = {"method": "random", "seed": 3, "evaluations": 400, "table": "table", "data": "digits"}
    write_run(out, descriptor | given, front)
    chosen = kept[:8]
    rows = pd.DataFrame(
        {
            "genes": [format_genes(genes) for genes in X[chosen]],
            "winner": [*names, *[""] * (8 - len(names))],
            "latency_ms_predicted": latency[chosen],
            "latency_ms": latency[chosen] * 1.25,
            "latency_ms_low": latency[chosen] * 1.2,
            "latency_ms_high": latency[chosen] * 1.3,
            "accuracy_pct_predicted": accuracy[chosen],
            "accuracy_pct": accuracy[chosen] - 2,
            "test_accuracy_pct": accuracy[chosen] - 3,
            "macs": space.macs(X[chosen]),
            "params": space.params(X[chosen]),
            "peak_activation_bytes": space.peak_activation_bytes(X[chosen]),
        }
    )
    write_measured(out, rows[list(MEASURED_COLUMNS)])
    return load_run(out)


class Page(HTMLParser):
    """Elements with their attributes, the text of scripts and styles, and the rest of the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "": []}
        self._raw = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.inside[""]).replace("\u00a0", " ").split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._raw = tag if tag in self.inside else ""
        if self._raw:
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw:
            self.inside[self._raw][-1] += data
        else:
            self.inside[""].append(data)

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.inside["script"][0])
        return found


@pytest.fixture(scope="module")
def run(tmp_path_factory, narrow) -> Run:
    made = make_run(tmp_path_factory.mktemp("run"), narrow)
    genes = parse_genes(narrow, made.winners["genes"].iloc[0])
    shape = narrow.layers(genes)[0].input_shape
    bundle = made.path / BUNDLES / "fast"
    write_bundle(narrow.graph(genes), bundle, ["onnx"], np.zeros(shape), np.zeros((1, 10)), {})
    return made


@pytest.fixture(scope="module")
def page(run) -> Page:
    return Page(write_report(run))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, narrow) -> Run:
    """A run whose every text is an attack, or is too long for a line."""
    conditions = json.loads(json.dumps(CONDITIONS).replace("Test CPU", SCRIPT).replace("1.2.3", SCRIPT))
    conditions |= {"runtime": "x" * 5000, "state_before": {SCRIPT: SCRIPT}}
    predictor = {"method": SCRIPT, "cv_mae_pct": float("nan")}
    names = (SCRIPT, "../../../etc", "%{x} </script>")
    return make_run(tmp_path_factory.mktemp("hostile"), narrow, names, conditions, data=SCRIPT, predictor=predictor)


def test_the_headline_is_the_result(run, page) -> None:
    first, last = run.winners.iloc[0], run.winners.iloc[-1]
    ends = [f"{row['latency_ms']:.2f} ms at {row['test_accuracy_pct']:.1f} %" for row in (first, last)]
    assert f"Three networks for this Test CPU: {ends[0]} to {ends[1]}" in page.text


def test_winners_show_what_was_measured_and_predicted(run, page) -> None:
    for row in run.winners.to_dict("records"):
        assert f"Latency {row['latency_ms']:.3f} ms {row['latency_ms_predicted']:.3f} ms" in page.text
        assert f"95 % interval {row['latency_ms_low']:.3f}–{row['latency_ms_high']:.3f}" in page.text
        assert f"Search accuracy {row['accuracy_pct']:.1f} % {row['accuracy_pct_predicted']:.1f} %" in page.text
        assert f"Test accuracy {row['test_accuracy_pct']:.1f} %" in page.text


def test_links_lead_to_the_bundle_s_files(run, page) -> None:
    links = [link for link in page.attributes("href") if link.startswith(BUNDLES)]
    assert {Path(link).name for link in links} == {"card.json", "model.onnx", "golden_input.npy", "golden_output.npy"}
    assert all((run.path / unquote(link)).is_file() for link in links)
    assert "netdyno verify bundles/fast" in page.text


def test_agreement_is_in_words(page) -> None:
    """Measured latency was made 25 % longer than predicted, measured accuracy two points lower."""
    assert "Predictions are off by 20.0 % on average; 0 of 8 are too high. They put 100 % of all pairs" in page.text
    assert "Predictions are off by 2.0 points on average; 8 of 8 are too high." in page.text


def test_conditions_are_all_there(page) -> None:
    for words in (
        *("Name Test CPU", "Memory 8.0 GB", "Virtual machine no", "onnxruntime 1.2.3", "22 November 2026, 09:40 UTC"),
        *(
            "Overhead of a call 0.002 ms",
            "Median interval, layers 2.0 % wide",
            "Budget 30 s",
            "Tight enough ± 1.0 %",
            "Evaluations 400",
        ),
        *("Seed of the shuffling 7", "Clock MHz 2596.1 2400"),
    ):
        assert words in page.text


def test_figures_hold_the_run_s_points(run, page) -> None:
    figures = page.figures()
    assert list(figures) == ["front", "latency", "accuracy", "layers"]
    assert [trace["name"] for trace in figures["front"]["data"]] == ["predicted", "measured", "shipped"]
    assert [len(trace["text"]) for trace in figures["front"]["data"][1:]] == [5, 3]
    assert {note["text"] for note in figures["front"]["layout"]["annotations"]} == {f"<b>{n}</b>" for n in NAMES}


def test_a_breakdown_adds_up_to_the_predicted_latency(run, narrow) -> None:
    cost = make_table(narrow, {}).cost(narrow, "latency_ms")
    for genes in (narrow.smallest(), narrow.largest(), *narrow.sample(20, seed=1)):
        parts = breakdown(cost, narrow, genes)
        assert sum(part.latency_ms for part in parts) == pytest.approx(float(cost(genes[None])[0]))
        assert len(parts) == 1 + len(narrow.layers(genes))


def test_the_costliest_layers_come_first_with_their_share(run, narrow, page) -> None:
    genes = parse_genes(narrow, run.winners["genes"].iloc[0])
    parts = breakdown(make_table(narrow, {}).cost(narrow, "latency_ms"), narrow, genes)
    total = sum(part.latency_ms for part in parts)
    costliest = sorted(parts, key=lambda part: -part.latency_ms)[:5]
    rows = [f"{p.label} {p.shape} {p.latency_ms:.4f} {100 * p.latency_ms / total:.1f} %" for p in costliest]
    assert f"fast : the costliest of {len(parts) - 1} layers layer ms share {' '.join(rows)}" in page.text


def test_layers_have_readable_names(narrow) -> None:
    cost = make_table(narrow, {}).cost(narrow, "latency_ms")
    labels = [part.label for part in breakdown(cost, narrow, narrow.largest())]
    assert labels[:4] == ["overhead of a call", "stem · conv 3×3", "stem · k3 e1", "unit 1.1 · k7 e6"]
    assert labels[-5:] == ["unit 5.4 · k7 e6", "head · conv 1×1", "head · pool", "head · conv 1×1", "head · linear"]
    assert labels.index("unit 3.1 · k7 e6") - labels.index("unit 2.1 · k7 e6") == 4


def test_a_search_alone_gives_its_front_alone(tmp_path, narrow) -> None:
    make_run(tmp_path, narrow)
    (tmp_path / "measured.csv").unlink()
    page = Page(write_report(load_run(tmp_path)))
    assert list(page.figures()) == ["front"]
    assert "Ten networks on the predicted front for this Test CPU: latency 0.18 to 0.419 ms, accuracy" in page.text
    assert "Left out: no network of this run was measured and shipped yet." in page.text


def test_a_front_of_one_network_has_no_ends(tmp_path, narrow) -> None:
    make_run(tmp_path, narrow)
    (tmp_path / "measured.csv").unlink()
    run = load_run(tmp_path)
    one = replace(run, front=replace(run.front, X=run.front.X[:1], F=run.front.F[:1]))
    assert "One network on the predicted front for this Test CPU: latency 0.18 ms," in Page(write_report(one)).text


@pytest.mark.parametrize(
    ("table", "why"), [(None, "without a lookup table"), ("gone", "no table here"), ("n" * 300, "no table here")]
)
def test_without_a_table_it_says_why(tmp_path, narrow, table, why) -> None:
    page = Page(write_report(make_run(tmp_path, narrow, table=table)))
    assert page.text.count(why) == 2
    assert list(page.figures()) == ["front", "latency", "accuracy"]


def test_readings_that_are_no_numbers_are_dashes(tmp_path, narrow) -> None:
    run = make_run(tmp_path, narrow)
    nothing = dict.fromkeys(["latency_ms", "latency_ms_high", "accuracy_pct_predicted"], np.nan)
    page = Page(write_report(replace(run, measured=run.measured.assign(**nothing, latency_ms_predicted=np.inf))))
    assert "Latency – –" in page.text and "Predictions are off by – on average" in page.text


def test_an_implausible_table_is_named_instead_of_drawn(tmp_path, narrow) -> None:
    run = make_run(tmp_path, narrow)
    table = tmp_path / "table" / "layers.csv"
    table.write_text(table.read_text().replace("overhead,0.002,", "overhead,inf,"))
    page = Page(write_report(run))
    assert "Left out: table made-up: overhead: latency_ms is inf" in page.text
    assert "layers" not in page.figures()


def test_other_objectives_have_their_units(tmp_path, narrow) -> None:
    run = make_run(tmp_path, narrow, names=())
    front = replace(run.front, objectives=("macs", "params"), F=np.array([[1e6, 3e6]] * len(run.front)))
    layout = Page(write_report(replace(run, front=front))).figures()["front"]["layout"]
    assert layout["xaxis"]["title"]["text"] == "Multiply-accumulates (millions)"
    front = replace(run.front, objectives=("macs",), F=run.front.F[:, :1])
    assert "front" not in Page(write_report(replace(run, front=front))).figures()


def test_nothing_is_loaded_from_anywhere(page) -> None:
    assert page.attributes("src") == []
    assert all(link.startswith((BUNDLES, "data:,")) for link in page.attributes("href"))
    assert not re.search(r"@import|url\(|https?:", "".join(page.inside["style"]))


def test_the_policy_allows_the_page_s_own_scripts_only(page) -> None:
    (policy,) = [value for value in page.attributes("content") if value.startswith("default-src 'none'")]
    scripts = page.inside["script"][1:]
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert re.findall(r"script-src ([^;]*);", policy) == [" ".join(f"'sha256-{digest}'" for digest in digests)]


def test_hostile_text_stays_text(hostile) -> None:
    page = Page(write_report(hostile))
    assert [tag for tag, _ in page.elements].count("script") == 3
    assert "img" not in {tag for tag, _ in page.elements}
    assert not page.attributes("onerror")
    assert page.text.count(SCRIPT) > 5
    assert page.attributes("href") == ["data:,"]  # no bundle outside the run's folder
    assert SCRIPT not in json.dumps(page.figures())  # Plotly reads tags in its texts


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
)


@given(values=st.fixed_dictionaries({}, optional=dict.fromkeys((*CONDITIONS, "predictor", "evaluations"), JSON)))
def test_conditions_may_be_any_json(run, narrow, values) -> None:
    table = make_rows("layer", {})
    hostile = replace(run, descriptor=values)
    lookup = LookupTable("any", values, table)
    groups = [*facts.table_facts(lookup, hostile), facts.search_facts(hostile)]
    rows = [row for group in groups for row in group.rows] + facts.states(lookup)
    assert all(isinstance(cell, str) and len(cell) <= 200 for row in rows for cell in row)


def test_text_that_no_file_can_hold_is_replaced(tmp_path, narrow) -> None:
    page = Page(write_report(make_run(tmp_path, narrow, data="half \ud800 of a pair")))
    assert "half ? of a pair" in page.text


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("which", ["run", "hostile"])
def test_a_browser_draws_it_at_every_width(request, browse, which, width) -> None:
    run = request.getfixturevalue(which)
    seen, complaints, paths = browse(write_report(run), width)
    assert complaints == []
    assert sorted(paths) == ["/report.html", "/wrapper.html"]
    assert seen["points"]["front"] == len(run.front) + len(run.measured)
    assert seen["points"]["latency"] == seen["points"]["accuracy"] == len(run.measured)
    assert seen["points"]["layers"] >= 3 * 16
    assert seen["client"] == width == seen["scroll"]
    assert all(right <= width for right in seen["wide"])
    assert seen["ink"] == [seen["page"]] * 4
    assert seen["hit"] == "undefined"


@pytest.mark.parametrize(("share", "lines"), [(36.4, 1), (0.0, 0), ("much", 0), (None, 0), (True, 0)])
def test_that_a_device_was_slow_is_told_where_it_often_was(share: object, lines: int) -> None:
    told = list(error_lines({"slowed_visits_pct": share}))
    assert len(told) == lines and all("slow at 36 % of visits" in line for line in told)
