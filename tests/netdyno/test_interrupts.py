"""Ctrl-C at any time, once or twice, in a pipe and in a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone

NETDYNO = str(Path(sys.executable).with_name("netdyno"))
SPACE = "ofa-mobilenetv3:width=0.25,resolutions=48,classes=10"
TRAIN = [NETDYNO, "train", SPACE, "--steps", "100000", "--out", "s"]


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("words", [TRAIN, [NETDYNO, "search", SPACE, "--objective", "macs", "--out", "r"]])
def test_ctrl_c_while_it_starts(words: list[str], delay_s: float, tmp_path: Path) -> None:
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for_handlers(process.pid)
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr.count("\n")) == (130, "", 1), stderr
    assert stderr.startswith("netdyno: interrupted")


@pytest.mark.parametrize(("number", "apart_s"), [(signal.SIGINT, 0.02), (signal.SIGINT, 0.3), (signal.SIGTERM, 0.0)])
def test_a_second_ctrl_c(number: signal.Signals, apart_s: float, tmp_path: Path) -> None:
    process = subprocess.Popen(TRAIN, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(3)
    for _ in range(2):
        process.send_signal(number)
        time.sleep(apart_s)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "netdyno: interrupted\n")


def _wait_for_handlers(pid: int) -> None:
    """Return once the process handles SIGHUP, which the interpreter by itself does not."""
    for _ in range(1000):
        status = Path(f"/proc/{pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        if caught >> (signal.SIGHUP - 1) & 1:
            return
        time.sleep(0.005)
    pytest.fail("no signal handlers")


def test_ctrl_c_in_a_terminal_leaves_its_cursor(tmp_path: Path) -> None:
    """The terminal itself sends the signal; progress bars hide the cursor."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execv(NETDYNO, TRAIN)  # noqa: S606
    seen, began, pressed = b"", time.monotonic(), 0
    while time.monotonic() - began < 60:
        if pressed < 2 and b"/100000" in seen:
            os.write(terminal, b"\x03")
            pressed += 1
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # the child has closed its side
            break
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130, seen
    assert seen.rfind(b"\x1b[?25h") >= seen.rfind(b"\x1b[?25l") and b"Traceback" not in seen
    assert seen.count(b"netdyno: interrupted") == 1
