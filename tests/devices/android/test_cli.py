"""The command line on a phone: a table of a small space, and what goes wrong on the way to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from netdyno.devices.android.find import connect
from netdyno.devices.android.transport import FOLDER

pytest.importorskip("adb_shell", reason="adb-shell is not installed: pip install 'netdyno[android]'")

NETDYNO = [str(Path(sys.executable).with_name("netdyno"))]
SPACE = "ofa-mobilenetv3:width=0.25,resolutions=48,classes=10"


def profile(device: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*NETDYNO, "profile", SPACE, "--device", device, "--metrics", "latency", "--out", "t", *words]
    command += ["--runner", "builtin"]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, timeout=300)


@pytest.mark.slow
def test_a_table(phone: Any, tmp_path: Path) -> None:
    done = profile(f"android:{phone.serial}", tmp_path, "--budget", "25s", "--json")
    assert done.returncode in (0, 4), done.stderr
    told = json.loads(done.stdout)
    assert told["device"]["name"] == "Example Phone 1"
    assert told["runtime"] == "litert"
    assert "experimental" in done.stderr
    assert told["invalid"] < told["layers"]
    assert phone.serial not in (tmp_path / "t/datapackage.json").read_text()
    with connect(phone.serial) as transport:
        assert transport.script(f"ls {FOLDER}").code != 0, "what was brought there is gone"


@pytest.mark.slow
def test_a_phone_that_is_switched_off_amid(phone: Any, tmp_path: Path) -> None:
    """One line, exit code 3, and the same command goes on."""
    words = ["--device", f"android:{phone.serial}", "--metrics", "latency", "--out", "t", "--budget", "60s"]
    words += ["--runner", "builtin"]
    process = subprocess.Popen([*NETDYNO, "profile", SPACE, *words], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    while process.poll() is None and not (tmp_path / "t/journal.sqlite").exists():
        time.sleep(0.2)
    time.sleep(3)
    phone.stop()
    _, errors = process.communicate(timeout=120)
    phone.start()
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    assert "the same command goes on" in errors
    done = profile(f"android:{phone.serial}", tmp_path, "--budget", "15s")
    assert done.returncode in (0, 4), done.stderr


@pytest.mark.parametrize("device", ["android:127.0.0.1:1", "android:$(touch pwned)", "android"])
def test_phones_that_are_not_there(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    done = profile(device, tmp_path)
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1
    assert os.listdir(tmp_path) == []
