"""Profiling over ssh, as a user does it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdyno.profiler.table import load_table

pytestmark = pytest.mark.alone

NETDYNO = [str(Path(sys.executable).with_name("netdyno"))]
SPACE = "ofa-mobilenetv3:width=0.25,resolutions=48,classes=10"


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NETDYNO, *words], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_a_space_and_a_model(ssh_server: Any, tmp_path: Path) -> None:
    device = ("--device", ssh_server.address())
    done = run("profile", SPACE, *device, "--budget", "10s", "--json", cwd=tmp_path)
    assert done.returncode in (0, 4), done.stderr
    table = load_table(tmp_path / json.loads(done.stdout)["table"])
    assert table.layers["latency_ms"].notna().mean() > 0.9
    assert "127.0.0.1" not in (tmp_path / json.loads(done.stdout)["table"] / "datapackage.json").read_text()


@pytest.mark.parametrize("address", ["ssh://nobody@127.0.0.1:1/cpu", "ssh://no.such.host.invalid/cpu"])
def test_a_machine_that_cannot_be_reached(address: str, tmp_path: Path) -> None:
    done = run("profile", SPACE, "--device", address, cwd=tmp_path)
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_twenty_kills_of_the_server_lose_nothing(ssh_server: Any, tmp_path: Path) -> None:
    words = ("profile", SPACE, "--device", ssh_server.address(), "--metrics", "latency", "--out", "t")
    journal = tmp_path / "t/journal.sqlite"
    generator = np.random.default_rng(0)
    seen: dict[tuple[str, int, int], bytes] = {}
    for _ in range(20):
        process = subprocess.Popen([*NETDYNO, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        time.sleep(float(generator.uniform(0.7, 3.0)))
        ssh_server.kill()
        _, stderr = process.communicate(timeout=60)
        ssh_server.start()
        assert process.returncode in (0, 3), stderr
        assert "Traceback" not in stderr
        kept = _readings(journal) if journal.exists() else {}
        assert seen.items() <= kept.items()
        seen = kept
    assert seen, "some of it was measured before the server was killed"
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    final = _readings(journal)
    assert seen.items() <= final.items()
    assert run(*words, cwd=tmp_path).returncode == 0
    assert _readings(journal) == final, "what is done is not done again"
    load_table(tmp_path / "t").check()
    assert {path.name for path in ssh_server.cache.iterdir()} <= {"models", "locks", "engines", "trtexec"}


def _readings(journal: Path) -> dict[tuple[str, int, int], bytes]:
    with closing(sqlite3.connect(journal)) as database:
        rows = database.execute("SELECT candidate, start, round, latency_ns FROM visit").fetchall()
    return {(candidate, start, number): blob for candidate, start, number, blob in rows}
