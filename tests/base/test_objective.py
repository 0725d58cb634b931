from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netdyno.base.objective import Optimisable


class Percent(Optimisable):
    name = "accuracy_pct"
    ceiling = 100.0
    complement = "error_pct"

    def __call__(self, X: Any) -> Any:
        return X.sum(axis=1) * 1.0


class Plain(Percent):
    name = "score"
    ceiling = 0.0
    complement = None


POPULATION = np.array([[10, 20], [0, 7]])


def test_minimising_is_the_value_itself() -> None:
    objective = Percent().minimize()
    assert objective.name == "accuracy_pct"
    np.testing.assert_array_equal(objective.evaluate(POPULATION), [30, 7])


def test_a_maximised_percentage_is_named_after_its_complement() -> None:
    objective = Percent().maximize()
    assert objective.name == "error_pct"
    np.testing.assert_array_equal(objective.evaluate(POPULATION), [70, 93])


def test_maximising_without_a_ceiling_negates() -> None:
    objective = Plain().maximize()
    assert objective.name == "negative_score"
    np.testing.assert_array_equal(objective.evaluate(POPULATION), [-30, -7])


def test_what_does_not_say_what_it_evaluates() -> None:
    with pytest.raises(TypeError, match="Optimisable"):
        Optimisable()(POPULATION)
