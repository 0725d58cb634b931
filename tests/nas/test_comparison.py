"""Hypervolumes and agreement, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from netdyno.nas.comparison import agreement, attainment, normalised_hypervolume, reference_point

ONE = np.array([[0.0, 1.0], [1.0, 0.0]])
OTHER = np.array([[0.5, 0.5]])


def test_the_reference_lies_behind_all() -> None:
    np.testing.assert_allclose(reference_point([ONE, OTHER]), [1.05, 1.05])
    np.testing.assert_allclose(reference_point([OTHER]), [0.55, 0.55])


def test_shares_of_the_joint_front() -> None:
    ref = np.array([2.0, 2.0])
    assert normalised_hypervolume(ONE, ref, [ONE, OTHER]) == pytest.approx(3.0 / 3.25)
    assert normalised_hypervolume(OTHER, ref, [ONE, OTHER]) == pytest.approx(2.25 / 3.25)
    assert normalised_hypervolume(ONE, np.zeros(2), [ONE]) == 0.0


def test_attainment() -> None:
    growth = np.array([[10, 1.0, 1.0], [20, 0.0, 1.0], [20, 1.0, 0.0]])
    np.testing.assert_allclose(attainment(growth, np.array([2.0, 2.0]), [5, 10, 19, 20, 99]), [0, 1, 1, 3, 3])


def test_agreement_of_predictions() -> None:
    told = agreement(np.array([1.1, 2.2, 3.3, 2.9]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert told.kendall_tau == pytest.approx(4 / 6)
    assert told.spearman == pytest.approx(0.8)
    assert told.mape_pct == pytest.approx((10 + 10 + 10 + 27.5) / 4)
    assert np.isnan(agreement(np.ones(3), np.arange(1.0, 4.0)).spearman)
