"""Every option and argument of every command, as the command line itself defines them, with what its type refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from netdyno.cli.main import app, run
from netdyno.cli.options import Choice, Choices, Form, Input, OptionType, Output, Real, Whole
from netdyno.profiler.table import shipped_tables

NETDYNO = str(Path(sys.executable).with_name("netdyno"))
SPACE = "ofa-mobilenetv3:width=0.25,resolutions=48,classes=10"
TABLE = str(shipped_tables() / "nasbench201-nvidia-h200-torch-b128")
FIFO = "a-fifo"
VALUES = ("-1", "0", "1e30", "nan", "", FIFO)
LATEST_S = 2.0


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it."""
    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def parameters() -> Iterator[Any]:
    """Every option that takes a value and every argument: the words before its own, and itself."""
    for path, command in commands():
        before: list[str] = [*path]
        for parameter in command.params:
            if getattr(parameter, "is_flag", False):
                continue
            positional = parameter.param_type_name == "argument"
            words = [*before] if positional else [*path, parameter.opts[0]]
            yield pytest.param(words, parameter, id=f"{'-'.join(path)} {parameter.opts[0]}")
            before += [TABLE] if positional else []


PARAMETERS = list(parameters())


def type_of(parameter: Any) -> OptionType:
    kind = parameter.type_descriptor.parameter_info.parser
    assert isinstance(kind, OptionType), "give it a type of netdyno.cli.options"
    return kind


def allowed(kind: OptionType, text: str) -> bool:  # noqa: PLR0911 (one each)
    """True where a type, by what it declares, allows a value; paths are those of a folder with nothing but a FIFO."""
    match kind:
        case Whole(range=numbers):
            return re.fullmatch(r"-?\d+", text) is not None and numbers.low <= int(text) <= numbers.high
        case Real(low=low, high=high):
            return re.fullmatch(r"-?\d+(e\d+)?", text) is not None and low <= float(text) <= high
        case Choice(names=names, more=more):
            return (text.partition(":")[0] if more else text) in set(names())
        case Choices(one=one):
            return all(allowed(one, part) for part in text.split(","))
        case Form(form=form):
            return re.fullmatch(form, text, re.ASCII) is not None
        case Input():
            return False
        case Output():
            return text not in ("", FIFO)
    raise AssertionError(f"say here what {type(kind).__name__} allows")


def refused(words: list[str], parameter: Any) -> list[list[str]]:
    """Command lines that must be refused; an argument with a dash in front is an option."""
    positional = parameter.param_type_name == "argument"
    kind = type_of(parameter)
    return [[*words, text] for text in VALUES if not allowed(kind, text) and not (positional and text[:1] == "-")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nothing but a FIFO in it, to stand in."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo(FIFO)
    return tmp_path


@pytest.mark.parametrize(("words", "parameter"), PARAMETERS)
def test_what_a_type_refuses_is_refused_before_anything_begins(
    words: list[str], parameter: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = refused(words, parameter)
    assert cases, "its type allows whatever there is"
    for case in cases:
        assert run(case) == 2, case
        stdout, stderr = capsys.readouterr()
        assert (stdout, stderr.count("\n")) == ("", 1), case
        assert any(f"'{name}" in stderr for name in (parameter.opts[0], parameter.metavar) if name), stderr
    assert [entry.name for entry in folder.iterdir()] == [FIFO]


@pytest.mark.parametrize(
    "kind", dict.fromkeys(type_of(case.values[1]) for case in PARAMETERS), ids=lambda kind: kind.name
)
def test_what_a_type_allows_is_a_value_or_refused_in_our_words(
    kind: OptionType, folder: Path, survives: Callable[[Callable[[], object]], None]
) -> None:
    for text in (*VALUES, "9" * 5000, "x" * 100_000, "\0", "\ud800", "٣", "a/" * 3000, " ", "inf", "-inf", "0x10"):
        survives(lambda text=text: kind.parse(text))  # type: ignore[misc]


def test_every_option_is_tested() -> None:
    assert {case.values[0][0] for case in PARAMETERS} == {path[0] for path, _ in commands()} - {"devices"}
    assert len(PARAMETERS) > 80


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ensemble", "r", "--out", "o", "--point", "99999"], "--point 99999"),
        (["ensemble", "r", "--out", "o", "--point", "-7", "--evaluations", "6"], "--point -7"),
        (
            ["search", SPACE, "--out", "o", "--objective", "macs", "--set", "population=10000000000"],
            "too little memory",
        ),
        (["search", "nasbench201:bogus=1", "--out", "o"], "no parameter 'bogus'"),
        (["train", "ofa-mobilenetv3:resolutions=nan", "--out", "o"], "not a number: 'nan'"),
        (["cascade", SPACE, "--table", TABLE, "--constraint", "accuracy>=nan", "--out", "o"], "accuracy>=nan"),
    ],
)
def test_values_that_are_wrong_only_together(
    words: list[str], says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("r").mkdir()
    assert run(words) == 2
    stdout, stderr = capsys.readouterr()
    assert (stdout, stderr.count("\n")) == ("", 1) and says in stderr


def test_a_point_that_the_front_lacks_is_refused_before_the_work(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", SPACE, "--objective", "macs", "--objective", "params", "--evaluations", "100", "--out", "r"]
    assert run(words) == 0
    capsys.readouterr()
    assert run(["export", "r", "--point", "99999", "--out", "b"]) == 2
    assert "none at 99999" in capsys.readouterr().err
    assert not Path("b").exists()


def _check_process(words: list[str], folder: Path, plain_s: float) -> None:
    began = time.monotonic()
    done = subprocess.run([NETDYNO, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), words
    assert "Traceback" not in done.stderr and [entry.name for entry in folder.iterdir()] == [FIFO]
    assert time.monotonic() - began < plain_s + LATEST_S, words


def _check_processes(cases: Iterable[list[str]], folder: Path) -> None:
    began = time.monotonic()
    subprocess.run([NETDYNO, "table", "show"], cwd=folder, capture_output=True, check=False)
    plain_s = time.monotonic() - began
    for words in cases:
        _check_process(words, folder, plain_s)


ALL = [case for each in PARAMETERS for case in refused(*each.values)]


@pytest.mark.alone
def test_real_processes_refuse_in_time(folder: Path) -> None:
    chosen = np.random.default_rng(23).choice(len(ALL), 8, replace=False).tolist()
    _check_processes([ALL[index] for index in chosen], folder)


@pytest.mark.sweep
@pytest.mark.alone
def test_all_real_processes_refuse_in_time(folder: Path) -> None:
    _check_processes(ALL, folder)
