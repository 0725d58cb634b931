"""The differentiable cost is the table at one-hot probabilities, and the expectation elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from netdyno.base.errors import InputError
from netdyno.nas.space import Space, make_space
from netdyno.profiler.cost.cost import LayerCost
from netdyno.profiler.table import LookupTable, make_rows

SPACES = {
    "ofa-mobilenetv3": {"width": 0.25, "resolutions": [48, 64], "classes": 10},
    "nasbench201": {},
    "fbnet": {},
}
CALIBRATION = {"measured": 0.9, "layers": 0.01, "weight_bytes": 1e-7, "input_bytes": 1e-8}


def cost_of(space: Space, *, calibrated: bool) -> LayerCost:
    rows = {
        layer.key: {"latency_ms": 0.1 + layer.params / 1e6 + i % 7, "memory_bytes": 1000 * (i + 1)}
        for i, layer in enumerate(space.vocabulary())
    }
    rows["overhead"] = {"latency_ms": 0.05, "memory_bytes": 10}
    conditions = {"calibration": {"latency_ms": CALIBRATION}} if calibrated else {}
    return LookupTable("t", conditions, make_rows("layer", rows)).layer_cost(space)


def one_hot(space: Space, X: np.ndarray) -> torch.Tensor:
    genes = torch.from_numpy(X).T
    widths = space.cardinalities.tolist()
    columns = [torch.nn.functional.one_hot(gene, width) for gene, width in zip(genes, widths, strict=True)]
    return torch.cat(columns, dim=1).double()


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("name", SPACES)
def test_one_hot_is_the_table(name: str, calibrated: bool) -> None:
    space = make_space(name, **SPACES[name])
    cost = cost_of(space, calibrated=calibrated)
    X = space.sample(300, seed=5)
    np.testing.assert_allclose(cost.torch()(one_hot(space, X)).numpy(), cost(X), rtol=1e-12)


def test_rows_of_a_network_size_are_met() -> None:
    """The last layer is one and the same at every size, and costs more in one network than in the other."""
    space = make_space("ofa-mobilenetv3", **SPACES["ofa-mobilenetv3"])
    rows = {
        f"{layer.key}@{size}": {"latency_ms": (i + 1) * size / 64}
        for size in (48, 64)
        for i, layer in enumerate(space.vocabulary())
    }
    cost = LookupTable("t", {}, make_rows("layer", rows)).layer_cost(space)
    X = space.sample(100, seed=5)
    np.testing.assert_allclose(cost.torch()(one_hot(space, X)).numpy(), cost(X), rtol=1e-12)


def test_between_it_is_the_expectation_and_its_gradient_is_right() -> None:
    space = make_space("ofa-mobilenetv3", **SPACES["ofa-mobilenetv3"])
    cost = cost_of(space, calibrated=True)
    generator = np.random.default_rng(0)
    widths = space.cardinalities.tolist()
    probabilities = [generator.dirichlet(np.full(width, 2.0)) for width in widths]
    rows = torch.from_numpy(np.concatenate(probabilities)).reshape(1, -1).requires_grad_()
    relaxed = cost.torch()
    drawn = np.stack([generator.choice(w, 40_000, p=p) for w, p in zip(widths, probabilities, strict=True)], axis=1)
    costs = cost(drawn)
    assert abs(relaxed(rows).item() - costs.mean()) < 5 * costs.std() / math.sqrt(len(costs))
    assert torch.autograd.gradcheck(relaxed, (rows,))


def test_what_does_not_add_up_has_no_expectation() -> None:
    space = make_space("ofa-mobilenetv3", **SPACES["ofa-mobilenetv3"])
    rows = {
        layer.key: {"memory_bytes": 4 * layer.params + layer.peak_activation_bytes} for layer in space.vocabulary()
    }
    table = LookupTable("t", {}, make_rows("layer", rows))
    with pytest.raises(InputError, match="does not add up"):
        table.cost(space, "memory_bytes").torch()
