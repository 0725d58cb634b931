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
    assert {file.name for file in path.iterdir()} == {
        "datapackage.json",
        "layers.csv",
        "networks.csv",
        "samples.csv.gz",
    }


def test_there_is_one_for_each_runtime() -> None:
    assert {load_table(path).conditions["runtime"] for path in TABLES} == {"onnxruntime", "litert"}
