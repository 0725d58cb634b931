from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from netdyno.base.errors import InputError, MissingExtra, UnknownName
from netdyno.base.registry import Registry, require

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
OURS = {
    (group, name)
    for group, entries in tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["entry-points"].items()
    for name in entries
}


@pytest.mark.parametrize(("group", "name"), sorted(OURS))
def test_each_of_our_entries_loads(group: str, name: str) -> None:
    if group == "netdyno.supernets":
        pytest.importorskip("torch")
    registry = Registry("thing", group)
    assert name in registry.names()
    assert callable(registry.load(name))


def test_unknown_names_are_told_with_the_nearest() -> None:
    registry = Registry("search method", "netdyno.searchers")
    with pytest.raises(UnknownName, match="unknown search method 'random-1'; did you mean 'random'"):
        registry.load("random-1")
    assert Registry("thing", "netdyno.nothing").names() == []


def test_a_library_that_is_there_is_imported() -> None:
    assert require("json.decoder", extra="x", purpose="this").__name__ == "json.decoder"


def test_a_missing_library_is_told_with_the_command_that_brings_it() -> None:
    with pytest.raises(MissingExtra) as caught:
        require("no_such_library", extra="report", purpose="a report")
    assert isinstance(caught.value, InputError)
    assert str(caught.value).startswith("a report needs no_such_library: pip install 'netdyno[report]'")
