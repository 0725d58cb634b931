from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.base import rows
from netdyno.profiler.journal import Visit
from netdyno.profiler.samples import SAMPLES, by_start, make_samples, usual

Refuses = Callable[[Callable[[], object]], str]
Survives = Callable[[Callable[[], object]], None]

VISITS = {
    "a": [Visit(1, 1, np.array([1.0, 2.0, 9.0])), Visit(1, 2, np.array([0.1 + 0.2])), Visit(2, 3, np.array([4.0]))],
    "b, with a comma": [Visit(2, 1, np.array([1 / 3]))],
}


def _write(folder: Path, samples: pd.DataFrame) -> None:
    (folder / SAMPLES.path).write_bytes(SAMPLES.content(samples))


def test_a_round_trip_is_exact(tmp_path: Path) -> None:
    samples = make_samples(VISITS)
    _write(tmp_path, samples)
    pd.testing.assert_frame_equal(SAMPLES.read(tmp_path / SAMPLES.path), samples, check_exact=True)
    assert [field["name"] for field in SAMPLES.entry()["schema"]["fields"]] == list(samples.columns)
    first = (tmp_path / SAMPLES.path).read_bytes()
    _write(tmp_path, samples)
    assert (tmp_path / SAMPLES.path).read_bytes() == first, "equal tables are equal files"


def test_medians_by_start() -> None:
    a, b, missing = by_start(make_samples(VISITS), ["a", "b, with a comma", "c"])
    assert {start: list(own) for start, own in a.items()} == {1: [2.0, 0.1 + 0.2], 2: [4.0]}
    assert list(b) == [2]
    assert missing == {}


def test_what_they_would_be_of_a_device_as_fast_as_usual(tmp_path: Path) -> None:
    slow = {"a": [Visit(1, 1, np.array([1.5]), slowdown=1.5), Visit(1, 2, np.array([1.0]))]}
    _write(tmp_path, make_samples(slow))
    samples = SAMPLES.read(tmp_path / SAMPLES.path)
    assert list(samples["latency_ms"]) == [1.5, 1.0] and list(usual(samples)["latency_ms"]) == [1.0, 1.0]
    pd.testing.assert_frame_equal(usual(usual(samples)), usual(samples))


def test_older_tables_do_not_tell_how_slow_the_device_was(tmp_path: Path) -> None:
    (tmp_path / SAMPLES.path).write_bytes(gzip.compress(b"row,start,round,latency_ms\na,1,1,2.5\n"))
    assert SAMPLES.read(tmp_path / SAMPLES.path).to_dict("records") == [
        {"row": "a", "start": 1, "round": 1, "latency_ms": 2.5, "slowdown": 1.0}
    ]


def test_a_table_without_samples(tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(SAMPLES.read(tmp_path / SAMPLES.path), SAMPLES.frame([]))


@pytest.mark.parametrize(
    "text",
    ["", "row,start\n", "row,start,round,latency_ms\na,one,1,1.0\n", "row,start,round,latency_ms\na,1,1,fast\n",
     f"row,start,round,latency_ms\na,{10**30},1,1.0\n", "row,start,round,latency_ms\na,1,1\n"],
)  # fmt: skip
def test_what_are_no_samples(text: str, tmp_path: Path, refuses: Refuses) -> None:
    (tmp_path / SAMPLES.path).write_bytes(gzip.compress(text.encode()))
    assert SAMPLES.path in refuses(lambda: SAMPLES.read(tmp_path / SAMPLES.path))


@pytest.mark.parametrize("figures", ["0,1", "-1,1", "nan,1", "inf,1", "1,0", "1,-1", "1,nan", "1,inf"])
def test_latencies_that_nothing_can_take(figures: str, tmp_path: Path, refuses: Refuses) -> None:
    text = f"row,start,round,latency_ms,slowdown\na,1,1,{figures}\n"
    (tmp_path / SAMPLES.path).write_bytes(gzip.compress(text.encode()))
    assert "nothing can take" in refuses(lambda: SAMPLES.read(tmp_path / SAMPLES.path))


def test_a_file_that_unpacks_without_end(tmp_path: Path, refuses: Refuses) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "LARGEST_FILE", 1000)
        (tmp_path / SAMPLES.path).write_bytes(gzip.compress(b"row,start,round,latency_ms\n" + b"\0" * 10**6))
        assert "larger" in refuses(lambda: SAMPLES.read(tmp_path / SAMPLES.path))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files(data: st.DataObject, tmp_path: Path, survives: Survives) -> None:
    _write(tmp_path, make_samples(VISITS))
    path = tmp_path / SAMPLES.path
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    survives(lambda: SAMPLES.read(tmp_path / SAMPLES.path))
