"""Power of a space's architectures, from the whole networks of a table: it does not add up over layers.

Source of it as a linear model: Stamoulis et al. 2018 (HyperPower).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import InputError
from netdyno.profiler.cost.cost import Cost, Floats, GeneSpace
from netdyno.profiler.cost.fit import fit_cost
from netdyno.profiler.table import LookupTable

POWER = "power_w"
METHOD = "structural"


def fit_power(table: LookupTable, space: GeneSpace) -> Cost:
    """The linear model of net power over structural hyperparameters, fitted to a table's networks.

    Raises:
        InputError: fewer than ten networks with their power, or networks of another space.
    """
    X, y = measured_networks(table, space, POWER)
    if not len(y):
        raise InputError(f"table {table.name} has no {POWER} of whole networks, and that of layers does not add up")
    return fit_cost(space, X, y, METHOD, name=POWER)


def measured_networks(table: LookupTable, space: GeneSpace, metric: str) -> tuple[NDArray[np.int64], Floats]:
    """Genes ``(n, genes)`` and costs ``(n,)`` of a table's networks; those of input sizes between are left out.

    Raises:
        InputError: a network that is none of this space.
    """
    rows = table.networks[(table.networks["valid"] == 1) & table.networks[metric].notna()]
    rows = rows[~rows.index.str.contains("@")]
    if rows.empty:
        return space.sample(0, 0), np.empty(0)
    try:
        X = space.check(np.array([[int(gene) for gene in name.split()] for name in rows.index]))
    except (ValueError, OverflowError) as error:
        raise InputError(f"table {table.name}: its networks are none of {space.name}: {error}") from error
    return X, rows[metric].to_numpy(float)
