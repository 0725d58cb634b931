"""Manual sampling: 43 ensembles picked by a fixed rule from a front of subnets, what evolution has to beat.

OFA² has 43 ensembles formed by hand in each scenario (Ito & Von Zuben 2023). Which ones is decided here by a rule of
our own: of each size from two to eight, six groups of neighbours along the front, evenly spaced from the fastest to
the slowest; and one ensemble of eight spread evenly over the whole front.
"""

from __future__ import annotations

import numpy as np

from netdyno.base.errors import InputError
from netdyno.nas import pareto
from netdyno.nas.ensembles.ensemble import SIZES, Ensembles, canonical

GROUPS = 6
MANUAL = (SIZES.most - SIZES.least + 1) * GROUPS + 1
FEWEST = SIZES.most + GROUPS - 1
"""The shortest front on which six groups of eight neighbours differ."""


def manual_ensembles(F: pareto.Floats) -> Ensembles:
    """Members ``(43, 8)`` of the subnets with objectives ``F (n, m)``, the first of them latency.

    The front is the non-dominated subnets, and those of the next ranks where they are fewer than thirteen.

    Raises:
        InputError: a pool of fewer than thirteen subnets.
    """
    if len(F) < FEWEST:
        raise InputError(f"manual sampling needs at least {FEWEST} subnets, not {len(F)}")
    rank = pareto.ranks(F)
    front = np.flatnonzero(rank <= np.sort(rank)[FEWEST - 1])
    front = front[np.argsort(F[front, 0], kind="stable")]
    members = np.full((MANUAL, SIZES.most), -1, np.int64)
    row = 0
    for size in range(SIZES.least, SIZES.most + 1):
        for begin in np.linspace(0, len(front) - size, GROUPS).round().astype(np.int64):
            members[row, :size] = front[begin : begin + size]
            row += 1
    members[row] = front[np.linspace(0, len(front) - 1, SIZES.most).round().astype(np.int64)]
    return canonical(members)
