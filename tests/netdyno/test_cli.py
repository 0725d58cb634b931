"""The command line as its user meets it: real processes, real files, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

from netdyno.base.artifact import Artifact
from netdyno.exporters import write
from netdyno.exporters.bundle import write_bundle
from netdyno.nas.space import make_space
from netdyno.profiler.table import load_table, shipped_tables

pytestmark = pytest.mark.alone

NETDYNO = [str(Path(sys.executable).with_name("netdyno"))]
SPACE = "ofa-mobilenetv3:width=0.25,resolutions=48,classes=10"


def run(*words: str, cwd: Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NETDYNO, *words], cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder with one real model in each format, and broken copies of them."""
    folder = tmp_path_factory.mktemp("models")
    space = make_space("ofa-mobilenetv3", width=0.25, resolutions=[48], classes=10)
    graph = space.graph(space.smallest())
    for file_format in ("onnx", "tflite"):
        artifact: Artifact = write(graph, file_format)
        (folder / f"good.{file_format}").write_bytes(artifact.data)
        (folder / f"half.{file_format}").write_bytes(artifact.data[: len(artifact.data) // 2])
        (folder / f"junk.{file_format}").write_bytes(b"not a model" * 50)
        (folder / f"empty.{file_format}").write_bytes(b"")
    (folder / "file").write_text("in the way")
    return folder


BAD = [
    (["profile", "nosuch.onnx"], "nosuch.onnx"),
    (["profile", "nosuch/dir"], "nosuch/dir"),
    (["profile", "junk.onnx"], "junk"),
    (["profile", "junk.tflite"], "junk"),
    (["profile", "half.onnx"], "half"),
    (["profile", "half.tflite"], "half"),
    (["profile", "empty.onnx"], "empty"),
    (["profile", "empty.tflite"], "empty"),
    (["profile", "file"], "not a model file"),
    (["profile", "ofa-mobilenetv2"], "did you mean 'ofa-mobilenetv3'"),
    (["profile", "ofa-mobilenetv3:width=narrow"], "not a number"),
    (["profile", "ofa-mobilenetv3:depth=3"], "depth"),
    (["profile", "ofa-mobilenetv3", "--device", "toaster"], "toaster"),
    (["profile", "ofa-mobilenetv3", "--runtime", "abacus"], "abacus"),
    (["profile", "good.onnx", "--runtime", "abacus"], "abacus"),
    (["profile", "good.onnx", "--runtime", "litert"], "litert"),
    (["profile", "ofa-mobilenetv3", "--resolution", "7"], "resolution 7 is outside"),
    (["profile", "ofa-mobilenetv3", "--budget", "-5s"], "positive duration"),
    (["profile", "ofa-mobilenetv3", "--budget", "soon"], "soon"),
    (["profile", "ofa-mobilenetv3", "--threads", "0"], "threads"),
    (["profile", "ofa-mobilenetv3", "--metrics", "colour"], "colour"),
    (["profile", "ofa-mobilenetv3", "--out", "file/table"], "file"),
    (["profile", "ofa-mobilenetv3", "--out", "/proc/nowhere"], "/proc/nowhere"),
    (["profile", "good.onnx", "--input-shape", "input:1x0x3"], "in the model, not 1x0x3"),
    (["table", "show", "nosuch"], "nosuch"),
    (["table", "check", "."], "datapackage.json"),
    (["table", "import", "nosuch", "--format", "ofa-yaml", "--out", "t"], "nosuch"),
    (["table", "import", ".", "--format", "stone-tablet", "--out", "t"], "stone-tablet"),
    (["train", "ofa-mobilenetv3:classes=10", "--data", "letters", "--out", "s"], "letters"),
    (["search", SPACE, "--out", "r", "--objective", "accuracy"], "--accuracy"),
    (["search", SPACE, "--out", "r", "--objective", "latency"], "--table"),
    (["search", SPACE, "--out", "r", "--objective", "beauty"], "beauty"),
    (["search", SPACE, "--out", "r", "--objective", "macs", "--method", "guess"], "guess"),
    (["search", SPACE, "--out", "r", "--objective", "macs", "--set", "beauty=3"], "beauty"),
    (["search", SPACE, "--out", "r", "--objective", "macs", "--set", "seed=3"], "write --set"),
    (["search", SPACE, "--out", "r", "--objective", "macs", "--constraint", "params=3"], "write latency_ms<=30"),
    (["search", SPACE, "--out", "r", "--objective", "macs", "--constraint", "beauty<=3"], "beauty"),
    (["search", SPACE, "--out", "r", "--objective", "macs", "--constraint", "latency_ms<=3"], "--table"),
    (["search", SPACE, "--out", "r", "--objective", "macs", "--start", "none"], "no run here"),
    (["compare", "none"], "no run here"),
    (["export", "nosuch", "--out", "b"], "nosuch"),
    (["verify", "nosuch"], "nosuch"),
    (["report", "nosuch"], "nosuch"),
    (["frobnicate"], "frobnicate"),
    (["profile"], "target"),
    (["profile", "good.onnx", "half.onnx"], "half"),
    (["profile", "good.onnx", "--metrics", "energy"], "for spaces"),
    (["fit", "nosuch", "--target", "power"], "nosuch"),
    (["table", "export", "nosuch", "--format", "ofa-yaml", "--out", "t"], "nosuch"),
    (["fit", "nosuch", "--target", "beauty"], "beauty"),
    (["profile", "ofa-mobilenetv3", "nasbench201"], "one space at a time"),
    (["profile", "ofa-mobilenetv3", "--colour"], "--colour"),
]


@pytest.mark.parametrize(
    ("words", "mentions"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_is_one_clear_line(models, words, mentions):
    before = sorted(models.rglob("*"))
    result = run(*words, cwd=models)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert mentions.lower() in result.stderr.lower()
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    left = [path for path in sorted(models.rglob("*")) if path not in before]
    assert left == []


def test_json_errors_are_json(models):
    result = run("profile", "nosuch.onnx", "--json", cwd=models)
    assert result.returncode == 2
    error = json.loads(result.stdout)["error"]
    assert error["exit_code"] == 2
    assert "nosuch.onnx" in error["message"]


def test_debug_shows_the_traceback(models):
    result = run("profile", "nosuch.onnx", "--debug", cwd=models)
    assert "Traceback" in result.stderr


@pytest.mark.parametrize("file_format", ["onnx", "tflite"])
def test_profiles_a_model_as_a_whole(models, file_format):
    result = run("profile", f"good.{file_format}", "--budget", "2s", "--json", cwd=models)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["latency_ms_min"] <= report["latency_ms_low"] <= report["latency_ms"] <= report["latency_ms_high"]
    assert report["latency_ms"] <= report["latency_ms_p90"] <= report["latency_ms_p99"]
    assert min(report["load_ms"], report["first_ms"], report["memory_bytes"], report["samples"]) > 0
    text = run("profile", f"good.{file_format}", "--budget", "1s", cwd=models)
    assert "p99" in text.stdout


@pytest.mark.parametrize("file_format", ["onnx", "tflite"])
def test_profiles_a_model_s_operators(models, file_format, tmp_path):
    result = run("profile", str(models / f"good.{file_format}"), "--budget", "20s", "--out", "m", cwd=tmp_path)
    assert "operators add up to" in result.stderr
    assert "M MACs" in result.stdout
    assert re.search(r"median +[\d.]+ (µs|ms) \[", result.stdout)
    document = json.loads((tmp_path / "m" / "good.json").read_text())
    assert result.returncode == (0 if document["valid"] else 4), (
        result.stderr
    )  # on a busy machine they may not add up
    assert document["macs"] == sum(own["macs"] or 0 for own in document["operators"]) > 0
    assert document["moved_bytes"] == sum(own["moved_bytes"] or 0 for own in document["operators"]) > 0
    assert sum(own["share"] for own in document["operators"]) == pytest.approx(1)
    assert run("table", "check", "m", cwd=tmp_path).returncode == 0
    whole = run("profile", str(models / f"good.{file_format}"), "--no-operators", "--budget", "1s", cwd=tmp_path)
    assert "operators" not in whole.stderr + whole.stdout


def test_fits_power_of_a_gpu(tmp_path):
    """Of all that the card draws, which is what windows hold."""
    table = shipped_tables() / "nasbench201-nvidia-h200-torch-b128"
    result = run("fit", str(table), "--target", "gross-power", "--method", "additive", "--json", cwd=tmp_path)
    document = json.loads(result.stdout)
    assert document["target"] == "gross_power_w"
    assert 0 < document["methods"]["additive"]["rmspe_pct"] < 5


@pytest.mark.slow
def test_fits_models_to_a_table_s_networks(tmp_path):
    assert run("profile", SPACE, "--budget", "25s", "--out", "t", cwd=tmp_path).returncode == 0
    result = run("fit", "t", "--target", "latency", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert set(document["methods"]) == {"structural", "additive", "ridge", "few-sample"}
    assert all(own["rmspe_pct"] > 0 and own["spread_pct"] > 0 for own in document["methods"].values())
    refused = run("fit", "t", "--target", "power", cwd=tmp_path)
    assert refused.returncode == 2 and "power_w" in refused.stderr


def test_models_are_compared_in_the_same_rounds(models, tmp_path):
    space = make_space("ofa-mobilenetv3", width=0.25, resolutions=[48], classes=10)
    (tmp_path / "large.onnx").write_bytes(write(space.graph(space.largest()), "onnx").data)
    words = [str(models / "good.onnx"), "large.onnx", str(models / "good.tflite")]
    result = run("profile", *words, "--budget", "6s", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    larger, other_format = document["changes"]
    assert larger["real"] and larger["change"] > 0.3
    assert other_format["layer"] == "good.tflite"
    assert {row["starts"] for row in document["models"]} == {3}
    text = run("profile", *words[:2], "--budget", "3s", cwd=tmp_path)
    assert "large against good: +" in text.stderr


def test_profiles_a_space_and_its_table_checks(tmp_path):
    result = run("profile", SPACE, "--no-networks", "--budget", "6s", "--out", "t", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["layers"] == len(load_table(tmp_path / "t").layers)
    assert run("table", "check", "t", cwd=tmp_path).returncode == 0
    shown = run("table", "show", "t", "--json", cwd=tmp_path)
    assert json.loads(shown.stdout)["conditions"]["runtime"] == "onnxruntime"
    listed = run("table", "list", ".", "--json", cwd=tmp_path)
    assert [table["path"] for table in json.loads(listed.stdout)["tables"]] == ["t"]
    # The same readings under other conditions would be a lie.
    other = run("profile", SPACE, "--threads", "2", "--out", "t", cwd=tmp_path)
    assert other.returncode == 2
    assert "--fresh" in other.stderr


def test_an_import_says_what_it_leaves_out(tmp_path):
    (tmp_path / "p.json").write_text('[{"count": 9}, {"name": "fc", "averageMs": 0.5, "percentage": 100}]')
    result = run("table", "import", "p.json", "--format", "trtexec-json", "--out", "t", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["left_out"] == ["of each entry: percentage"]
    assert "left out: of each entry: percentage" in result.stderr
    assert load_table(tmp_path / "t").conditions["left_out"] == ["of each entry: percentage"]


def test_table_with_a_negative_row_fails_the_check(tmp_path):
    run("profile", SPACE, "--budget", "3s", "--metrics", "latency", "--out", "t", cwd=tmp_path)
    path = tmp_path / "t" / "layers.csv"
    lines = path.read_text().splitlines()
    key, _, rest = lines[3].partition(",")
    lines[3] = f"{key},-0.5,{rest.partition(',')[2]}"
    path.write_text("\n".join(lines))
    result = run("table", "check", "t", cwd=tmp_path)
    assert result.returncode == 1
    assert key in result.stderr


def test_searches_on_counts_alone(tmp_path):
    words = ["search", SPACE, "--objective", "macs", "--objective", "params", "--evaluations", "500", "--out", "r"]
    result = run(*words, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["objectives"] == ["macs", "params"]
    assert {path.name for path in (tmp_path / "r").iterdir()} == {
        "run.json",
        "front.csv",
        "growth.csv",
        "journal.sqlite",
    }
    tight = run(*words, "--constraint", "params<=5", "--fresh", cwd=tmp_path)
    assert (tight.returncode, tight.stderr.count("\n")) == (2, 1)
    assert "no architecture of ofa-mobilenetv3 keeps to params <= 5: the nearest has 1.5688e+05" in tight.stderr
    refused = run("export", "r", "--out", "b", cwd=tmp_path)
    assert refused.returncode == 2
    assert "without a supernet" in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_keeps_the_readings_and_nothing_half_written(tmp_path, number):
    process = _profiling(tmp_path)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.strip().splitlines() == ["netdyno: interrupted; the same command goes on where it stopped"]
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files <= {"journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"}
    assert _workers(tmp_path) == []
    kept = _visits(tmp_path / "t" / "journal.sqlite")
    assert kept > 0
    again = run("profile", SPACE, "--budget", "6s", "--out", "t", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert _visits(tmp_path / "t" / "journal.sqlite") > kept


def test_killed_worker_costs_one_reading(tmp_path):
    process = _profiling(tmp_path, "--no-networks", "--budget", "8s")
    for pid in _workers(tmp_path):
        os.kill(pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    table = load_table(tmp_path / "t")
    assert table.problems() == []
    assert (table.layers["valid"] == 1).all()


@pytest.mark.slow
def test_thirty_kills_lose_nothing_and_repeat_nothing(tmp_path):
    """Whatever stood in the journal when it was killed stands there in the end, and the run ends where it would."""
    words = ["profile", SPACE, "--metrics", "latency", "--out", "t"]
    journal = tmp_path / "t" / "journal.sqlite"
    generator = np.random.default_rng(0)
    seen = {}
    for _ in range(30):
        process = subprocess.Popen([*NETDYNO, *words], cwd=tmp_path, stdout=PIPE, stderr=PIPE, start_new_session=True)
        time.sleep(float(generator.uniform(0.5, 2.5)))
        reported = _readings(journal) if journal.exists() else {}
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept = _readings(journal) if journal.exists() else {}
        assert seen.items() <= reported.items() <= kept.items()
        seen = kept
    assert seen, "some of it was measured before it was killed"
    assert run(*words, cwd=tmp_path, timeout=300).returncode == 0
    final = _readings(journal)
    assert seen.items() <= final.items()
    table = load_table(tmp_path / "t")
    method = table.conditions["method"]
    counts = Counter(candidate for candidate, _, _ in final)
    assert set(counts) == {*table.layers.index, *table.networks.index}
    assert min(counts.values()) >= method["least_rounds"]
    assert max(counts.values()) <= method["most_rounds"]
    assert (table.layers["starts"] >= 3).all()
    assert run(*words, cwd=tmp_path).returncode == 0
    assert _readings(journal) == final, "what is done is not done again"


def _readings(journal: Path) -> dict[tuple[str, int, int], bytes]:
    with closing(sqlite3.connect(journal)) as database:
        try:
            rows = database.execute("SELECT candidate, start, round, latency_ns FROM visit").fetchall()
        except sqlite3.OperationalError as error:  # killed before it wrote its first line
            if "no such table" not in str(error):
                raise
            return {}
    return {(candidate, start, number): blob for candidate, start, number, blob in rows}


def test_closed_pipe_is_no_error(tmp_path):
    """`netdyno … | true`: nobody is there to read."""
    process = subprocess.Popen(
        [*NETDYNO, "table", "list", "--json"], cwd=tmp_path, stdout=PIPE, stderr=PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 128 + signal.SIGPIPE


def test_nohup_is_honoured(tmp_path):
    command = ["nohup", *NETDYNO, "profile", SPACE, "--metrics", "latency", "--budget", "6s", "--out", "t"]
    process = _profiling(tmp_path, command=command)
    process.send_signal(signal.SIGHUP)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr


def test_model_report_goes_into_a_folder(models, tmp_path):
    result = run("profile", str(models / "good.onnx"), "--budget", "1s", "--out", "r", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "r" / "good.json").read_text())["runtime"] == "onnxruntime"


def test_a_bundle_that_differs_fails_with_one_document(tmp_path):
    space = make_space("ofa-mobilenetv3", width=0.25, resolutions=[48], classes=10)
    graph = space.graph(space.smallest())
    shape = graph.shapes[graph.inputs[0]]
    write_bundle(graph, tmp_path / "b", ["onnx"], np.ones(shape, np.float32), np.ones((1, 10), np.float32), {})
    result = run("verify", "b", "--json", cwd=tmp_path)
    assert result.returncode == 1
    assert json.loads(result.stdout)["ok"] is False
    assert run("verify", "b", cwd=tmp_path).returncode == 1


def _profiling(folder: Path, *words: str, command: list[str] | None = None) -> subprocess.Popen[str]:
    """A profile in progress, with readings in its journal."""
    usual = [*NETDYNO, "profile", SPACE, "--metrics", "latency", "--out", "t", *words]
    process = subprocess.Popen(command or usual, cwd=folder, stdout=PIPE, stderr=PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / "t" / "journal.sqlite").exists() and _visits(folder / "t" / "journal.sqlite") > 20:
            return process
        time.sleep(0.05)
    pytest.fail(f"no readings: {process.communicate()[1]}")


def _visits(journal: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as database:
            (count,) = database.execute("SELECT COUNT(*) FROM visit").fetchone()
    except sqlite3.OperationalError:
        return 0
    return int(count)


def _workers(folder: Path) -> list[int]:
    """Worker processes that were started from a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"netdyno.devices" in (entry / "cmdline").read_bytes() and (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except OSError:
            continue  # it ended while we looked
    return found
