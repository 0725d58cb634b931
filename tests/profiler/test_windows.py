from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.profiler.energy import Window
from netdyno.profiler.windows import WINDOWS, gross_power_w, make_windows

Refuses = Callable[[Callable[[], object]], str]
Survives = Callable[[Callable[[], object]], None]
HEADER = "row,gross_mj,idle_w,seconds,inferences,flag\n"
ENERGIES = {
    "a": [Window(5e5, 60.0, 5.0, 100), Window(6e5, 61.0, 5.0, 100), Window(9e5, 60.0, 5.0, 100, "throttled by heat")],
    "b": [Window(1e6 / 3, 59.5, 5.1, 7)],
}


def test_a_round_trip_is_exact(tmp_path: Path) -> None:
    """What is flagged is kept, and says so."""
    windows = make_windows(ENERGIES)
    (tmp_path / WINDOWS.path).write_bytes(WINDOWS.content(windows))
    entry = WINDOWS.entry()
    pd.testing.assert_frame_equal(WINDOWS.read(tmp_path / WINDOWS.path), windows, check_exact=True)
    assert entry["path"] == "windows.csv"
    assert "compression" not in entry
    assert (tmp_path / "windows.csv").read_text().startswith(HEADER)


def test_a_table_without_windows(tmp_path: Path) -> None:
    assert WINDOWS.read(tmp_path / WINDOWS.path).empty
    assert gross_power_w(WINDOWS.frame([])).empty


def test_gross_power_is_of_windows_that_are_trusted() -> None:
    power_w = gross_power_w(make_windows(ENERGIES))
    assert power_w["a"] == pytest.approx((100 + 120) / 2)
    assert power_w["b"] == pytest.approx(1e3 / 3 / 5.1)


@pytest.mark.parametrize(
    "line", ["a,1,60,0,5,", "a,nan,60,5,5,", "a,1,inf,5,5,", "a,1,60,5,0,", "a,1,60,5,few,", "a,1"]
)
def test_what_are_no_windows(line: str, tmp_path: Path, refuses: Refuses) -> None:
    (tmp_path / "windows.csv").write_text(f"{HEADER}{line}\n")
    assert "windows.csv" in refuses(lambda: WINDOWS.read(tmp_path / WINDOWS.path))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=100))
def test_any_content_is_read_or_refused(content: bytes, tmp_path: Path, survives: Survives) -> None:
    (tmp_path / "windows.csv").write_bytes(HEADER.encode() + content)
    survives(lambda: WINDOWS.read(tmp_path / WINDOWS.path))
