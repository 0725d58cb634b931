"""Output of commands where it cannot be encoded, cannot be written, or must not be obeyed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from netdyno.profiler.table import shipped_tables

NETDYNO = str(Path(sys.executable).with_name("netdyno"))
SHIPPED = shipped_tables() / "nasbench201-nvidia-h200-torch-b128"
HOSTILE = "\x1b[2J\x1b]0;title\x07 \x9b31m \u202e \ud800 \r\n\tµs"
CONTROLS = {chr(code) for code in (*range(32), *range(127, 160), 0x202E)} - {"\n"}


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A command line of bash in which ``netdyno`` is ours."""
    text = f'netdyno() {{ "{NETDYNO}" "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", text], capture_output=True, timeout=60, check=False, env=os.environ | environment
    )


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A table whose name, device, conditions and layers would like to paint the terminal."""
    folder = tmp_path / "hostile"
    shutil.copytree(SHIPPED, folder)
    descriptor = json.loads((folder / "datapackage.json").read_text())
    descriptor["name"] = HOSTILE
    descriptor["conditions"]["device"]["name"] = HOSTILE
    descriptor["conditions"][HOSTILE] = [HOSTILE, {HOSTILE: HOSTILE}]
    (folder / "datapackage.json").write_text(json.dumps(descriptor))
    lines = (folder / "layers.csv").read_text().splitlines(keepends=True)
    name, _, rest = lines[1].partition(",")
    lines[1] = f"\x1b[31m\x9bm{name},{rest}"
    (folder / "layers.csv").write_text("".join(lines))
    return folder


@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
def test_any_encoding_is_written(encoding: str, hostile: Path) -> None:
    environment = {"LC_ALL": "C", "PYTHONIOENCODING": encoding}
    done = shell(f"netdyno table show {hostile}; echo $?; netdyno table list {hostile.parent} --json", **environment)
    assert b"Error" not in done.stderr and done.stdout
    assert "us" in done.stderr.decode(encoding) or "µs" in done.stderr.decode(encoding)
    text = done.stdout.decode(encoding).partition("\n0\n")[2]
    assert json.loads(text)["tables"][0]["name"] == HOSTILE


@pytest.mark.parametrize(
    "words", ["show {0}", "show {0} --json", "list {0}/.. --json", f"check {{0}}; netdyno table diff {SHIPPED} {{0}}"]
)
def test_no_control_character_reaches_the_terminal(words: str, hostile: Path) -> None:
    done = shell(f"netdyno table {words.format(hostile)}")
    assert done.returncode in (0, 1), done.stderr
    assert not CONTROLS.intersection((done.stdout + done.stderr).decode())


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("netdyno table check /nonexistent 2>&-", 2),
        ("netdyno table check /nonexistent --json 2>&- >&-", 2),
        ("netdyno table check /nonexistent --json >/dev/full", 2),
        ("netdyno frobnicate 2>/dev/full", 2),
        (f"netdyno table check {SHIPPED} 2>&-", 0),
        (f"netdyno table check {SHIPPED} >&-", 0),
        ("netdyno table list 2>/dev/full", 0),
        ("netdyno --help 2>&- <&-", 0),
        ("netdyno --help | true; exit ${PIPESTATUS[0]}", 141),
    ],
)
def test_the_exit_code_is_the_command_s_own(command: str, code: int) -> None:
    done = shell(command)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 1


@pytest.mark.parametrize(
    "words", ["table list >/dev/full", "table list --json >/dev/full", "--help >/dev/full", "--version >&-"]
)
def test_output_that_cannot_be_written_is_told_in_one_line(words: str) -> None:
    done = shell(f"netdyno {words}")
    *_, line = done.stderr.decode().splitlines()
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    assert line.startswith("netdyno: standard output cannot be written: ")


@pytest.mark.parametrize("more", ["", "--json"])
def test_deep_nesting_is_no_internal_error(more: str, tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "deep")
    path = tmp_path / "deep" / "datapackage.json"
    descriptor = json.loads(path.read_text())
    descriptor["conditions"]["deep"] = "DEEP"
    nested = '{"a":' * 900 + "[1]" + "}" * 900
    path.write_text(json.dumps(descriptor).replace('"DEEP"', nested))
    done = shell(f"netdyno table show {tmp_path / 'deep'} {more}")
    assert done.returncode in (0, 2)
    assert b"Traceback" not in done.stderr and b"internal" not in done.stderr
