"""The tables that ship are plausible, cover their space, and tell nothing of whose machine it was."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from netdyno.nas.space import parse_space
from netdyno.profiler.table import load_table, shipped_tables

TABLES = sorted(path.parent for path in shipped_tables().glob("*/datapackage.json"))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_shipped_table(path: Path) -> None:
    table = load_table(path)
    assert table.problems() == []
    space = parse_space(table.conditions["subject"])
    X = space.sample(20, seed=0)
    cost = table.cost(space, "latency_ms")
    assert (cost(X) > table.layers.loc["overhead", "latency_ms"]).all()
    assert (table.cost(space, "memory_bytes")(X) > 4 * space.params(X)).all()
    assert socket.gethostname() not in (path / "datapackage.json").read_text()
    files = {"datapackage.json", "layers.csv", "networks.csv"}
    assert {file.name for file in path.iterdir()} - {"samples.csv.gz"} == files


def test_those_with_networks_state_their_error() -> None:
    stated = [table for path in TABLES if len((table := load_table(path)).networks)]
    assert {table.conditions["runtime"] for table in stated} == {"onnxruntime", "litert"}
    for table in stated:
        unseen = table.conditions["validation"]["latency_ms"]["unseen"]
        assert unseen["networks"] == 40 and len(table.samples)
        assert unseen["calibrated"]["mape_pct"] <= 2.0 and unseen["noise_floor_pct"] <= 1.5
        assert unseen["calibrated"]["mape_pct"] < unseen["isolated"]["mape_pct"]


def test_there_is_one_for_each_runtime() -> None:
    assert {load_table(path).conditions["runtime"] for path in TABLES} == {"onnxruntime", "litert"}
