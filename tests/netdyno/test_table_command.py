"""``netdyno table`` in this process: replacing what was measured, and tables that were edited by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from netdyno.cli.main import run
from netdyno.profiler.formats import unwritten
from netdyno.profiler.layers import MBConv, Overhead
from netdyno.profiler.table import DESCRIPTOR, JOURNAL, LookupTable, load_table, make_rows, shipped_tables

ENTRIES = "Conv-input:32x32x3-output:16x16x8:\n  count: 9\n  mean: {}\n  std: 0.25\n"


@pytest.fixture
def published(tmp_path: Path) -> list[str]:
    """The words that import a published table, but for the folder."""
    path = tmp_path / "32_lookup_table.yaml"
    path.write_text(ENTRIES.format(1.5))
    return ["table", "import", str(path), "--format", "ofa-yaml", "--out"]


def test_a_measured_table_is_replaced_only_if_asked(
    published: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = shipped_tables() / "nasbench201-nvidia-h200-torch-b128"
    begun, measured = tmp_path / "begun", tmp_path / "measured"
    shutil.copytree(shipped, measured)
    begun.mkdir()
    (begun / JOURNAL).write_text("readings")
    for folder in (begun, measured):
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert run([*published, str(folder)]) == 2
        assert "--replace" in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        for _ in range(2):  # what was imported is replaced without a word, unless there is a journal
            assert run([*published, str(folder), "--replace"]) == 0
        assert len(load_table(folder).layers) == 1
    assert run([*published, str(measured)]) == 0
    assert {path.name for path in measured.iterdir()} == {DESCRIPTOR, "layers.csv", "networks.csv"}
    assert (begun / JOURNAL).read_text() == "readings"


def test_an_edited_table_opens_with_a_warning(
    published: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "t"
    assert run([*published, str(folder)]) == 0
    text = (folder / "layers.csv").read_text()
    assert text.count("1.5,") == 1
    for milliseconds, edited, code in ((1.5, False, 0), (1.5625, True, 0), (-1.0, True, 1)):
        (folder / "layers.csv").write_text(text.replace("1.5,", f"{milliseconds},"))
        for words in (["show", str(folder)], ["check", str(folder)], ["list", str(tmp_path)]):
            capsys.readouterr()
            assert run(["table", *words, "--json"]) == (code if words[0] == "check" else 0)
            document = json.loads(capsys.readouterr().out)
            assert document.get("tables", [document])[0]["edited"] is edited
    assert len(caplog.messages) == 1 and "layers.csv" in caplog.messages[0]


def test_an_export_says_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = MBConv(14, 14, 80, 112, 160, 5, 1, "swish", 0, 0)
    rows = {
        block.key: {"latency_ms": 0.5, "memory_bytes": 9},
        block.key.replace("mid:160", "mid:80"): {"method": "failed", "valid": 0},
        Overhead().key: {"latency_ms": 0.01},
    }
    networks = make_rows("genes", {"0 1": {"latency_ms": 9.0}})
    LookupTable("t", {"constant_ms": 2.0}, make_rows("layer", rows), networks).save(tmp_path / "t")
    assert (
        run(["table", "export", str(tmp_path / "t"), "--format", "tfnas-csv", "--out", str(tmp_path / "o"), "--json"])
        == 0
    )
    told = capsys.readouterr()
    expected = [
        "1 layers that are not valid or have no latency",
        "what a call takes by itself (overhead)",
        "layers' memory_bytes",
        "1 networks",
    ]
    assert json.loads(told.out)["left_out"] == expected
    assert all(f"left out: {line}" in told.err for line in expected)
    assert unwritten(load_table(tmp_path / "t"), "ofa-yaml")[3] == "what each network takes beside its layers"
    whole = LookupTable("t", {}, make_rows("layer", {block.key: {"latency_ms": 0.5}}))
    assert unwritten(whole, "ofa-yaml") == []
