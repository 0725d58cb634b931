"""A profile that is cut off thirty times: one clear line each time, nothing lost, nothing twice, nothing left."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdyno.devices.android.find import connect
from netdyno.profiler.table import load_table

pytest.importorskip("adb_shell", reason="adb-shell is not installed: pip install 'netdyno[android]'")

NETDYNO = str(Path(sys.executable).with_name("netdyno"))
SPACE = "ofa-mobilenetv3:width=0.25,resolutions=48,classes=10"
CUTS = 30

Readings = dict[tuple[str, int, int], bytes]


def pull_the_cable(phone: Any, process: subprocess.Popen[str]) -> None:
    """Again where it was not connected yet."""
    while process.poll() is None:
        phone.cut()
        time.sleep(0.3)


def kill_the_daemon(phone: Any, process: subprocess.Popen[str]) -> None:
    phone.stop()
    process.wait(60)
    phone.start()


def let_nothing_through(phone: Any, process: subprocess.Popen[str]) -> None:
    phone.flowing.clear()
    process.wait(60)
    phone.flowing.set()
    phone.cut()


WAYS: list[Callable[[Any, subprocess.Popen[str]], None]] = [pull_the_cable, kill_the_daemon, let_nothing_through]


@pytest.mark.slow
def test_thirty_cuts(phone: Any, tmp_path: Path) -> None:
    device = ["--device", f"android:{phone.serial}", "--runner", "builtin"]
    command = [NETDYNO, "profile", SPACE, *device, "--no-networks", "--metrics", "latency", "--out", "t"]
    generator = np.random.default_rng(0)
    seen: Readings = {}
    for number in range(CUTS):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        time.sleep(float(generator.uniform(0.8, 3.5)))
        done = process.poll() is not None
        WAYS[number % len(WAYS)](phone, process)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == (0 if done else 3), errors
        assert "Traceback" not in errors
        lines = [line for line in errors.splitlines() if line.startswith("netdyno: ")]
        assert len(lines) == (not done), errors
        kept = readings(tmp_path / "t/journal.sqlite")
        assert seen.items() <= kept.items(), "nothing is lost"
        seen = kept
    assert seen, "some of it was measured before a cut"
    assert subprocess.run(command, cwd=tmp_path, check=False, timeout=300).returncode == 0
    final = readings(tmp_path / "t/journal.sqlite")
    assert seen.items() <= final.items()
    assert subprocess.run(command, cwd=tmp_path, check=False, timeout=300).returncode == 0
    assert readings(tmp_path / "t/journal.sqlite") == final, "nothing is done twice"
    load_table(tmp_path / "t").check()
    nothing_is_left(phone)


def readings(journal: Path) -> Readings:
    if not journal.exists():
        return {}
    with closing(sqlite3.connect(journal)) as database:
        rows = database.execute("SELECT candidate, start, round, latency_ns FROM visit").fetchall()
    return {(candidate, start, number): blob for candidate, start, number, blob in rows}


def nothing_is_left(phone: Any) -> None:
    """Neither files nor processes; one that nobody reads any more ends with its next word, five seconds later."""
    with connect(phone.serial) as transport:
        assert transport.script("ls -A /data/local/tmp | grep -v '[.]netdyno-'").out.split() == []
        for _ in range(100):
            if not transport.script("pgrep -f '^[/]data/local/tmp/netdyno/programs/ld-linux'").out.split():
                return
            time.sleep(0.1)
        pytest.fail("a runner is left")
