"""``netdyno search --method single-path``: from a table to a verified bundle, killed, asked for what cannot be."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from netdyno.cli.main import run as run_here
from netdyno.nas.space import make_space
from netdyno.profiler.table import load_table

pytest.importorskip("torch", reason="trains networks: needs the extra train")
NETDYNO = str(Path(sys.executable).with_name("netdyno"))
SPACE = "single-path:width=0.1,resolution=32,classes=10"
SETTINGS = ("--set", "steps=40", "--set", "batch=16", "--set", "architecture_rate=0.1", "--set", "warm_up=0.2")


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([NETDYNO, *words], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a measured table ``t`` of the space."""
    folder = tmp_path_factory.mktemp("descent")
    profiled = run(
        "profile", SPACE, "--budget", "8s", "--metrics", "latency", "--no-networks", "--out", "t", cwd=folder
    )
    assert profiled.returncode == 0, profiled.stderr
    return folder


def limit(folder: Path, share: float) -> str:
    """A latency between the fastest network's and the largest's, as text."""
    space = make_space("single-path", width=0.1, resolution=32, classes=10)
    cost = load_table(folder / "t").cost(space)
    least, most = cost(space.smallest()[None])[0], cost(space.largest()[None])[0]
    return f"{least + share * (most - least):.6g}"


def search(folder: Path, out: str, *words: str) -> list[str]:
    return ["search", SPACE, "--method", "single-path", "--table", str(folder / "t"), *SETTINGS, "--out", out, *words]


@pytest.mark.slow
def test_from_a_table_to_a_verified_bundle(folder: Path, tmp_path: Path) -> None:
    bound = limit(folder, 0.6)
    found = run(*search(folder, "r", "--constraint", f"latency_ms<={bound}", "--json"), cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    assert 0 < document["latency_ms"] <= float(bound)
    assert 0 <= document["accuracy_pct"] <= 100 and len(document["architecture"]) == 20
    with (tmp_path / "r/descent.csv").open() as file:
        steps = list(csv.DictReader(file))
    assert [int(row["step"]) for row in steps] == list(range(40))
    assert float(steps[0]["runtime"]) > float(bound)
    again = run(*search(folder, "r", "--constraint", f"latency_ms<={bound}", "--json"), cwd=tmp_path)
    assert json.loads(again.stdout) == document
    assert run("compare", "r", "r", cwd=tmp_path).returncode == 0
    assert run("report", "r", cwd=tmp_path).returncode == 0
    page = (tmp_path / "r/report.html").read_text()
    assert all(f'id="{figure}"' in page for figure in ("descent", "loss", "leads")) and 'id="front"' not in page
    with (tmp_path / "r/leads.csv").open() as file:
        leads = list(csv.DictReader(file))
    assert {row["part"] for row in leads} == {"k5", "e3", "e6"}
    assert len(leads) == 20 * 3 - 5, "the first layer of each block cannot be skipped"
    written = (tmp_path / "r/leads.csv").read_text()
    (tmp_path / "r/leads.csv").write_text("layer,part,lead\nlayer1,k5,nan\n")
    told = run("report", "r", cwd=tmp_path)
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    (tmp_path / "r/leads.csv").write_text(written)
    headless = run("export", "r", "--out", "b", "--backbone", "--to", "onnx", cwd=tmp_path)
    assert headless.returncode == 0, headless.stderr
    assert json.loads((tmp_path / "b/card.json").read_text())["outputs"][0]["name"] == "c2"
    exported = run("export", "r", "--out", "b", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    card = json.loads((tmp_path / "b/card.json").read_text())
    assert (
        card["genes"] == document["genes"] and card["facts"]["accuracy_pct"]["measured"] == document["accuracy_pct"]
    )
    assert run("verify", "b", cwd=tmp_path).returncode == 0
    other = run(*search(folder, "r", "--constraint", f"latency_ms<={bound}", "--seed", "5"), cwd=tmp_path)
    assert (other.returncode, other.stderr.count("\n")) == (2, 1) and "--fresh" in other.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--constraint", "latency_ms<=1e-9"], "the fastest network of single-path takes"),
        (["--constraint", "latency_ms>=1"], "one limit"),
        (["--constraint", "latency_ms<=1", "--constraint", "energy_mj<=1"], "one limit"),
        (["--constraint", "memory_bytes<=1"], "one limit"),
        (["--constraint", "energy_mj<=1"], "has no energy_mj"),
        (["--set", "beauty=3"], "beauty"),
        (["--set", "steps=much"], "steps cannot be 'much'"),
        (["--set", "target=3"], "target"),
        (["--accuracy", "train"], "leave --accuracy out"),
        (["--objective", "macs"], "leave --objective out"),
        (["--evaluations", "100000"], "leave --evaluations out"),
        (["--evaluations", "5"], "trains what it finds, in --set steps=N"),
        (["--data", "cifar"], "cifar"),
        (["--set", "tune=bayes"], "to tune λ takes a limit"),
        (["--set", "tune=guess", "--constraint", "latency_ms<=1"], "tune is one of bayes"),
        (["--set", "tune=bayes", "--constraint", "latency_ms<=1e-9"], "the fastest network of single-path takes"),
        (["--set", "tune=random", "--set", "penalty=1", "--constraint", "latency_ms<=1"], "penalty"),
        (["--set", "tune=random", "--set", "trials=0", "--constraint", "latency_ms<=1"], "a run at least"),
    ],
)
def test_what_cannot_be_searched(
    words: list[str],
    message: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_here(search(folder, "r", *words)) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and message in told


def test_spaces_and_methods_that_do_not_fit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--table", str(folder / "t"), "--out", "r", "--method"]
    other = ["search", "fbnet:classes=10", *words, "single-path"]
    unknown, bare = ["search", SPACE, *words, "guess"], ["search", SPACE, *words[2:], "single-path"]
    for asked, messages in ((other, ["lacks"]), (unknown, ["multi-path-gumbel", "ofa2"]), (bare, ["--table"])):
        assert run_here(asked) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and all(message in told for message in messages), told


@pytest.mark.slow
def test_killed_at_random_and_resumed(folder: Path, tmp_path: Path) -> None:
    """SIGKILL, again and again: the architecture, its way and its weights are those of a search nobody killed."""
    bound = ("--constraint", f"latency_ms<={limit(folder, 0.8)}")
    began = time.monotonic()
    whole = run(*search(folder, "whole", *bound), cwd=tmp_path)
    took = time.monotonic() - began
    assert whole.returncode == 0, whole.stderr
    generator = np.random.default_rng(0)
    for _ in range(3):
        words = [NETDYNO, *search(folder, "cut", *bound)]
        process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(took * generator.uniform(0.3, 0.95))
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = run(*search(folder, "cut", *bound), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    (network,) = (tmp_path / "whole" / "networks").iterdir()
    for name in ("front.csv", "descent.csv", f"networks/{network.name}/weights.pt"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.slow
def test_tuned_and_killed_it_goes_on_to_the_same_end(folder: Path, tmp_path: Path) -> None:
    bound = limit(folder, 0.9)
    chosen = ("tune=random", "trials=2", "least=3", "most=30")
    tuned = ("--constraint", f"latency_ms<={bound}", "--json", *(part for s in chosen for part in ("--set", s)))
    words = search(folder, "cut", *tuned)
    process = subprocess.Popen([NETDYNO, *words], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        if len(list(tmp_path.glob("cut/trials/*/networks/*"))) == 1:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole, resumed = run(*search(folder, "whole", *tuned), cwd=tmp_path), run(*words, cwd=tmp_path)
    assert whole.returncode == resumed.returncode == 0, resumed.stderr
    for name in ("front.csv", "tuning.csv", "descent.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    with (tmp_path / "whole/tuning.csv").open() as file:
        rows = list(csv.DictReader(file))
    document = json.loads(whole.stdout)
    assert len(rows) == 2 and document["penalty"] in {float(row["penalty"]) for row in rows}
    assert document["latency_ms"] <= float(bound)
    exported = run("export", "whole", "--out", "b", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr


@pytest.mark.slow
def test_networks_are_trained_one_by_one_and_the_best_is_shipped(folder: Path, tmp_path: Path) -> None:
    words = [
        *("search", SPACE, "--table", str(folder / "t"), "--method", "rejection", "--evaluations", "2"),
        *("--accuracy", "train:steps=3,batch=8", "--constraint", f"latency_ms<={limit(folder, 0.5)}", "--out", "r"),
    ]
    found = run(*words, "--objective", "accuracy", "--json", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    assert len(list((tmp_path / "r/networks").iterdir())) == 2
    again = run(*words, "--objective", "accuracy", "--json", cwd=tmp_path)
    assert json.loads(again.stdout) == document
    exported = run("export", "r", "--out", "b", "--to", "onnx", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    card = json.loads((tmp_path / "b/card.json").read_text())
    assert card["genes"] == document["X"][-1]
    assert card["facts"]["accuracy_pct"]["measured"] == pytest.approx(100 - document["F"][-1][0])
    wrong = run(*words[:-4], "--accuracy", "train:beauty=3", "--out", "q", cwd=tmp_path)
    assert wrong.returncode == 2 and "beauty" in wrong.stderr
