"""MOTPE: the multi-objective tree-structured Parzen estimator, through Optuna (Ozaki et al. 2020).

It models where good and other architectures lie, gene by gene, and asks for what is likely among the good. Each
question weighs all that was measured, so it is for hundreds or a few thousand measurements that take their time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netdyno.base.errors import InputError
from netdyno.base.registry import require
from netdyno.nas.search.evaluator import Evaluator
from netdyno.nas.search.operators import spread
from netdyno.nas.space import Population, Space


def search_motpe(evaluate: Evaluator, seed: int, *, startup: int = 50, candidates: int = 24, batch: int = 1) -> None:
    """Parzen estimators after ``startup`` architectures; of ``candidates`` the most promising is asked for.

    ``batch`` architectures are evaluated at a time.

    Raises:
        MissingExtra: Optuna is not installed.
        InputError: a setting that cannot be.
    """
    if startup < 1 or candidates < 1 or batch < 1:
        raise InputError("MOTPE needs an architecture to start with, a candidate and a batch of one or more")
    optuna = require("optuna", extra="lab", purpose="MOTPE")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, n_ei_candidates=candidates)
    study = optuna.create_study(directions=["minimize"] * len(evaluate.problem.objectives), sampler=sampler)
    genes = _genes(evaluate.space, optuna.distributions)
    for first in evaluate.space.canonical(evaluate.first(startup, np.random.default_rng(seed), spread)):
        study.enqueue_trial(dict(zip(genes, first.tolist(), strict=True)))
    _evaluate(evaluate, study, genes, startup)
    while evaluate.left:
        _evaluate(evaluate, study, genes, batch)


def _evaluate(evaluate: Evaluator, study: Any, genes: dict[str, Any], n: int) -> None:
    """Ask for ``n`` architectures, and tell what they score."""
    trials = [study.ask(genes) for _ in range(n)]
    X: Population = np.array([[trial.params[gene] for gene in genes] for trial in trials], np.int64)
    scores = evaluate(evaluate.space.canonical(X))
    for trial, values, violation in zip(trials, scores.F.tolist(), scores.violation.tolist(), strict=True):
        if evaluate.problem.constraints:
            trial.set_constraint("violation", violation)
        study.tell(trial, values)


def _genes(space: Space, distributions: Any) -> dict[str, Any]:
    """A distribution of each gene's options: ordered where they are numbers, else categories."""
    found = {}
    for group in space.groups:
        last = len(group.values) - 1
        named = any(isinstance(value, str) for value in group.values)
        for number in range(group.count):
            found[f"{group.name} {number}"] = (
                distributions.CategoricalDistribution(range(last + 1))
                if named
                else distributions.IntDistribution(0, last)
            )
    return found
