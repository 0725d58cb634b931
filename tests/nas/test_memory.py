from __future__ import annotations

import numpy as np
import pytest

from netdyno.nas.search import memory
from netdyno.nas.search.memory import Memory
from netdyno.nas.search.problem import Scores


def _evaluate(X: np.ndarray) -> Scores:
    assert len(X), "nothing is not asked"
    return Scores(np.stack([X.sum(axis=1), X[:, 0] * 2.0], axis=1), X[:, 1] % 2 * 1.0)


def test_scores_are_those_of_an_evaluation_and_none_is_asked_twice() -> None:
    generator = np.random.default_rng(0)
    kept, seen = Memory(4, 2), set()
    for _ in range(60):
        X = generator.integers(5, size=(100, 4))
        scores, new = kept.scores(X, _evaluate)
        expected = _evaluate(X)
        np.testing.assert_array_equal(scores.F, expected.F)
        np.testing.assert_array_equal(scores.violation, expected.violation)
        fresh = {genes.tobytes() for genes in X} - seen
        assert {X[row].tobytes() for row in new} == fresh
        assert len(new) == len(fresh)
        seen |= fresh
    assert len(seen) > 500


def test_it_forgets_rather_than_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MOST", 50)
    kept = Memory(4, 2)
    X = np.arange(600).reshape(150, 4)
    assert len(kept.scores(X, _evaluate)[1]) == 150
    scores, new = kept.scores(X[:10], _evaluate)
    assert len(new) == 10
    np.testing.assert_array_equal(scores.F, _evaluate(X[:10]).F)
    assert len(kept.scores(X[:10], _evaluate)[1]) == 0
