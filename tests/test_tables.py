"""The tables that ship are plausible, cover their space, and tell nothing of whose machine it was."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from netdyno.nas.space import parse_space
from netdyno.profiler.table import load_table, shipped_tables

TABLES = sorted(path.parent for path in shipped_tables().glob("*/datapackage.json"))
OFA = [path for path in TABLES if path.name.startswith("ofa-")]
ENERGY = ("nasbench201-nvidia-h200-torch-b128", "nasbench201-nvidia-h200-torch-b128-again")


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_shipped_table(path: Path) -> None:
    table = load_table(path)
    assert table.problems() == []
    space = parse_space(table.conditions["subject"])
    X = space.sample(20, seed=0)
    cost = table.cost(space, "latency_ms")
    assert (cost(X) > table.layers.loc["overhead", "latency_ms"]).all()
    if table.layers["memory_bytes"].notna().any():
        assert (table.cost(space, "memory_bytes")(X) > 4 * space.params(X)).all()
    assert socket.gethostname() not in (path / "datapackage.json").read_text()
    files = {"datapackage.json", "layers.csv", "networks.csv"}
    assert {file.name for file in path.iterdir()} - {"samples.csv.gz", "windows.csv"} == files


@pytest.mark.parametrize("path", OFA, ids=lambda path: path.name)
def test_those_with_networks_state_their_error(path: Path) -> None:
    table = load_table(path)
    if table.networks.empty:
        pytest.skip("layers alone, of before networks were measured with them")
    unseen = table.conditions["validation"]["latency_ms"]["unseen"]
    assert unseen["networks"] == 40 and len(table.samples)
    # A network at batch 1 keeps an H200 busy for a millisecond, most of which is one kernel waiting for the next.
    assert unseen["calibrated"]["mape_pct"] <= (3.0 if path.name.endswith("-b1") else 2.0)
    assert unseen["noise_floor_pct"] <= 1.5
    assert unseen["calibrated"]["mape_pct"] < unseen["isolated"]["mape_pct"]


def test_energy_of_a_gpu_stands_on_windows() -> None:
    """Gross, idle and net; another run's layers take the same, and networks are their sum."""
    first, again = (load_table(shipped_tables() / name) for name in ENERGY)
    windows = first.windows.set_index("row")
    assert set(windows.index) == {*first.layers.index, *first.networks.index}
    assert (windows["seconds"] >= 5).all() and (windows["flag"] == "").all()
    net_mj = (windows["gross_mj"] - 1e3 * windows["idle_w"] * windows["seconds"]) / windows["inferences"]
    assert net_mj["3 3 2 3 3 3"] == pytest.approx(first.networks.loc["3 3 2 3 3 3", "energy_mj"])
    apart = (again.layers["energy_mj"] / first.layers["energy_mj"] - 1).abs()
    assert apart.median() <= 0.03
    assert first.conditions["validation"]["energy_mj"]["unseen"]["isolated"]["mape_pct"] <= 5


def test_there_is_one_for_each_runtime() -> None:
    assert {load_table(path).conditions["runtime"] for path in TABLES} == {"onnxruntime", "litert", "torch"}
