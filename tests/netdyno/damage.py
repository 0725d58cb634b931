"""Opens folders of specimens as commands do, each in a forked child, and tells how that ended.

A line of JSON on standard input, ``{"reader", "path"}``, is answered by one on standard output: ``outcome``
(``answer``, ``edited``, ``refused`` or ``fault``), ``text`` (a digest of the answer, or the message), ``cpu_s`` and
``peak_mb``. An answer is ``edited`` if it says itself that files were changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from netdyno.base.errors import CheckFailed, InputError
from netdyno.base.objective import Objective
from netdyno.exporters.bundle import load_bundle
from netdyno.nas.search.journal import Journal as SearchJournal
from netdyno.nas.search.problem import Problem
from netdyno.nas.space import make_space
from netdyno.nas.supernets.store import load_supernet, make_supernet
from netdyno.profiler.journal import Journal
from netdyno.profiler.table import load_table
from netdyno.runs import load_run

LONGEST_S = 30
MEMORY = 3 * 2**30
CONDITIONS = {"device": "cpu", "threads": 1}
SPACE = {"width": 0.25, "resolutions": [48, 56], "classes": 10}


def problem() -> Problem:
    """Objectives of a journal's search: MACs and parameters."""
    space = make_space("ofa-mobilenetv3", **SPACE)
    return Problem(space, (Objective("macs", space.macs), Objective("params", space.params)))


def _table(path: Path) -> list[Any]:
    table = load_table(path)
    table.problems()
    frames = (table.layers.reset_index(), table.networks.reset_index(), table.samples, table.windows)
    return [table.edited, table.name, table.conditions, *map(_csv, frames)]


def _run(path: Path) -> list[Any]:
    run = load_run(path)
    front = [array.tobytes() for array in (run.front.X, run.front.F, run.front.growth)]
    return [
        run.edited,
        run.descriptor,
        run.front.objectives,
        *front,
        *map(_csv, (run.measured, run.winners, run.history)),
    ]


def _bundle(path: Path) -> list[Any]:
    bundle = load_bundle(path)
    return [bundle.card, sorted(bundle.contents.items())]


def _supernet(path: Path) -> list[Any]:
    supernet, known = load_supernet(path)
    return [known, *((name, value.numpy().tobytes()) for name, value in supernet.state_dict().items())]


def _journal(path: Path) -> list[Any]:
    with Journal(path / "journal.sqlite", CONDITIONS) as journal:
        visits = [
            (name, v.start, v.round, v.flag, v.latency_ms.tobytes())
            for name, own in journal.visits().items()
            for v in own
        ]
        return [visits, journal.memories(), journal.energies(), journal.failures()]


def _search(path: Path) -> list[Any]:
    with SearchJournal(path / "journal.sqlite", problem(), {"method": "sweep"}) as journal:
        return [journal._X.tobytes(), journal._scores.tobytes()]


READERS: dict[str, Callable[[Path], list[Any]]] = {
    "table": _table,
    "run": _run,
    "bundle": _bundle,
    "supernet": _supernet,
    "journal": _journal,
    "search": _search,
}


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv()


def read(reader: str, path: str) -> dict[str, Any]:
    """The outcome of opening a specimen, in this process."""
    try:
        answer = READERS[reader](Path(path))
    except (InputError, CheckFailed) as error:
        line = str(error)
        return {"outcome": "refused" if line.strip() and len(line.splitlines()) == 1 else "fault", "text": line}
    except BaseException as error:
        return {"outcome": "fault", "text": f"{type(error).__name__}: {error}"}
    outcome = "edited" if answer[0] is True else "answer"
    return {"outcome": outcome, "text": hashlib.sha256(repr(answer).encode("utf-8", "replace")).hexdigest()}


def _in_child(reader: str, path: str) -> dict[str, Any]:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LONGEST_S)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        os.write(theirs, json.dumps(read(reader, path)).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        told = pipe.read()
    _, status, usage = os.wait4(child, 0)
    found = json.loads(told) if told else {"outcome": "fault", "text": f"ended with status {status}"}
    return found | {"cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}


def main() -> None:
    """Answer until nothing more is asked."""
    torch.set_num_threads(1)
    with torch.device("meta"):
        make_supernet(problem().space)  # what loading one imports is not the damaged file's doing
    for line in sys.stdin:
        print(json.dumps(_in_child(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
