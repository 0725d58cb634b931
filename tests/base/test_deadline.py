from __future__ import annotations

import math

import pytest

from netdyno.base.deadline import GRACE_S, patience_s, silence, time_left_s, within


def test_without_one() -> None:
    assert time_left_s() == math.inf
    with within(None):
        assert patience_s(7.0) == 7.0
        assert silence(7.0) == "for 7 s"


def test_the_earliest_counts() -> None:
    with within(100.0):
        with within(1000.0):
            assert 99 < time_left_s() <= 100
        with within(10.0), within(None):
            assert 9 < patience_s(60.0) <= 10
            assert patience_s(5.0) == 5.0
        assert patience_s(5.0) == pytest.approx(10.0, abs=0.1)  # a tenth of what is left
        assert silence(7.0) == "for 7 s; give it more with --budget if it is slow"
        assert 99 < time_left_s() <= 100
    assert time_left_s() == math.inf


def test_what_is_over_leaves_time_to_close() -> None:
    with within(-5.0):
        assert patience_s(60.0) == GRACE_S
        assert silence(60.0) == "within the budget; give it more with --budget if it is slow"


def test_is_over_with_its_block() -> None:
    with pytest.raises(ZeroDivisionError), within(1.0):
        raise ZeroDivisionError
    assert time_left_s() == math.inf
