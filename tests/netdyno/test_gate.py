"""``table check --against`` and ``table diff`` as a build server meets them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from netdyno.profiler.compare import Change, Comparison, parse_limit
from netdyno.profiler.table import shipped_tables
from netdyno.report.gate import junit, markdown

pytestmark = pytest.mark.alone

NETDYNO = str(Path(sys.executable).with_name("netdyno"))
SHIPPED = shipped_tables() / "ofa-mobilenetv3-amd-epyc-onnxruntime-t1"
WORKFLOW = Path(__file__).parents[2] / ".github" / "workflows" / "table.yml"
Rows = list[dict[str, str]]


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [NETDYNO, "table", *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def edited(folder: Path, edit: Callable[[Rows], object]) -> Path:
    """A copy of the shipped table with other rows."""
    shutil.copytree(SHIPPED, folder)
    with (folder / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    edit(rows)
    with (folder / "layers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return folder


def slower(rows: Rows) -> None:
    for row in rows[:30]:
        for column in ("latency_ms", "latency_ms_low", "latency_ms_high"):
            row[column] = str(float(row[column]) * 1.2)


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    return edited(tmp_path / "slow", slower)


def test_the_same_table_passes(tmp_path: Path) -> None:
    done = run("check", SHIPPED, "--against", SHIPPED, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "") and "none worse" in done.stderr


def test_a_slower_table_fails_and_says_where(slow: Path, tmp_path: Path) -> None:
    done = run(
        *("check", slow, "--against", SHIPPED, "--fail-on", "latency:5%", "--json"),
        *("--markdown", "summary.md", "--junit", "junit.xml"),
        cwd=tmp_path,
    )
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert not document["ok"] and len(document["offences"]) == 30 and not document["missing"]
    assert all(offence["change"] == pytest.approx(0.2) for offence in document["offences"])
    summary = (tmp_path / "summary.md").read_text()
    assert "30 faults" in summary and summary.count("+20.0%") == 30
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()  # noqa: S314 (our own file)
    assert suite.get("failures") == "30" == str(len(suite.findall("testcase/failure")))
    assert suite.get("tests") == str(len(suite.findall("testcase")))


def test_a_slower_table_passes_a_wider_limit(slow: Path, tmp_path: Path) -> None:
    assert run("check", slow, "--against", SHIPPED, "--fail-on", "latency:25%", cwd=tmp_path).returncode == 0
    assert run("check", SHIPPED, "--against", slow, cwd=tmp_path).returncode == 0  # faster is no fault


def test_a_layer_that_is_gone_fails(tmp_path: Path) -> None:
    less = edited(tmp_path / "less", lambda rows: rows.pop())
    done = run("check", less, "--against", SHIPPED, cwd=tmp_path)
    assert done.returncode == 1 and "no longer in the table" in done.stderr
    alone = run("check", less, cwd=tmp_path)
    assert alone.returncode == 1 and "of ofa-mobilenetv3, but not in the table" in alone.stderr


def test_a_negative_row_fails(tmp_path: Path) -> None:
    negative = edited(tmp_path / "negative", lambda rows: rows[3].update(latency_ms="-0.5", latency_ms_low="-0.6"))
    assert run("check", negative, cwd=tmp_path).returncode == 1
    assert run("check", negative, "--against", SHIPPED, cwd=tmp_path).returncode == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--against", "nosuch"),
        ("--fail-on", "latency:5%"),
        ("--markdown", "x.md"),
        ("--against", SHIPPED, "--fail-on", "latency:fast"),
        ("--against", SHIPPED, "--fail-on", "speed:5%"),
        ("--against", SHIPPED, "--junit", "/proc/nosuch/x.xml"),
    ],
    ids=lambda words: words[-1],
)
def test_wrong_usage_is_one_clear_line(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run("check", SHIPPED, *words, cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr


def test_hostile_names_stay_in_their_cell(tmp_path: Path) -> None:
    def rename(folder: Path) -> None:
        descriptor = json.loads((folder / "datapackage.json").read_text())
        descriptor["name"] = "| `x` <script>\x00\n# heading"
        (folder / "datapackage.json").write_text(json.dumps(descriptor))

    hostile = edited(tmp_path / "hostile", slower)
    rename(hostile)
    words = ("--markdown", "summary.md", "--junit", "junit.xml")
    assert run("check", hostile, "--against", SHIPPED, *words, cwd=tmp_path).returncode == 1
    heading = (tmp_path / "summary.md").read_text().splitlines()[0]
    assert "<script" not in heading and "# heading" in heading and "`" not in heading
    ElementTree.parse(tmp_path / "junit.xml")  # noqa: S314 (our own file)


@pytest.mark.parametrize("letter", ["\x00", "\x1b", "\ud800", "\ufffe", "\uffff", "\x0b"])
def test_junit_is_xml_whatever_layers_are_called(letter: str) -> None:
    change = Change(f"layer{letter}", "latency_ms", before=1.0, after=2.0, p=0.0)
    comparison = Comparison((change,), (f"gone{letter}",), (), (f"own{letter}",))
    limits = [parse_limit("latency:5%")]
    root = ElementTree.fromstring(junit(f"table{letter}", comparison, limits, [f"problem{letter}"]).encode())  # noqa: S314
    assert [case.get("name") for case in root] == ["layer\N{REPLACEMENT CHARACTER} latency_ms", "gone�", "plausible"]
    assert letter not in markdown(f"table{letter}", comparison, limits, [f"problem{letter}"])


def test_diff_shows_the_largest_change_first(slow: Path, tmp_path: Path) -> None:
    done = run("diff", slow, SHIPPED, "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.returncode == 0 and len(document["changes"]) == 30
    done = run("diff", slow, SHIPPED, cwd=tmp_path)
    assert "30 of 97 layers differ" in done.stderr and "+20.0%" in done.stdout


@pytest.mark.slow
def test_the_workflow_s_steps_run(tmp_path: Path) -> None:
    """The file that users copy, its own steps by a shell, but for those that fetch and install."""
    workflow = yaml.safe_load(WORKFLOW.read_text())
    job = workflow["jobs"]["gate"]
    environment = {**os.environ, **job["env"], "GITHUB_STEP_SUMMARY": str(tmp_path / "step.md")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["LIMIT"] = "latency:400%"  # two runs minutes apart on a shared machine are no regression test
    steps = {step["name"]: step["run"] for step in job["steps"] if "run" in step and step["name"] != "install"}
    assert list(steps) == ["measure the main branch", "measure", "compare", "summarise"]
    for name, script in steps.items():
        done = subprocess.run(
            ["bash", "-e", "-c", script.replace("60s", "15s")],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
    assert "no regression" in (tmp_path / "step.md").read_text()
    assert (tmp_path / "junit.xml").exists()
