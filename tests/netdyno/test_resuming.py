"""Promises of an interrupted command, and whether the same command keeps it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import PIPE

import pytest

from netdyno.cli.main import run
from netdyno.exporters import write
from netdyno.nas.space import make_space
from netdyno.profiler.table import JOURNAL, load_table

pytestmark = pytest.mark.alone

NETDYNO = str(Path(sys.executable).with_name("netdyno"))
SPACE = "ofa-mobilenetv3:width=0.25,resolutions=48,classes=10"
GOES_ON = "the same command goes on where it stopped"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    space = make_space("ofa-mobilenetv3", width=0.25, resolutions=[48], classes=10)
    for name, genes in (("small", space.smallest()), ("large", space.largest())):
        (folder / f"{name}.onnx").write_bytes(write(space.graph(genes), "onnx").data)
    return folder


def _start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    (cwd / "tmp").mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(cwd / "tmp")}
    return subprocess.Popen([NETDYNO, *words], cwd=cwd, env=environment, stdout=PIPE, stderr=PIPE, text=True)


def _left(folder: Path) -> list[str]:
    """Files in the folder for temporary ones, but for that of ONNX Runtime's telemetry."""
    return [path.name for path in (folder / "tmp").iterdir() if path.name != ".ses"]


def _measuring(process: subprocess.Popen[str]) -> bool:
    """True where a worker process works for it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return children.exists() and bool(children.read_text().strip())


def _visits(journal: Path) -> dict[tuple[str, int, int], bytes]:
    try:
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT candidate, start, round, latency_ns FROM visit").fetchall()
    except sqlite3.OperationalError:
        return {}
    return {(candidate, start, number): blob for candidate, start, number, blob in rows}


def _candidates(journal: Path) -> int:
    return len({candidate for candidate, _, _ in _visits(journal)})


def _wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize(
    "words",
    [["small.onnx", "--out", "m"], ["small.onnx", "--sustained", "1min", "--out", "m"], ["small.onnx", "large.onnx"]],
)
def test_what_keeps_no_readings_promises_nothing(words: list[str], models: Path, tmp_path: Path) -> None:
    paths = [str(models / word) if word.endswith(".onnx") else word for word in words]
    process = _start("profile", *paths, cwd=tmp_path)
    _wait(lambda: _measuring(process), process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, GOES_ON in stderr) == (130, False)
    assert _left(tmp_path) == []


def test_a_comparison_with_a_folder_goes_on_in_it(models: Path, tmp_path: Path) -> None:
    """Killed, interrupted, then left to end: every reading that was kept is kept, and there is no other folder."""
    words = ["profile", *(str(models / f"{name}.onnx") for name in ("small", "large"))]
    options = ["--out", "c", "--budget", "30s", "--metrics", "latency"]
    journal, seen = tmp_path / "c" / JOURNAL, {}
    for number in (signal.SIGKILL, signal.SIGINT):
        process = _start(*words, *options, cwd=tmp_path)
        enough = len(seen) + 2
        _wait(lambda enough=enough: len(_visits(journal)) > enough and _candidates(journal) == 2, process)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
        assert (GOES_ON in stderr) == (number == signal.SIGINT)
        before, seen = seen, _visits(journal)
        assert before.items() <= seen.items()
    process = _start(*words, *options, "--budget", "4s", cwd=tmp_path)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert seen.items() <= _visits(journal).items()
    assert set(load_table(tmp_path / "c").networks.index) == {"small", "large"}
    assert _left(tmp_path) == []
    process = _start(*words, words[1], *options, cwd=tmp_path)
    assert "readings of another run" in process.communicate(timeout=60)[1]
    assert run([*words[:2], "--out", str(tmp_path / "c")]) == 2
    assert seen.items() <= _visits(journal).items()


def test_discarding_is_not_promised_to_go_on(tmp_path: Path) -> None:
    process = _start("profile", SPACE, "--metrics", "latency", "--out", "t", "--fresh", cwd=tmp_path)
    _wait(lambda: len(_visits(tmp_path / "t" / JOURNAL)) > 2, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert stderr.strip() == "netdyno: interrupted; the same command without --fresh goes on where it stopped"


@pytest.mark.parametrize("option", ["--fresh", "--resume"])
def test_options_of_readings_are_refused_where_none_are_kept(
    option: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, large = (str(models / f"{name}.onnx") for name in ("small", "large"))
    for words in ([small, "--out", str(tmp_path / "m")], [small, large]):
        assert run(["profile", *words, option]) == 2
        assert "--fresh are for" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
