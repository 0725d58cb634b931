from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from netdyno.base.errors import UnknownName
from netdyno.nas.ensembles import vote
from netdyno.nas.ensembles.ensemble import sample
from netdyno.nas.ensembles.predictions import Predictions, sparse
from netdyno.nas.ensembles.vote import VOTINGS, VotedAccuracy, Voting

Refuses = Callable[[Callable[[], object]], str]
Dense = NDArray[np.float64]


def one_by_one(members: list[int], dense: Dense, image: int, voting: Voting) -> int:
    """The winner as the rule reads, over all probabilities ``(n, images, classes)``."""
    rows = dense[members, image]
    total = rows.sum(axis=0)
    candidates = list(range(dense.shape[2]))
    if voting == "hard":
        votes = Counter(int(row.argmax()) for row in rows)
        candidates = [c for c in candidates if votes[c] == max(votes.values())]
    return min(candidates, key=lambda c: (-total[c], c))


def brute_force(members: NDArray[np.int64], dense: Dense, labels: NDArray[np.int64], voting: Voting) -> list[float]:
    found = []
    for row in members:
        seats = [int(seat) for seat in row if seat >= 0]
        right = [one_by_one(seats, dense, i, voting) == label for i, label in enumerate(labels)]
        found.append(100 * sum(right) / len(labels))
    return found


@pytest.mark.parametrize("voting", VOTINGS)
@pytest.mark.parametrize(("classes", "k"), [(7, 7), (7, 3), (2, 1), (300, 4)])
@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_votes_are_those_of_a_count_by_hand(
    make_pool: Callable[..., tuple[Predictions, Dense]], voting: Voting, classes: int, k: int, precision: str
) -> None:
    predictions, dense = make_pool(classes=classes, k=k, precision=precision)
    kept = np.zeros_like(dense)
    np.put_along_axis(kept, predictions.ids.astype(int), predictions.probabilities.astype(float), axis=2)
    members = np.concatenate([sample(40, 20, np.random.default_rng(1)), np.full((1, 8), -1), np.full((1, 8), 3)])
    members[-2, 2] = 19
    expected = brute_force(members, kept, predictions.labels, voting)
    assert VotedAccuracy(predictions, voting)(members) == pytest.approx(expected)


def test_ties_are_broken_by_probability_then_by_the_lowest_class() -> None:
    rows = [[0.4, 0.3, 0.3], [0.0, 0.6, 0.4], [0.2, 0.2, 0.6], [0.3, 0.4, 0.3]]
    ids, probabilities = (
        np.stack(part)[:, None]
        for part in zip(
            *((i[0], p[0]) for i, p in (sparse(np.array([row]), 3, "float32") for row in rows)), strict=True
        )
    )
    genes = np.zeros((4, 1), np.int64)

    def wins(members: list[int], voting: Voting) -> int:
        right = [
            VotedAccuracy(Predictions(genes, ids, probabilities, np.array([label]), 3), voting)(np.array([members]))[
                0
            ]
            for label in range(3)
        ]
        assert sorted(right) == [0, 0, 100]
        return right.index(100)

    assert wins([0, 1], "hard") == 1  # a vote each for 0 and 1, with 0.4 and 0.9
    assert wins([0, 3], "hard") == 0  # a vote each for 0 and 1, with 0.7 each: the lowest
    assert wins([0, 1, 3], "hard") == 1
    assert wins([0, 2], "soft") == 2
    assert wins([0, 3], "soft") == 0


def test_where_all_agree_nothing_is_left_to_count(make_pool: Callable[..., tuple[Predictions, Dense]]) -> None:
    predictions, _ = make_pool(k=1)
    alike = predictions.subset(np.zeros(3, np.int64))
    for voting in VOTINGS:
        found = VotedAccuracy(alike, voting)(np.array([[0, 1, 2], [0, -1, 1]]))
        np.testing.assert_allclose(found, alike.accuracy_pct[0])


def test_large_populations_are_counted_in_parts(
    make_pool: Callable[..., tuple[Predictions, Dense]], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions, _ = make_pool()
    members = sample(50, 20, np.random.default_rng(0))
    for voting in VOTINGS:
        accuracy = VotedAccuracy(predictions, voting)
        whole = accuracy(members)
        with monkeypatch.context() as patch:
            patch.setattr(vote, "CHUNK", 5000)
            np.testing.assert_array_equal(accuracy(members), whole)


def test_it_is_an_accuracy(make_pool: Callable[..., tuple[Predictions, Dense]], refuses: Refuses) -> None:
    predictions, _ = make_pool()
    accuracy = VotedAccuracy(predictions, "soft")
    assert accuracy.maximize().name == "error_pct"
    np.testing.assert_allclose(accuracy(np.arange(20)[:, None]), predictions.accuracy_pct)
    refuses(lambda: accuracy(np.array([[0, 20]])))
    with pytest.raises(UnknownName):
        VotedAccuracy(predictions, "loud")  # type: ignore[arg-type]
