"""``netdyno fit``: a cost model on the whole networks of a table, and how wrong it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from netdyno.base.ranges import SEED
from netdyno.cli.console import Json, emit, print_table, say
from netdyno.cli.options import TABLE, Choice, Choices, argument, option, whole

TARGETS = {
    "latency": "latency_ms",
    "energy": "energy_mj",
    "power": "power_w",
    "gross-power": "gross_power_w",
    "memory": "memory_bytes",
}
METHODS = ("structural", "additive", "ridge", "few-sample")
ALL = "structural, additive, ridge, few-sample, linear, linear-svr, svr, stacked"
FOLDS = 10
LEAST = 12
"""Networks of which nine tenths are as many as every method needs."""


def _methods() -> Iterable[str]:
    from netdyno.profiler.cost.fit import COST_MODELS

    return COST_MODELS.names()


TARGET = Choice("TARGET", "target", lambda: TARGETS)
OF = Choices("METHODS", Choice("METHOD", "cost model", _methods))


def fit(
    table: Annotated[Path, argument(TABLE, "A table with whole networks in it, as `profile` makes them.")],
    target: Annotated[str, option(TARGET, "latency, energy, power, gross-power or memory.")],
    method: Annotated[Sequence[str], option(OF, f"Comma-separated, of {ALL}.")] = METHODS,
    seed: Annotated[int, option(whole(SEED), "Seed of the folds.")] = 0,
    as_json: Json = False,
) -> None:
    """Fit cost models to a table's networks; their error comes from folds that the fit did not see."""
    import numpy as np

    from netdyno.base.errors import InputError
    from netdyno.nas.space import parse_genes, parse_space
    from netdyno.profiler.cost.fit import cross_validate
    from netdyno.profiler.table import load_table
    from netdyno.profiler.windows import gross_power_w

    loaded, column = load_table(table), TARGETS[target]
    measured = loaded.networks.assign(gross_power_w=gross_power_w(loaded.windows))
    rows = measured[(measured["valid"] == 1) & measured[column].notna()]
    rows = rows[~rows.index.str.contains("@")]  # networks of other input sizes have genes of another space
    if len(rows) < LEAST:
        raise InputError(f"{table}: a fit needs at least {LEAST} networks with {column}, not {len(rows)}")
    subject = loaded.conditions.get("subject")
    if not isinstance(subject, str):
        raise InputError(f"{table}: does not say which space its networks are of")
    space = parse_space(subject)
    X, y = np.stack([parse_genes(space, str(name)) for name in rows.index]), rows[column].to_numpy(float)
    found = {}
    for name in method:
        errors = cross_validate(space, X, y, name, folds=FOLDS, seed=seed, name=column)
        found[name] = {"rmspe_pct": float(errors.mean()), "spread_pct": float(errors.std(ddof=1))}
    if as_json:
        emit({"table": str(table), "target": column, "networks": len(y), "folds": FOLDS, "methods": found})
        return
    say(f"{column} of {len(y)} networks, RMSPE on {FOLDS} folds that no fit saw")
    cells = [(name, f"{own['rmspe_pct']:.2f} %", f"{own['spread_pct']:.2f} %") for name, own in found.items()]
    print_table(("method", "RMSPE", "spread over folds"), cells)
