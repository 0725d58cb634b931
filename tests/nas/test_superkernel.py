"""The superkernel: with forced gates the plain block of that choice, between them a function with true gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from netdyno.nas.search.differentiable.thresholds import GATES, Indicator, Thresholds
from netdyno.nas.space import Space
from netdyno.nas.spaces.single_path import Option, SinglePath, SinglePathPlus
from netdyno.nas.supernets.modules import MBConvModule
from netdyno.nas.supernets.single_path import SinglePathSupernet
from netdyno.nas.supernets.superkernel import Gates, Superkernel
from netdyno.nas.supernets.supernet import Supernet

SPACES = {"single-path": SinglePath, "single-path-plus": SinglePathPlus}


@pytest.fixture(scope="module", params=SPACES)
def supernet(request: pytest.FixtureRequest, stirred_supernet: Callable[[Space], Supernet]) -> SinglePathSupernet:
    made = stirred_supernet(SPACES[request.param](width=0.25, resolution=32, classes=10))
    assert isinstance(made, SinglePathSupernet)
    return made


def images_for(superkernel: Superkernel, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn((2, superkernel.place.cin, 9, 9), generator=generator, dtype=dtype)


def options(supernet: SinglePathSupernet, superkernel: Superkernel) -> list[Option | None]:
    return [*supernet.space.options, *([None] if superkernel.place.skips else [])]


@pytest.mark.parametrize("place", [0, 1, 12, 17])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
def test_forced_gates_are_the_plain_block(
    supernet: SinglePathSupernet, place: int, dtype: torch.dtype, tolerance: float
) -> None:
    superkernel = supernet.superkernels[place].to(dtype)
    x = images_for(superkernel, dtype)
    for option in options(supernet, superkernel):
        plain = x
        if option is not None:
            layer = superkernel.place.layer(option)
            block = MBConvModule(layer).to(dtype).eval()
            with torch.no_grad():
                superkernel.copy_to(block, layer)
            plain = block(x)
        gated = superkernel.between(x, Gates.force(option))
        scale = float(plain.detach().abs().max())
        torch.testing.assert_close(gated, plain, rtol=0, atol=tolerance * scale)
        torch.testing.assert_close(superkernel.choose(x, option), plain, rtol=0, atol=tolerance * scale)
    superkernel.float()


def test_forced_gates_are_the_plain_block_in_training(supernet: SinglePathSupernet) -> None:
    """Batch norm by the batch's own statistics: nothing that a gate shuts off leaks into them."""
    superkernel = supernet.superkernels[1].double().train()
    x = images_for(superkernel, torch.float64)
    for option in options(supernet, superkernel):
        torch.testing.assert_close(superkernel.between(x, Gates.force(option)), superkernel.choose(x, option))
    superkernel.float().eval()


def test_networks_are_those_of_their_gates(supernet: SinglePathSupernet) -> None:
    x = torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    for genes in [supernet.space.smallest(), supernet.space.largest(), *supernet.space.sample(4, seed=2)]:
        gates = [Gates.force(option) for option in supernet.options(genes)]
        with torch.no_grad():
            expected = supernet(x, genes)
            scale = float(expected.abs().max())
            torch.testing.assert_close(supernet.between(x, gates), expected, rtol=0, atol=1e-5 * scale)
            torch.testing.assert_close(supernet.extract(genes)(x), expected, rtol=0, atol=1e-5 * scale)


def random_gates(skips: bool, seed: int) -> list[Tensor]:
    gates = torch.rand(len(Gates._fields), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gates[GATES["e3"]] = gates[GATES["e3"]] if skips else 1.0
    return [gate.clone().requires_grad_() for gate in gates]


@pytest.mark.parametrize("place", [0, 1])
def test_between_gates_gradients_are_finite_differences(supernet: SinglePathSupernet, place: int) -> None:
    superkernel = supernet.superkernels[place].double()
    x = images_for(superkernel, torch.float64)
    for seed in range(3):
        gates = random_gates(superkernel.place.skips, seed)
        assert torch.autograd.gradcheck(lambda *each: superkernel.between(x, Gates(*each)).sin().sum(), gates)
    superkernel.float()


def test_relaxed_thresholds_gradients_are_finite_differences(supernet: SinglePathSupernet) -> None:
    supernet.double()
    thresholds = Thresholds(supernet, hard=False).double()
    x = torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss() -> Tensor:
        return supernet.between(x, thresholds(supernet)).square().sum()

    loss().backward()  # type: ignore[no-untyped-call]
    assert thresholds.values.grad is not None
    step = 1e-6
    for layer, gate in ((0, "k5"), (1, "e3"), (5, "e6"), (19, "k5"), *supernet_extras(supernet)):
        where = (layer, GATES[gate])
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                thresholds.values[where] = sign * step
                ends.append(float(loss()))
            thresholds.values[where] = 0.0
        difference = (ends[0] - ends[1]) / (2 * step)
        assert float(thresholds.values.grad[where]) == pytest.approx(difference, rel=1e-4, abs=1e-6)
    supernet.zero_grad()
    supernet.float()


def supernet_extras(supernet: SinglePathSupernet) -> list[tuple[int, str]]:
    return [(1, "se25"), (1, "se50")] if len(supernet.space.ratios) > 1 else []


def test_the_indicator_is_hard_and_its_gradient_the_sigmoid_s() -> None:
    margin = torch.tensor([-2.0, -1e-9, 0.0, 1e-9, 0.7], requires_grad=True)
    gates = Indicator.apply(margin)
    assert gates.tolist() == [0, 0, 0, 1, 1]
    (gates * torch.arange(1.0, 6.0)).sum().backward()
    soft = torch.sigmoid(margin.detach())
    torch.testing.assert_close(margin.grad, torch.arange(1.0, 6.0) * soft * (1 - soft))


def test_a_hard_threshold_s_gradient_is_that_of_its_gate(supernet: SinglePathSupernet) -> None:
    """−∂L/∂gate · σ′(norm − threshold), for gates that are open and for gates that are shut."""
    supernet.double()
    thresholds = Thresholds(supernet).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        thresholds.values.uniform_(0.5, 1.5, generator=generator)
    x = torch.randn((2, 3, 32, 32), generator=generator, dtype=torch.float64)
    gates = thresholds(supernet)
    for own in gates:
        for gate in own:
            if gate.requires_grad:
                gate.retain_grad()
    supernet.between(x, gates).square().sum().backward()  # type: ignore[no-untyped-call]
    values = torch.stack([torch.stack([gate.detach() for gate in own]) for own in gates])
    through = torch.stack([torch.stack([_gradient(gate) for gate in own]) for own in gates])
    soft = torch.sigmoid(thresholds.margins(supernet))
    torch.testing.assert_close(thresholds.values.grad, -through * soft * (1 - soft))
    searched = [position for name, position in GATES.items() if len(supernet.space.ratios) > 1 or "se" not in name]
    for position in searched:
        assert set(values[:, position].tolist()) == {0.0, 1.0}
        assert through[values[:, position] == 0, position].any(), "what is shut must be able to open again"
    supernet.zero_grad()
    supernet.float()


def _gradient(gate: Tensor) -> Tensor:
    return torch.zeros_like(gate) if gate.grad is None else gate.grad


def test_a_new_supernet_s_gates_are_all_open(supernet: SinglePathSupernet) -> None:
    thresholds = Thresholds(supernet)
    gates = torch.stack([torch.stack(list(own)) for own in thresholds(supernet)])
    expected = Gates.force(supernet.space.options[-1])
    assert torch.equal(gates, torch.stack(list(expected)).expand_as(gates))
    norms = (thresholds.margins(supernet) + thresholds.values).detach().numpy()
    np.testing.assert_allclose(norms, 1.0, rtol=1e-5)
