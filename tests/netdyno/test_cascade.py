"""``netdyno cascade``: from a table to a bundle, a second run, a server, and what cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from netdyno.base.errors import InputError
from netdyno.nas.space import parse_space
from netdyno.profiler.table import LookupTable, make_rows

NETDYNO = str(Path(sys.executable).with_name("netdyno"))
SPACE = "cnn-caffenet:resolution=12,width=0.1,every=3"
pytest.importorskip("torch", reason="trains networks: needs the extra train")

from netdyno.cascades import Cascades  # noqa: E402 (needs torch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tables: a device whose layers cost their work, with energy and without, and a server ten times as fast."""
    folder = tmp_path_factory.mktemp("cascade")
    for name, speed, energy in (("metered", 1.0, True), ("device", 1.0, False), ("server", 0.1, False)):
        rows = {}
        for layer in parse_space(SPACE).vocabulary():
            latency = speed * (0.001 + layer.macs / 1e6)
            rows[layer.key] = {"latency_ms": latency} | ({"energy_mj": 3 * latency} if energy else {})
        LookupTable(name, {}, make_rows("layer", rows)).save(folder / name)
    return folder


def run(folder: Path, *words: str, out: str = "run") -> subprocess.CompletedProcess[str]:
    command = [NETDYNO, "cascade", SPACE, "--out", out, "--method", "random", "--evaluations", "3"]
    command += ["--accuracy", "train:steps=60,batch=32", *words]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)


@pytest.mark.slow
def test_from_a_table_to_a_bundle(folder: Path) -> None:
    words = ("--table", "device", "--constraint", "latency_ms<=0.4", "--json")
    first, again = (run(folder, *words) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert "the table has no energy" in first.stderr
    assert first.stdout == again.stdout, "the same command again trains nothing and finds the same"
    found = json.loads(first.stdout)
    assert found["latency_ms"] <= 0.4 and len(found["networks"]) == 2
    assert sum(found["val_answered_pct"]) == pytest.approx(100)
    subprocess.run([NETDYNO, "verify", "run/bundle"], cwd=folder, check=True, capture_output=True)
    history = (folder / "run" / "cascades.csv").read_text().splitlines()
    assert history[0] == "evaluation,error_pct,latency_ms,thresholds,networks" and len(history) == 4


@pytest.mark.slow
def test_the_last_network_on_a_server(folder: Path) -> None:
    words = (
        "--table",
        "metered",
        "--server",
        "server",
        "--round-trip",
        "2ms",
        "--idle-w",
        "0.5",
        "--radio-mj",
        "0.1",
    )
    done = run(folder, *words, "--constraint", "loss<=60", "--networks", "3", "--json", out="remote")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["last_on_a_server"] is True and found["energy_mj"] > 0 and len(found["thresholds"]) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--constraint", "beauty<=3"], "not 'beauty<=3'"),
        (["--constraint", "accuracy<=95"], "a cascade keeps to"),
        (["--constraint", "energy_mj<=1", "--metric", "latency"], "a cascade keeps to"),
        (["--constraint", "accuracy>=9", "--metric", "memory"], "known: energy, energy_mj, latency, latency_ms"),
        (["--constraint", "accuracy>=9", "--server", "server"], "--round-trip"),
        (["--constraint", "accuracy>=9", "--networks", "9"], "a whole number from 2 to 4, not 9"),
        (["--constraint", "accuracy>=9", "--method", "guess"], "bo-plus"),
        (["--constraint", "accuracy>=9", "--accuracy", "train:colour=3"], "no setting 'colour'"),
        (["--constraint", "accuracy>=9", "--accuracy", "grow:steps=60"], "grow"),
    ],
)
def test_what_cannot_be(folder: Path, words: list[str], told: str) -> None:
    done = run(folder, "--table", "device", *words, out="wrong")
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr


def test_networks_are_trained_by_their_own_recipe(few_images: str, tmp_path: Path) -> None:
    """Where the genes say one, as in the search of one network; then its settings are other ones."""
    space = parse_space("cnn-mnist:resolution=12,width=0.1")
    rows = {layer.key: {"latency_ms": 0.1} for layer in space.vocabulary()}
    LookupTable("t", {}, make_rows("layer", rows)).save(tmp_path / "t")
    training = "train:steps=3,batch=8,patience=1"
    cascades = Cascades(space, tmp_path / "t", tmp_path / "run", data=few_images, training=training)
    cascades.network(space.smallest())
    (descriptor,) = (tmp_path / "run").glob("networks/*/network.json")
    known = json.loads(descriptor.read_text())
    assert known["course"]["planned"] == 3
    assert known["training"] == {"steps": 3, "batch": 8, "patience": 1, "seed": 0}
    for text in ("steps=3", ":steps=3", "trains:steps=3", "nosuch"):
        with pytest.raises(InputError, match="networks are trained by train"):
            Cascades(space, tmp_path / "t", tmp_path / "run", training=text)
    with pytest.raises(InputError, match="no setting 'learning_rate'"):
        Cascades(space, tmp_path / "t", tmp_path / "run", training="train:learning_rate=0.1")
