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

pytestmark = pytest.mark.alone

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
    """Of one table after the other: where a run comes to its end before it is cut off, the next one begins."""
    device = ["--device", f"android:{phone.serial}", "--runner", "builtin"]
    command = [NETDYNO, "profile", SPACE, *device, "--no-networks", "--metrics", "latency", "--out"]
    generator = np.random.default_rng(0)
    cuts, whole = 0, 0
    while cuts < CUTS:
        folder, seen = tmp_path / f"t{whole}", Readings()
        while True:
            process = subprocess.Popen([*command, str(folder)], stderr=subprocess.PIPE, text=True)
            if cuts < CUTS:
                time.sleep(float(generator.uniform(0.8, 3.5)))
                WAYS[cuts % len(WAYS)](phone, process)
            _, errors = process.communicate(timeout=120)
            assert process.returncode in (0, 3), errors
            assert "Traceback" not in errors
            lines = [line for line in errors.splitlines() if line.startswith("netdyno: ")]
            assert len(lines) == (process.returncode == 3), errors
            kept = readings(folder / "journal.sqlite")
            assert seen.items() <= kept.items(), "nothing is lost"
            seen = kept
            if process.returncode == 0:
                break
            cuts += 1
        whole += 1
        assert subprocess.run([*command, str(folder)], check=False, timeout=300).returncode == 0
        assert readings(folder / "journal.sqlite") == seen, "nothing is done twice"
        load_table(folder).check()
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
