"""The agent alone, under the oldest Python that can be had: boards run 3.6 (JetPack 4), 3.8 and 3.10."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdyno.base.errors import ModelError
from netdyno.devices.ssh.address import Address
from netdyno.devices.ssh.connection import agent_text
from netdyno.devices.wire import Frame
from netdyno.devices.worker import Worker

pytestmark = pytest.mark.alone

OLDEST = (3, 6)


def _pythons() -> dict[str, str]:
    """Interpreters by version: those on PATH, those of pyenv, and this one."""
    names = [f"python3.{minor}" for minor in range(OLDEST[1], sys.version_info.minor + 1)]
    paths = [path for name in names if (path := shutil.which(name))]
    paths += [str(path) for path in Path.home().glob(".pyenv/versions/3.*/bin/python")]
    found = {}
    for path in [*paths, sys.executable]:
        version = [path, "-c", "import sys; print(*sys.version_info[:2])"]
        asked = subprocess.run(version, check=False, capture_output=True, text=True)
        if asked.returncode == 0:
            found[asked.stdout.strip()] = path
    return {version: path for version, path in found.items() if tuple(map(int, version.split())) >= OLDEST}


PYTHONS = _pythons()


def start(python: str, *arguments: str) -> Worker:
    """The agent as a connection starts it: from its text alone."""
    text = agent_text()
    shell = Address("", "", "cpu", python).command(len(text), *(arguments or ("control",)))[-1]
    return Worker(["sh", "-c", shell], on_stdout=True, preface=text)


@pytest.fixture(params=sorted(PYTHONS, key=lambda text: tuple(map(int, text.split()))))
def control(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    worker = start(PYTHONS[request.param])
    yield worker
    worker.end()


def ask(worker: Worker, arrays: dict[str, Any] | None = None, **message: Any) -> dict[str, Any]:
    return worker.ask(Frame(message, arrays or {}), timeout_s=20).message


def test_it_is_written_for_the_oldest() -> None:
    sent, texts = json.loads(agent_text())
    assert "netdyno.devices.agent.main" in texts
    for text in (sent, *texts.values()):
        ast.parse(text, feature_version=OLDEST)


def test_what_it_answers(control: Worker, tmp_path: Path) -> None:
    said = ask(control, do="hello")
    assert said["about"]["usable_cpus"] == len(os.sched_getaffinity(0))
    assert said["cache"] == str(tmp_path / "cache/netdyno")
    files = ask(control, do="files", patterns=["/proc/stat", "/proc/no such file", "/proc/sys/kernel/ostype"])[
        "files"
    ]
    assert files["/proc/sys/kernel/ostype"] == "Linux\n"
    assert set(files) == {"/proc/stat", "/proc/sys/kernel/ostype"}
    data = np.arange(200, dtype=np.uint8)
    sha256 = hashlib.sha256(data.tobytes()).hexdigest()
    assert ask(control, do="has", sha256=sha256) == {"has": False}
    assert ask(control, {"model": data}, do="put", sha256=sha256) == {}
    assert ask(control, do="has", sha256=sha256) == {"has": True}
    assert ask(control, do="lock", device="cpu", client="me") == {"held": True}


def test_who_was_cut_off_gets_its_lock_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dead, other, again = (start(sys.executable) for _ in range(3))
    lock = {"do": "lock", "device": "cpu"}
    assert ask(dead, client="me", **lock) == {"held": True}
    assert ask(other, client="another", **lock) == {"held": False}
    assert ask(dead, do="hello"), "the others wait"
    while ask(again, client="me", **lock) != {"held": True}:
        pass
    assert not dead.alive
    for worker in (other, again):
        worker.end()


@pytest.mark.parametrize("sha256", ["", "../x", "a" * 63 + "/", "A" * 64])
def test_only_digests_name_models(control: Worker, sha256: str) -> None:
    with pytest.raises(ModelError, match="not a digest"):
        ask(control, do="has", sha256=sha256)


def test_what_is_no_request_is_refused(control: Worker) -> None:
    with pytest.raises(ModelError):
        ask(control, do="no such thing")
    assert ask(control, do="hello")


def test_timing_under_any_python() -> None:
    sent, texts = json.loads(agent_text())
    program = "import json,sys,time; g={}; exec(json.loads(sys.argv[1])[0], g); "
    program += "sys.meta_path.insert(0, g['Sent'](json.loads(sys.argv[1])[1])); "
    program += "from netdyno.devices.agent.models import time_runs; print(*time_runs(lambda: time.sleep(0.01), 5))"
    for path in PYTHONS.values():
        command = [path, "-P", "-c"] if path == sys.executable else [path, "-c"]
        said = subprocess.run(
            [*command, program, json.dumps([sent, texts])], capture_output=True, text=True, check=True, cwd="/"
        )
        assert all(9e6 < int(ns) < 1e9 for ns in said.stdout.split())
