"""Our own formulations, each made of a space, a cost and a seed."""

from __future__ import annotations

from functools import partial

import torch

from netdyno.base.errors import InputError
from netdyno.nas.search.differentiable import FORMULATIONS
from netdyno.nas.search.differentiable.multi_path import MultiPath
from netdyno.nas.search.differentiable.relaxation import Relaxation
from netdyno.nas.search.differentiable.runtime import ExactRuntime, PaperRuntime
from netdyno.nas.search.differentiable.single_path import GatedPath, SoftmaxPath
from netdyno.nas.space import Space
from netdyno.nas.spaces.single_path import SinglePath
from netdyno.nas.supernets.single_path import SinglePathSupernet
from netdyno.nas.supernets.store import make_supernet
from netdyno.profiler.cost.cost import LayerCost


def make_relaxation(name: str, space: Space, cost: LayerCost, seed: int) -> Relaxation:
    """The formulation of a name on a space, its weights drawn with ``seed``.

    Raises:
        UnknownName: no such formulation.
        InputError: the space has no superkernels, or the cost does not add up over its layers.
    """
    build = FORMULATIONS.load(name)
    space = require_superkernels(name, space)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        relaxation: Relaxation = build(space, cost, seed)
    relaxation.formulation = name
    return relaxation


def require_superkernels(name: str, space: Space) -> SinglePath:
    """The space, if the formulation of that name searches it.

    Raises:
        InputError: the space has no superkernels.
    """
    if not isinstance(space, SinglePath):
        raise InputError(f"{name} searches single-path and single-path-plus, not {space.name}")
    return space


def _supernet(space: SinglePath, seed: int) -> SinglePathSupernet:
    supernet = make_supernet(space, seed)
    assert isinstance(supernet, SinglePathSupernet)
    return supernet


def _gated(space: SinglePath, cost: LayerCost, seed: int, *, hard: bool, exact: bool = True) -> Relaxation:
    runtime = ExactRuntime(cost, space) if exact else PaperRuntime(cost, space)
    return GatedPath(_supernet(space, seed), runtime, hard=hard)


def _multi(space: SinglePath, cost: LayerCost, seed: int, *, mix: str) -> Relaxation:
    return MultiPath(space, cost.torch(), mix)


def single_path_softmax(space: SinglePath, cost: LayerCost, seed: int) -> Relaxation:
    """One superkernel, options by softmax."""
    return SoftmaxPath(_supernet(space, seed), cost.torch())


single_path = partial(_gated, hard=True)
single_path_paper = partial(_gated, hard=True, exact=False)
single_path_sigmoid = partial(_gated, hard=False)
multi_path_softmax = partial(_multi, mix="softmax")
multi_path_gumbel = partial(_multi, mix="gumbel")
multi_path_sampled = partial(_multi, mix="sampled")
