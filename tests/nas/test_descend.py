"""Differentiable searches: every formulation, targets, and a training that is cut off and goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netdyno.base.progress import Progress, silent
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.search.differentiable import FORMULATIONS as FORMULATION_NAMES
from netdyno.nas.search.differentiable import descend as module
from netdyno.nas.search.differentiable.descend import Descended, Descent, descend
from netdyno.nas.search.differentiable.fit import FULL, fit
from netdyno.nas.search.differentiable.formulations import make_relaxation
from netdyno.nas.search.differentiable.multi_path import MIXES, MultiPath
from netdyno.nas.search.differentiable.relaxation import Relaxation
from netdyno.nas.search.differentiable.runtime import ExactRuntime, PaperRuntime, fastest
from netdyno.nas.search.differentiable.single_path import GatedPath, SoftmaxPath, decide, marginals
from netdyno.nas.search.problem import neighbours
from netdyno.nas.spaces.single_path import SinglePath, SinglePathPlus
from netdyno.nas.supernets.single_path import SinglePathSupernet
from netdyno.nas.supernets.store import make_supernet
from netdyno.nas.supernets.superkernel import Gates
from netdyno.profiler.cost.cost import LayerCost
from netdyno.profiler.table import LookupTable, make_rows

Refuses = Callable[[Callable[[], object]], str]
Stripes = Callable[[int, int], Dataset]

SPACE = SinglePathPlus(width=0.1, resolution=32, classes=10)
NARROW = SinglePath(width=0.1, resolution=32, classes=10)
FORMULATIONS = ("hard", "sigmoid", "softmax", *(f"multi-{mix}" for mix in MIXES))
SHORT = {"steps": 6, "batch": 8, "warm_up": 0.34, "seed": 1}


@cache
def cost_on(space: SinglePath) -> LayerCost:
    rows = {layer.key: {"latency_ms": 0.1 + layer.macs / 1e5} for layer in space.vocabulary()}
    return LookupTable("t", {}, make_rows("layer", rows | {"overhead": {"latency_ms": 0.05}})).cost(space)


@pytest.fixture(scope="module")
def cost() -> LayerCost:
    return cost_on(SPACE)


@pytest.fixture(scope="module")
def narrow_cost() -> LayerCost:
    return cost_on(NARROW)


@pytest.fixture(scope="module")
def data(stripes: Stripes) -> Dataset:
    return stripes(64, 0)


def supernet_of(space: SinglePath, seed: int = 0) -> SinglePathSupernet:
    made = make_supernet(space, seed)
    assert isinstance(made, SinglePathSupernet)
    return made


def make(formulation: str, cost: LayerCost) -> Relaxation:
    torch.manual_seed(0)
    space = cost.space
    assert isinstance(space, SinglePath)
    if formulation.startswith("multi-"):
        return MultiPath(space, cost.torch(), formulation.removeprefix("multi-"))
    if formulation == "softmax":
        return SoftmaxPath(supernet_of(space), cost.torch())
    return GatedPath(supernet_of(space), ExactRuntime(cost, space), hard=formulation == "hard")


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_weights_learn_from_the_first_step_and_the_architecture_after_the_warm_up(
    formulation: str, cost: LayerCost, data: Dataset
) -> None:
    relaxation = make(formulation, cost)
    before = [value.detach().clone() for value in relaxation.architecture()]
    weights = [value.detach().clone() for value in relaxation.weights()]
    found = descend(relaxation, cost, data, Descent(**SHORT | {"warm_up": 1.0}))
    assert all(torch.equal(a, b) for a, b in zip(before, relaxation.architecture(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights, relaxation.weights(), strict=True))
    assert len(relaxation.weights()) + len(before) == len(list(relaxation.parameters()))
    found = descend(relaxation, cost, data, Descent(**SHORT))
    assert not all(torch.equal(a, b) for a, b in zip(before, relaxation.architecture(), strict=True))
    SPACE.check(found.architectures)
    np.testing.assert_allclose(found.history[:, 2], cost(found.architectures))
    np.testing.assert_array_equal(found.genes, relaxation.genes())
    reluctance = relaxation.reluctance()
    np.testing.assert_array_equal(np.isfinite(reluctance).sum(axis=1), SPACE.cardinalities)
    assert (reluctance >= 0).all()
    np.testing.assert_array_equal(reluctance[np.arange(20), found.genes], 0)
    leads = np.stack(list(found.leads.values()))
    rigid = [not place.skips for place in SPACE.places]
    if "multi" in formulation or formulation == "softmax":
        assert list(found.leads) == [*(option.name for option in SPACE.options), "skip"]
        np.testing.assert_array_equal(np.isnan(leads).argmax(axis=0)[rigid], 12)
        np.testing.assert_array_equal(np.nanargmax(leads, axis=0), found.genes)
    else:
        assert list(found.leads) == ["k5", "e3", "e6", "se25", "se50"]
        np.testing.assert_array_equal(decide((leads > 0).T | np.isnan(leads.T), SPACE), found.genes)
    assert np.isnan(leads).sum() == sum(rigid)


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_a_training_that_is_cut_off_ends_where_it_would_have(
    formulation: str, narrow_cost: LayerCost, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEEP_S", -1.0)
    monkeypatch.setattr(module, "_KEEP_SHARE", 1e9)
    target = 0.98 * float(narrow_cost(NARROW.largest()[None])[0])
    settings_ = Descent(**SHORT | {"architecture_rate": 1.0}, target=target)

    def go_on(
        progress: Progress = silent, keep: Path | None = tmp_path / "search.pt"
    ) -> tuple[Relaxation, Descended]:
        relaxation = make(formulation, narrow_cost)
        return relaxation, descend(relaxation, narrow_cost, data, settings_, progress, keep)

    def pull(stage: str, done: int, total: int, note: str = "") -> None:
        if done in {2, 5}:
            raise KeyboardInterrupt

    whole, expected = go_on(keep=None)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            go_on(pull)
    again, found = go_on()
    _same(found, expected)
    state = again.state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, state[name]), name
    told: list[int] = []
    _same(go_on(lambda *_: told.append(1))[1], expected)
    assert not told, "what is done is not done again"


def _same(found: Descended, expected: Descended) -> None:
    np.testing.assert_array_equal(found.history, expected.history)
    np.testing.assert_array_equal(found.architectures, expected.architectures)
    assert found.chosen == expected.chosen


def test_a_penalty_closes_gates_and_none_leaves_them_open(cost: LayerCost, data: Dataset) -> None:
    loose, tight = make("hard", cost), make("hard", cost)
    long = Descent(steps=40, batch=8, warm_up=0.1, architecture_rate=0.1, penalty=0.0)
    descend(loose, cost, data, long)
    strict = Descent(steps=40, batch=8, warm_up=0.1, architecture_rate=1.0, penalty=100.0)
    found = descend(tight, cost, data, strict)
    assert cost(loose.genes()[None])[0] > cost(found.genes[None])[0]
    np.testing.assert_array_equal(found.genes, fastest(cost, SPACE))


def test_a_target_is_met(cost: LayerCost, data: Dataset) -> None:
    least, most = float(cost(fastest(cost, SPACE)[None])[0]), float(cost(SPACE.largest()[None])[0])
    target = (least + most) / 2
    settings_ = Descent(steps=120, batch=8, warm_up=0.2, architecture_rate=0.05, target=target)
    found = descend(make("hard", cost), cost, data, settings_)
    assert found.history[found.chosen, 2] <= cost(found.genes[None])[0] <= target
    late = found.history[96:, 2]
    assert found.history[found.chosen, 2] == late[late <= target].max()


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 3.0))
@example(0, 1.0)  # what the network costs, to the last bit
@settings(max_examples=50)
def test_an_architecture_is_fitted_to_a_target(seed: int, room: float) -> None:
    generator = np.random.default_rng(seed)
    cost = cost_on(SPACE)
    genes = SPACE.sample(1, generator)[0]
    before = float(cost(genes[None])[0])
    absent = np.arange(len(SPACE.options) + 1) >= SPACE.cardinalities[:, None]
    reluctance = np.where(absent, np.inf, generator.random(absent.shape))
    target = max(room * before, float(cost(fastest(cost, SPACE)[None])[0]) * 1.001)
    fitted = fit(genes, reluctance, cost, SPACE, target)
    after = float(cost(SPACE.check(fitted))[0])
    assert after <= target and (after >= before or target < before)
    costs = cost(neighbours(SPACE, fitted[None])[0])
    assert after >= FULL * target or not ((costs > after * (1 + 1e-9)) & (costs < target)).any()


@given(st.integers(0, 2**32 - 1))
@example(116)
@settings(max_examples=20)
def test_a_target_that_is_missed_by_a_last_bit_is_no_endless_search(seed: int) -> None:
    generator = np.random.default_rng(seed)
    cost = cost_on(SPACE)
    more = SPACE.sample(1, generator)[0]
    less, layer = more.copy(), generator.integers(len(more))
    less[layer] = generator.integers(SPACE.cardinalities[layer])
    reluctance = np.where(np.arange(len(SPACE.options) + 1) >= SPACE.cardinalities[:, None], np.inf, 1.0)
    reluctance[np.arange(len(more)), more] = 1e-3  # what leads to it is taken first
    target = float(np.nextafter(cost(more[None])[0], 0))
    assert cost(fit(less, reluctance, cost, SPACE, target)[None])[0] <= target


def test_the_nearest_part_is_taken_first(cost: LayerCost) -> None:
    genes = SPACE.smallest()
    reluctance = np.full((20, len(SPACE.options) + 1), np.inf)
    reluctance[5, 3], reluctance[9, 4], reluctance[9, 5] = 2.0, 1.0, 3.0
    other = genes.copy()
    other[9] = 4
    np.testing.assert_array_equal(fit(genes, reluctance, cost, SPACE, float(cost(other[None])[0]) * 1.0001), other)


def test_a_target_below_the_fastest_network_is_refused_at_once(
    cost: LayerCost, data: Dataset, refuses: Refuses
) -> None:
    least = float(cost(fastest(cost, SPACE)[None])[0])
    assert least == pytest.approx(cost(SPACE.sample(3000, 0)).min(), rel=0.5)
    told: list[int] = []
    message = refuses(
        lambda: descend(make("hard", cost), cost, data, Descent(target=least * 0.99), lambda *a: told.append(1))
    )
    assert f"{least:.4g}" in message and not told
    descend(make("hard", cost), cost, data, Descent(**SHORT | {"architecture_rate": 1.0}, target=least * 1e6))


def test_formulations_by_name(cost: LayerCost) -> None:
    for name in FORMULATION_NAMES.names():
        assert make_relaxation(name, SPACE, cost, 0).formulation == name
    papers = make_relaxation("single-path-paper", SPACE, cost, 0)
    assert isinstance(papers, GatedPath) and isinstance(papers.runtime, PaperRuntime) and papers.thresholds.hard


def test_the_fastest_network_is_that(cost: LayerCost) -> None:
    X = SPACE.sample(5000, 1)
    assert cost(fastest(cost, SPACE)[None])[0] <= cost(X).min()


def test_what_cannot_be_trained(cost: LayerCost, data: Dataset, refuses: Refuses) -> None:
    wild = Descent(steps=30, batch=8, learning_rate=1e30)
    assert "learning_rate" in refuses(lambda: descend(make("sigmoid", cost), cost, data, wild))
    two = SinglePathPlus(width=0.1, resolution=32, classes=2)
    relaxation = GatedPath(supernet_of(two), ExactRuntime(cost, SPACE))
    assert "classes" in refuses(lambda: descend(relaxation, cost, data))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"batch": 1},
        {"penalty": -1.0},
        {"penalty": float("nan")},
        {"learning_rate": float("inf")},
        {"target": 0.0},
        {"target": float("nan")},
        {"target": 1.0, "penalty": 0.0},
        {"warm_up": 1.1},
        {"dropout": 1.0},
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, float], refuses: Refuses) -> None:
    refuses(lambda: Descent(**wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04cos\nsystem\n(S'true'\ntR."])
def test_a_damaged_checkpoint(
    content: bytes, cost: LayerCost, data: Dataset, tmp_path: Path, refuses: Refuses
) -> None:
    (tmp_path / "search.pt").write_bytes(content)
    refuses(lambda: descend(make("hard", cost), cost, data, Descent(**SHORT), keep=tmp_path / "search.pt"))


def test_another_search_s_checkpoint(cost: LayerCost, data: Dataset, tmp_path: Path, refuses: Refuses) -> None:
    keep = tmp_path / "search.pt"
    descend(make("hard", cost), cost, data, Descent(**SHORT), keep=keep)
    for other in ("sigmoid", "softmax", "multi-gumbel"):
        relaxation = make(other, cost)
        assert "--fresh" in refuses(
            lambda own=relaxation: descend(own, cost, data, Descent(**SHORT), keep=keep)  # type: ignore[misc]
        )
    assert "--fresh" in refuses(
        lambda: descend(make("hard", cost), cost, data, Descent(**SHORT | {"seed": 2}), keep=keep)
    )
    again = {"keep": keep, "identity": "another table"}
    assert "--fresh" in refuses(lambda: descend(make("hard", cost), cost, data, Descent(**SHORT), **again))  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_marginal_gates_are_how_often_options_have_their_parts(seed: int) -> None:
    generator = np.random.default_rng(seed)
    chances = torch.from_numpy(generator.dirichlet(np.full(13, 0.5), size=20))
    for row, gates in zip(chances, marginals(chances, SPACE), strict=True):
        forced = torch.stack([torch.stack(list(Gates.force(option))) for option in SPACE.options]).double()
        kept = row[:-1]
        torch.testing.assert_close(gates.e3, kept.sum())
        torch.testing.assert_close(gates.e3 * gates.k5, (kept * forced[:, 0]).sum())
        torch.testing.assert_close(gates.e3 * gates.e6, (kept * forced[:, 2]).sum())
        torch.testing.assert_close(gates.e3 * gates.se25, (kept * forced[:, 3]).sum())
        torch.testing.assert_close(gates.e3 * gates.se25 * gates.se50, (kept * forced[:, 4]).sum())


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_open_gates_decide_what_forced_gates_are(seed: int) -> None:
    (genes,) = SPACE.sample(1, seed)
    forced = torch.stack([torch.stack(list(Gates.force([*SPACE.options, None][gene]))) for gene in genes])
    np.testing.assert_array_equal(decide(forced > 0.5, SPACE), genes)
