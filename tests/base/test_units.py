from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.units import format_bytes, format_ms, format_ms_interval, parse_bytes, parse_duration, parse_shape

Survives = Callable[[Callable[[], object]], None]
Refuses = Callable[[Callable[[], object]], str]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("2min", 120), ("2m", 120), ("500ms", 0.5), ("1h", 3600), (" 1.5 s ", 1.5), (".5", 0.5), ("7", 7)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0s", "-1s", "s", "1 day", "1e3", "nan", "inf", "1s2s", "٣s", "9" * 400])
def test_what_is_no_duration(text: str, refuses: Refuses) -> None:
    refuses(lambda: parse_duration(text))


@given(st.integers(1, 10**9), st.sampled_from([("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0)]))
def test_any_duration(number: int, unit: tuple[str, float]) -> None:
    assert parse_duration(f"{number}{unit[0]}") == pytest.approx(number * unit[1])


@given(
    st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=6),
    st.sampled_from([None, "x", "in 1", "serving_default_x:0", "a:1x2"]),
)
def test_any_shape(sides: list[int], name: str | None) -> None:
    text = "x".join(map(str, sides))
    assert parse_shape(text if name is None else f"{name}:{text}") == (name, tuple(sides))


@pytest.mark.parametrize("text", ["", "x", "a:", "1x", "-1", ":1x2", "a:b", "1,2", "1" * 5000, "2147483648"])
def test_what_is_no_shape(text: str, refuses: Refuses) -> None:
    refuses(lambda: parse_shape(text))


@given(st.text(max_size=40) | st.text("0123456789.xs:mhin ", max_size=40))
def test_any_text_is_parsed_or_refused(survives: Survives, text: str) -> None:
    survives(lambda: parse_bytes(text))
    survives(lambda: parse_duration(text))
    survives(lambda: parse_shape(text))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1.0 kB"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (13_400_000, "13.4 MB"),
        (2.5e12, "2500.0 GB"),
        (-1500, "-1.5 kB"),
    ],
)
def test_bytes_for_people(count: float, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0.0123, "12.3 µs"), (0.9996, "1 ms"), (1, "1 ms"), (12.345, "12.3 ms"), (999.6, "1 s"), (61_000, "61 s")],
)
def test_latencies_for_people(milliseconds: float, text: str) -> None:
    assert format_ms(milliseconds) == text


@given(st.floats(1e-3, 9e5))
def test_latencies_keep_three_digits(milliseconds: float) -> None:
    number, unit = format_ms(milliseconds).split()
    assert "e" not in number
    assert float(number) * {"µs": 1e-3, "ms": 1, "s": 1e3}[unit] == pytest.approx(milliseconds, rel=0.0051)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4GB", 4_000_000_000), ("500MB", 500_000_000), ("2GiB", 1 << 31), ("1.5 gb", 1_500_000_000), ("1024", 1024),
        (" 7kb ", 7000), ("1TiB", 1 << 40), ("3b", 3),
    ],
)  # fmt: skip
def test_sizes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "0", "-1GB", "GB", "4 G", "4GBs", "1e30", "nan", "inf", "9" * 30, "9999999TB", "४GB"]
)
def test_what_is_no_size(text: str, refuses: Refuses) -> None:
    refuses(lambda: parse_bytes(text))


@pytest.mark.parametrize(
    ("milliseconds", "low", "high", "text"),
    [
        (0.0209, 0.02093, 0.02096, "[20.93, 20.96]"),
        (0.9996, 0.9, 1.2, "[0.9, 1.2]"),
        (12.5, 12.25, 13.0, "[12.25, 13]"),
        (1500.0, 900.0, 2100.0, "[0.9, 2.1]"),
        (12.5, None, None, ""),
        (12.5, float("nan"), float("nan"), ""),
    ],
)
def test_an_interval_has_the_unit_of_its_latency(
    milliseconds: float, low: float | None, high: float | None, text: str
) -> None:
    assert format_ms_interval(milliseconds, low, high) == text
