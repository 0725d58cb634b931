from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.base.errors import TableInvalid
from netdyno.profiler.layers import Linear, Overhead
from netdyno.profiler.samples import SAMPLES
from netdyno.profiler.table import (
    COLUMNS,
    DESCRIPTOR,
    JOURNAL,
    LookupTable,
    is_measured,
    load_table,
    make_rows,
    parse_row,
    shipped_tables,
)

Refuses = Callable[[Callable[[], object]], str]
Survives = Callable[[Callable[[], object]], None]

KEY = Linear(4, 3).key
GOOD: dict[str, Any] = {
    "latency_ms": 0.1 + 0.2,
    "latency_ms_low": 1 / 3 - 0.1,
    "latency_ms_high": 2 / 3,
    "memory_bytes": 2**53 + 1,
    "samples": 150,
    "starts": 3,
    "method": "measured",
}


def _table(**changes: Any) -> LookupTable:
    rows = {Overhead().key: GOOD, KEY: GOOD | changes, f"{KEY}@224": GOOD}
    return LookupTable("twin", {"runtime": "x", "device": {"name": "é", "cores": 2}}, make_rows("layer", rows))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    networks = make_rows("genes", {"0 1 2": {"latency_ms": 1e-300, "method": 'with "quotes", commas\r\nand lines'}})
    table = _table(valid=0, latency_ms=None)
    LookupTable(table.name, table.conditions, table.layers, networks).save(tmp_path / "table")
    return tmp_path / "table"


def test_a_round_trip_is_exact(saved: Path, tmp_path: Path) -> None:
    table = load_table(saved)
    assert (table.name, table.conditions) == ("twin", _table().conditions)
    pd.testing.assert_frame_equal(table.layers, _table(valid=0, latency_ms=None).layers, check_exact=True)
    assert table.networks.loc["0 1 2", "method"] == 'with "quotes", commas and lines'
    assert table.layers.loc[KEY, "memory_bytes"] == 2**53 + 1
    table.save(tmp_path / "again")
    for file in saved.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    latency=st.floats(allow_nan=False), text=st.text(st.characters(codec="utf-8")), count=st.integers(0, 2**63 - 1)
)
def test_any_value_survives_the_round_trip(latency: float, text: str, count: int, tmp_path: Path) -> None:
    table = _table(latency_ms=latency, method=text, memory_bytes=count)
    table.save(tmp_path / "any")
    pd.testing.assert_frame_equal(load_table(tmp_path / "any").layers, table.layers, check_exact=True)


def test_the_descriptor_is_a_data_package(saved: Path) -> None:
    descriptor = json.loads((saved / DESCRIPTOR).read_text())
    assert descriptor["profile"] == "tabular-data-package"
    for resource, index in zip(descriptor["resources"], ("layer", "genes"), strict=True):
        header = (saved / resource["path"]).read_text().splitlines()[0]
        fields = [field["name"] for field in resource["schema"]["fields"]]
        assert header.split(",") == fields == [index, *COLUMNS]


def test_saving_again_replaces_the_table_and_nothing_else(saved: Path) -> None:
    (saved / "journal.sqlite").write_text("readings")
    _table().save(saved)
    assert (saved / "journal.sqlite").read_text() == "readings"
    assert not pd.isna(load_table(saved).layers.loc[KEY, "latency_ms"])
    assert [entry.name for entry in saved.iterdir() if entry.name.startswith(".")] == []


def test_a_good_table_has_no_problems() -> None:
    assert _table().problems() == []
    _table().check()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"latency_ms": -1.0, "latency_ms_low": -2.0}, "latency_ms is -1"),
        ({"latency_ms": 0.0, "latency_ms_low": 0.0}, "latency_ms is 0"),
        ({"latency_ms": float("inf"), "latency_ms_high": float("inf")}, "latency_ms is inf"),
        ({"latency_ms_low": 0.5}, "outside its own interval"),
        ({"latency_ms_high": 0.2}, "outside its own interval"),
        ({"memory_bytes": -1}, "memory_bytes is -1"),
        ({"memory_bytes": 0}, "memory_bytes is 0"),
        ({"energy_mj": -0.5}, "energy_mj is -0.5"),
        ({"power_w": -3.0}, "power_w is -3"),
        ({"samples": -1}, "samples is -1"),
        ({"starts": -1}, "starts is -1"),
        ({"valid": 2}, "valid is 2"),
        ({"latency_ms": None, "memory_bytes": None}, "has no cost at all"),
    ],
)
def test_each_planted_fault_is_found(changes: dict[str, Any], fault: str, tmp_path: Path) -> None:
    table = _table(**changes)
    assert any(problem.startswith(f"{KEY}: ") and fault in problem for problem in table.problems())
    table.save(tmp_path / "bad")
    with pytest.raises(TableInvalid, match="table twin: "):
        load_table(tmp_path / "bad").check()


def test_faults_of_other_places_are_found_too() -> None:
    rows = make_rows("layer", {"conv-h:1": GOOD, f"{KEY}@0": GOOD})
    networks = make_rows("genes", {"0 0": GOOD | {"latency_ms": -1.0}})
    table = LookupTable("x", {}, rows, networks)
    assert len(table.problems()) == 4  # two keys; the network's latency, and that it lies outside its interval
    with pytest.raises(TableInvalid, match=r"\(and 3 more\)"):
        table.check()
    assert LookupTable("x", {}, make_rows("layer", {})).problems() == ["no row of the table is valid"]


def test_invalid_rows_may_hold_anything() -> None:
    assert _table(valid=0, latency_ms=-1.0).problems() == []


@pytest.mark.parametrize("number", ["", "-1", "1.5", "٢٢", "007", "9" * 5000, "224@224", "7#7", "224#7", "7@224"])
@pytest.mark.parametrize("sign", ["@", "#"])
def test_hostile_sizes_and_places(sign: str, number: str, refuses: Refuses) -> None:
    refuses(lambda: parse_row(f"{KEY}{sign}{number}"))


def test_a_row_names_a_layer_and_perhaps_a_size_or_a_place() -> None:
    assert parse_row(KEY) == (Linear(4, 3), None, None)
    assert parse_row(f"{KEY}@224") == (Linear(4, 3), 224, None)
    assert parse_row(f"{KEY}#0") == (Linear(4, 3), None, 0)


HEADER = ",".join(("layer", *COLUMNS))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (DESCRIPTOR, "{"),
        (DESCRIPTOR, "[]"),
        (DESCRIPTOR, "3"),
        (DESCRIPTOR, '{"name": "x"}'),
        (DESCRIPTOR, '{"name": 3, "conditions": {}}'),
        (DESCRIPTOR, '{"name": "x", "conditions": []}'),
        (DESCRIPTOR, "[" * 100_000),
        (DESCRIPTOR, '{"name": ' + "9" * 5000 + "}"),
        ("layers.csv", ""),
        ("layers.csv", "\0"),
        ("layers.csv", "layer\nx\n"),
        ("layers.csv", f"{HEADER},valid\n"),
        ("layers.csv", f"{HEADER}\na\n"),
        ("layers.csv", f"{HEADER}\na{',' * 11}\n"),
        ("layers.csv", f"{HEADER}\na,1,1,1,,,1,1,1,m,1\na,1,1,1,,,1,1,1,m,1\n"),
        ("layers.csv", f"{HEADER}\na,one,1,1,,,1,1,1,m,1\n"),
        ("layers.csv", f"{HEADER}\na,1,1,1,,,1.5,1,1,m,1\n"),
        ("layers.csv", f"{HEADER}\na,1,1,1,,,{'9' * 30},1,1,m,1\n"),
        ("layers.csv", f"{HEADER}\na,1,1,1,,,{'9' * 5000},1,1,m,1\n"),
        ("layers.csv", f'{HEADER}\n"a\n'),
        ("layers.csv", f"{HEADER}\n{'a' * 200_000}\n"),
        ("networks.csv", HEADER),
    ],
    ids=lambda text: text[:30],
)
def test_hostile_files(file: str, content: str, saved: Path, refuses: Refuses) -> None:
    (saved / file).write_text(content)
    assert str(saved / file) in refuses(lambda: load_table(saved))


def test_files_that_are_none(saved: Path, tmp_path: Path, refuses: Refuses) -> None:
    refuses(lambda: load_table(tmp_path / "missing"))
    refuses(lambda: load_table(saved / DESCRIPTOR))
    refuses(lambda: load_table(tmp_path))
    (saved / "layers.csv").write_bytes(b"\xff")
    refuses(lambda: load_table(saved))
    (saved / "layers.csv").unlink()
    refuses(lambda: load_table(saved))
    (saved / "layers.csv").mkdir()
    refuses(lambda: load_table(saved))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutations(data: st.DataObject, saved: Path, tmp_path: Path, survives: Survives) -> None:
    """A table with pieces of a file cut, doubled and replaced is read or refused, and what is read is checked."""
    original = {file.name: file.read_bytes() for file in saved.iterdir() if not file.name.endswith(".old")}
    name = data.draw(st.sampled_from(sorted(original)))
    content = bytearray(original[name])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        pieces = st.binary(max_size=5) | st.sampled_from([b",", b'"', b"\n", b"nan", b"-", b"9" * 25, b"{", b"}"])
        content[at : at + data.draw(st.integers(0, 40))] = data.draw(pieces)

    def use() -> None:
        load_table(saved).problems()

    try:
        (saved / name).write_bytes(content)
        survives(use)
    finally:
        (saved / name).write_bytes(original[name])


def test_a_table_edited_by_hand_opens_and_says_so(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not load_table(saved).edited
    path = saved / "layers.csv"
    path.write_text(path.read_text().replace("0.30000000000000004", "0.375"))
    table = load_table(saved)
    assert table.edited and table.layers.loc["overhead", "latency_ms"] == 0.375
    assert load_table(saved).edited
    (warning,) = caplog.messages
    assert "layers.csv" in warning
    table.save(saved)
    assert not load_table(saved).edited


def test_another_table_takes_the_files_of_the_one_before_with_it(saved: Path) -> None:
    table = load_table(saved)
    samples = SAMPLES.frame([(KEY, 1, 1, 0.25, 1.0)])
    replace(table, samples=samples).save(saved, {"model.json": b"{}"})
    assert len(load_table(saved).samples) == 1
    (saved / "notes.txt").write_text("stays")
    table.save(saved)
    assert {path.name for path in saved.iterdir()} == {DESCRIPTOR, "layers.csv", "networks.csv", "notes.txt"}


def test_which_tables_were_measured(saved: Path, tmp_path: Path) -> None:
    assert not is_measured(tmp_path / "nothing") and not is_measured(saved)
    table = load_table(saved)
    replace(table, conditions={"versions": {"netdyno": "1"}}).save(saved)
    assert is_measured(saved)
    table.save(saved)
    (saved / JOURNAL).touch()
    assert is_measured(saved)
    assert all(is_measured(path) for path in shipped_tables().glob("*/"))


@pytest.mark.parametrize("depth", [100, 900, 100_000])
def test_conditions_nested_too_deeply_to_be_shown(depth: int, saved: Path, refuses: Refuses) -> None:
    text = (saved / DESCRIPTOR).read_text()
    (saved / DESCRIPTOR).write_text(text.replace('"x"', "[" * depth + "]" * depth, 1))
    assert DESCRIPTOR in refuses(lambda: load_table(saved))


@pytest.mark.parametrize("schema", [2, 99, "1", None])
def test_schemas_that_are_not_known(schema: object, saved: Path, refuses: Refuses) -> None:
    document = json.loads((saved / DESCRIPTOR).read_text())
    assert document.pop("schema") == 1
    (saved / DESCRIPTOR).write_text(json.dumps(document))
    assert load_table(saved).name == "twin", "tables of before say none"
    (saved / DESCRIPTOR).write_text(json.dumps(document | {"schema": schema}))
    assert "schema" in refuses(lambda: load_table(saved))


@pytest.mark.parametrize("file", [DESCRIPTOR, "layers.csv", "networks.csv"])
def test_files_of_hundreds_of_megabytes_are_not_begun(file: str, saved: Path, refuses: Refuses) -> None:
    os.truncate(saved / file, 300 * 10**6)
    assert "larger" in refuses(lambda: load_table(saved))
