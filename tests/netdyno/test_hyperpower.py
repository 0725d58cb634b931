"""``netdyno search --method hyperpower``: networks trained by their own recipes, killed, resumed, exported."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from netdyno.nas.space import parse_space

NETDYNO = str(Path(sys.executable).with_name("netdyno"))
SPACE = "cnn-mnist:resolution=12"
pytest.importorskip("botorch", reason="Bayesian optimisation needs the extra lab")


def words(out: str, evaluations: int, *more: str) -> list[str]:
    command = [NETDYNO, "search", SPACE, "--out", out, "--method", "hyperpower", "--objective", "accuracy"]
    command += ["--accuracy", "train:steps=60,batch=32", "--constraint", "macs<=1000000"]
    return [*command, "--evaluations", str(evaluations), *more]


@pytest.mark.slow
def test_from_a_search_to_a_bundle(tmp_path: Path) -> None:
    done = subprocess.run([*words("run", 9), "--json"], cwd=tmp_path, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert "given up early, which saved" in done.stderr
    (genes,) = found["X"]
    assert parse_space(SPACE).macs(np.array([genes]))[0] <= 1e6
    trainings = json.loads((tmp_path / "run" / "run.json").read_text())["trainings"]
    assert trainings["trained"] == 9 and trainings["died"] == 0 and trainings["seconds"] > 0
    for command in (["export", "run", "--out", "dist"], ["verify", "dist"], ["report", "run"]):
        subprocess.run([NETDYNO, *command], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.slow
def test_killed_and_resumed_its_history_is_that_of_one_that_was_not(tmp_path: Path) -> None:
    subprocess.run(words("whole", 10), cwd=tmp_path, check=True, capture_output=True)
    for trained in (1, 4, 8):
        process = subprocess.Popen(words("killed", 10), cwd=tmp_path, stderr=subprocess.PIPE)
        while process.poll() is None and len(list(tmp_path.glob("killed/networks/*"))) < trained:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it was still at work"
    subprocess.run(words("killed", 10), cwd=tmp_path, check=True, capture_output=True)
    for name in ("front.csv", "growth.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    networks = [{path.name for path in (tmp_path / run / "networks").iterdir()} for run in ("killed", "whole")]
    assert networks[0] == networks[1]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--budget", "soon"], "not a positive duration"),
        (["--set", "margin=wide"], "margin cannot be 'wide'"),
        (["--objective", "macs"], "one objective"),
        (["--constraint", "macs<=10"], "no architecture of cnn-mnist keeps to"),
        (["--accuracy", "train:patience=2"], "patience must be above 0 and at most 1"),
        (["--accuracy", "train:learning_rate=0.1"], "training has no setting 'learning_rate'"),
    ],
)
def test_what_cannot_be(more: list[str], told: str, tmp_path: Path) -> None:
    done = subprocess.run(words("run", 3, *more), cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr
