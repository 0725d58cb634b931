"""Runs commands in forks of itself, each to be killed in place of one of its changes to files.

A request is a line of JSON: ``words`` of the command, the working folder ``cwd``, the number ``at`` of the change (0:
none), the folder ``tmp`` for temporary files, the file ``output`` for what it says. The answer is the exit code, or
the negative number of the signal. A command that was not killed leaves ``output.json``: how many changes there were,
and after how many its first two readings and its last one had been kept.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

from netdyno.cli.main import run
from netdyno.nas.data import digits, load_data
from netdyno.nas.search.journal import Journal as Evaluations
from netdyno.profiler.journal import Journal as Readings

WARM = """
    netdyno.cascades netdyno.compare netdyno.demo netdyno.descent netdyno.ensembles netdyno.exporters.read
    netdyno.nas.accuracy.predictor netdyno.nas.search.through_pymoo netdyno.profiler.compare
    netdyno.profiler.formats.ofa_yaml netdyno.report.comparison netdyno.report.figures netdyno.report.gate
    onnx plotly.offline scipy.stats sklearn.linear_model
"""
"""Modules that commands import as they need them, imported once."""
SHIM = ctypes.CDLL(None)
KEPT: list[int] = []


def _noting(method: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*values: Any) -> Any:
        result = method(*values)
        KEPT.append(SHIM.killed_count())
        return result

    return noted


def _run(words: list[str], cwd: str, at: int, tmp: str, output: str) -> None:
    os.chdir(cwd)
    os.environ["TMPDIR"] = tempfile.tempdir = tmp
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(written, stream)
    Readings.visit = _noting(Readings.visit)  # type: ignore[method-assign]
    Evaluations._keep = _noting(Evaluations._keep)  # type: ignore[method-assign]
    SHIM.killed_arm(cwd.encode(), tmp.encode(), at)
    code = run(words)
    sys.stderr.flush()
    known = {"changes": SHIM.killed_count(), "kept": [*KEPT[:2], *KEPT[-1:]]}
    with open(f"{output}.json", "w") as file:
        json.dump(known, file)
    os._exit(code)


def main() -> None:
    """Answer requests until there are no more."""
    for name in WARM.split():
        importlib.import_module(name)
    digits.COUNTS.update(train=100, val=50, test=50)
    for split in digits.COUNTS:
        load_data("digits", split)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            try:
                _run(**request)
            except BaseException:
                traceback.print_exc()
            os._exit(99)
        _, status = os.waitpid(child, 0)
        answers.write(json.dumps(os.waitstatus_to_exitcode(status)) + "\n")
        answers.flush()


main()
