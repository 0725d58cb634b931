"""Several differentiable searches as one run: λ is tuned, and the best of what was found is kept.

Beside the files of a single search (see :mod:`netdyno.descent`) the run's folder holds::

    tuning.csv     λ, share of the epochs, accuracy, runtime and reward of each trial, in their order
    trials/NAME/   each trial's search and network; the same command goes on from them
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from netdyno.base.errors import InputError
from netdyno.base.files import require_writable, write_atomic
from netdyno.base.progress import Progress, silent
from netdyno.descent import Found, Task
from netdyno.nas.search.bayes.tune import METHODS, Trial, best_of, tune
from netdyno.nas.search.differentiable.descend import Descended, Descent, require_reachable
from netdyno.nas.search.differentiable.reward import reward
from netdyno.runs import NETWORKS, to_csv
from netdyno.settings import make_settings

TRIALS, TUNING = "trials", "tuning.csv"


@dataclass(frozen=True)
class Tuning:
    """How λ is tuned: by what, for as many epochs as so many ``trials`` have, between which values of λ.

    Raises:
        InputError: no such way.
    """

    tune: str = "bayes"
    trials: int = 8
    least: float = 3e-3
    most: float = 1.0

    def __post_init__(self) -> None:
        if self.tune not in METHODS:
            raise InputError(f"tune is one of {', '.join(METHODS)}, not {self.tune!r}")


def run_tuning(
    task: Task, out: Path, options: Mapping[str, Any], *, fresh: bool = False, progress: Progress = silent
) -> Found:
    """Search with several λ, each for a whole run or a part of one, and keep the best that is within the limit.

    ``options`` are those of :class:`Tuning` and of a search. With ``fresh``, earlier trials are not taken over.

    Raises:
        InputError: no limit to tune for, one below the space's fastest network, a setting that cannot be, no trial
            within the limit, or another search's folder.
        MissingExtra: BoTorch is not installed, and tuning is not at random.
    """
    owner = f"search method {task.method}"
    of_tuning = {name: value for name, value in options.items() if name in asdict(Tuning())}
    others = {name: value for name, value in options.items() if name not in of_tuning}
    tuning = make_settings(Tuning, of_tuning, owner)
    descent = make_settings(Descent, others, owner, target=None, seed=task.seed, penalty=0.0)
    if task.target is None:
        raise InputError("to tune λ takes a limit: add --constraint latency_ms<=30")
    require_reachable(task.target, task.cost, task.space)
    require_writable(out)
    if fresh:
        shutil.rmtree(out / TRIALS, ignore_errors=True)
    known: dict[tuple[float, float], tuple[str, Descended, float]] = {}

    def run(penalty: float, share: float) -> tuple[float, float]:
        name = f"{penalty:.6g}-{share:g}"
        trial = replace(descent, penalty=penalty, steps=max(round(share * descent.steps), 1))
        found, accuracy = task.descend(trial, out / TRIALS / name, progress)
        known[penalty, share] = f"{TRIALS}/{name}/{NETWORKS}", found, accuracy
        return accuracy, task.runtime(found.genes)

    worth = partial(reward, target=task.target)
    trials = tune(run, worth, (tuning.least, tuning.most), tuning.tune, tuning.trials, task.seed, progress)
    course = _course(trials, task.cost.name)
    within = [trial for trial in trials if trial.outcomes[1] <= task.target]
    if not within:
        write_atomic(out / TUNING, course)
        raise InputError(f"none of {len(trials)} trials came down to {task.target:g}: allow more, or a larger most")
    best = best_of(within)
    networks, found, accuracy = known[best.setting, best.share]
    settings = asdict(tuning) | asdict(replace(descent, penalty=best.setting))
    return task.write(out, found, accuracy, {"settings": settings, "networks": networks}, {TUNING: course})


def _course(trials: list[Trial], metric: str) -> bytes:
    rows = [(trial.setting, trial.share, *trial.outcomes, trial.reward) for trial in trials]
    frame = pd.DataFrame(rows, columns=["penalty", "share", "accuracy_pct", metric, "reward"])
    return to_csv(frame, index=True, index_label="trial")
