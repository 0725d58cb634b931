from __future__ import annotations

import subprocess
import sys

import pytest

from netdyno.devices.tail import TAIL_BYTES, Tail


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("print('one'); print('two')", "two"),
        ("print('cause'); print('INFO: created a delegate'); print(' ')", "cause"),
        ("print(('x' * 99999 + chr(10)) * 200); print('last')", "last"),
        ("print('y' * 10_000_000, end='')", "y" * TAIL_BYTES),
        ("pass", ""),
    ],
)
def test_the_last_line(code: str, line: str) -> None:
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        assert Tail(process.stdout).last_line(20) == line
        assert process.wait() == 0


def test_a_pipe_that_stays_open_is_not_waited_for() -> None:
    command = [sys.executable, "-c", "print('said', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        tail = Tail(process.stdout)
        while not tail.last_line(0.01):
            pass
        assert tail.last_line(0) == "said"
        assert process.stdin is not None
        process.stdin.write(b"\n")
