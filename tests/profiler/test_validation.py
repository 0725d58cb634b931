from __future__ import annotations

import math

import numpy as np
import pytest

from netdyno.profiler.validation import noise_floor_pct, score


def test_scores_by_hand() -> None:
    found = score(np.array([1.1, 1.9, 3.0, 4.4]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found is not None
    assert found.mape_pct == pytest.approx((10 + 5 + 0 + 10) / 4)
    assert found.rmspe_pct == pytest.approx(math.sqrt((100 + 25 + 0 + 100) / 4))
    assert found.bias_pct == pytest.approx((10 - 5 + 0 + 10) / 4)
    assert found.spearman == found.kendall_tau == pytest.approx(1)
    reverse = score(np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0]))
    assert reverse is not None and reverse.spearman == pytest.approx(-1)
    assert score(np.ones(2), np.ones(2)) is None


def test_the_floor_is_what_a_perfect_prediction_is_charged_with() -> None:
    """Networks of one true cost whose starts and rounds scatter: their medians' mean error is known."""
    generator = np.random.default_rng(0)
    for between, within in ((0.01, 0.002), (0.0, 0.02), (0.01, 0.02)):
        networks, errors = [], []
        for _ in range(2000):
            starts = {s: 1 + generator.normal(0, between) + generator.normal(0, within, 5) for s in range(3)}
            networks.append(starts)
            errors.append(abs(np.median([np.median(rounds) for rounds in starts.values()]) - 1))
        assert noise_floor_pct(networks) == pytest.approx(100 * np.mean(errors), rel=0.35)


def test_what_tells_nothing() -> None:
    assert math.isnan(noise_floor_pct([]))
    assert math.isnan(noise_floor_pct([{}, {1: np.array([3.0])}]))
    assert noise_floor_pct([{1: np.array([1.0, 1.0])}, {1: np.array([3.0])}]) == 0
