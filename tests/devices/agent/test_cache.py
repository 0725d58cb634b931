"""What stays on a machine stays small."""

from __future__ import annotations

import os
from pathlib import Path

from netdyno.devices.agent.cache import prune, touch


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    for age, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    touch(str(tmp_path / "d"))
    prune(str(tmp_path), 250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d"]
    prune(str(tmp_path), 0)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_remove(tmp_path: Path) -> None:
    prune(str(tmp_path / "no such folder"), 0)
    touch(str(tmp_path / "no such file"))
