"""``netdyno search`` as a process that is killed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

NETDYNO = str(Path(sys.executable).with_name("netdyno"))
TABLE = Path(__file__).parents[2] / "tables" / "ofa-mobilenetv3-intel-xeon-litert-t1"
EVALUATIONS = {
    "age-moea": 1500,
    "c-taea": 4000,
    "constrained-bo": 12,
    "grid": 100,
    "hyperpower": 12,
    "linas": 100,
    "moead": 8000,
    "motpe": 90,
    "nsga2": 30_000,
    "ofa": 30_000,
    "ofa2": 30_000,
    "one-shot": 100,
    "random": 60_000,
    "random-walk": 4000,
    "reinforce": 30_000,
    "sms-emoa": 8000,
    "spea2": 8000,
    "u-nsga3": 8000,
}
"""What takes each a few seconds."""
SINGLE = ("constrained-bo", "hyperpower", "ofa", "random-walk")
"""Searches of one objective."""


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A predictor of the published form, with weights of our own."""
    torch = pytest.importorskip("torch", reason="writes a predictor: needs the extra train")
    generator = torch.Generator().manual_seed(0)
    sizes = [128, 400, 400, 400, 1]
    state = {}
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        state[f"{2 * number}.weight"] = torch.randn(outputs, inputs, generator=generator) * 0.1
        state[f"{2 * number}.bias"] = torch.randn(outputs, generator=generator) * 0.1
    path = tmp_path_factory.mktemp("predictor") / "predictor.pth"
    torch.save(state, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("method", EVALUATIONS)
def test_killed_at_random_and_resumed(method: str, predictor: Path, tmp_path: Path) -> None:
    """SIGKILL once something is kept, then at any time: the front is that of a search that nobody killed."""
    if any(find_spec(name) is None for name in ("pymoo", "optuna", "botorch")):
        pytest.skip("needs the extra lab: pip install 'netdyno[lab]'")
    words = [
        NETDYNO,
        "search",
        "ofa-mobilenetv3:resolutions=224",
        "--table",
        str(TABLE),
        "--accuracy",
        str(predictor),
    ]
    words += ["--method", method, "--evaluations", str(EVALUATIONS[method]), "--seed", "3"]
    words += (
        ["--objective", "accuracy"] if method in SINGLE else ["--objective", "latency", "--objective", "accuracy"]
    )
    began = time.monotonic()
    subprocess.run([*words, "--out", "whole"], cwd=tmp_path, check=True, capture_output=True)
    took_s = time.monotonic() - began

    generator = np.random.default_rng(len(method))
    journal = tmp_path / "killed" / "journal.sqlite"
    kept = 0
    for share in (None, *generator.uniform(0.3, 0.9, 2)):
        process = subprocess.Popen([*words, "--out", "killed"], cwd=tmp_path, stderr=subprocess.PIPE)
        if share is None:
            while process.poll() is None and not _batches(journal):
                time.sleep(0.02)
        else:
            time.sleep(share * took_s)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert share is not None or process.returncode == -signal.SIGKILL, "it was still at work"
        already = _batches(journal)
        assert already >= max(kept, 1)
        kept = already
    last = subprocess.run([*words, "--out", "killed"], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    for name in ("front.csv", "growth.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def _batches(journal: Path) -> int:
    if not journal.exists():
        return 0
    with closing(sqlite3.connect(journal)) as database:
        found = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'batch'").fetchone()[0]
        return int(database.execute("SELECT count(*) FROM batch").fetchone()[0]) if found else 0
