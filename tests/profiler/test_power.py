"""Power of a space from whole networks: what a limit on it stands on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from netdyno.nas.space import make_space
from netdyno.profiler.table import LookupTable, format_genes, make_rows

Refuses = Callable[[Callable[[], object]], str]
SPACE = make_space("cnn-cifar10")


def table(networks: int, names: list[str] | None = None) -> LookupTable:
    """Networks that draw 40 W, and more for features, units and kernels."""
    X = SPACE.sample(networks, 0)
    power = true_power(X)
    keys = names or [format_genes(genes) for genes in X]
    rows = {key: {"latency_ms": 1.0, "power_w": own} for key, own in zip(keys, power.tolist(), strict=True)}
    between = {f"{format_genes(SPACE.largest())}@64": {"latency_ms": 1.0, "power_w": 1e6}}
    return LookupTable("t", {}, make_rows("layer", {}), make_rows("genes", rows | between))


def true_power(X: np.ndarray) -> np.ndarray:
    return 40 + SPACE.structure(X) @ np.r_[np.full(3, 0.1), np.full(3, 1.0), np.zeros(3), 0.01]


def test_a_linear_power_is_found() -> None:
    cost = table(60).cost(SPACE, "power_w")
    X = SPACE.sample(200, 1)
    np.testing.assert_allclose(cost(X), true_power(X), rtol=2e-3)
    limit = cost.at_most(60.0)
    assert (limit.violation(X) > 0).any() and (limit.cautious().violation(X) >= limit.violation(X)).all()


def test_what_it_cannot_be_taken_from(refuses: Refuses) -> None:
    assert "no power_w of whole networks" in refuses(
        lambda: LookupTable("t", {}, make_rows("layer", {})).cost(SPACE, "power_w")
    )
    assert "at least 10" in refuses(lambda: table(9).cost(SPACE, "power_w"))
    assert "no gradients" in refuses(lambda: table(20).cost(SPACE, "power_w").torch())


@pytest.mark.parametrize("name", ["a b", "1 2 3", "9 " * 13, "9" * 40, "1.5 " * 13])
def test_networks_of_another_space(name: str, refuses: Refuses) -> None:
    refuses(lambda: table(1, [name]).cost(SPACE, "power_w"))
