"""What an image costs at each network of a cascade: all of them on the device, or the last on a server.

Source: Stamoulis 2020, section 4.2: while the server works and the answer travels, the device waits at idle power.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netdyno.base.errors import InputError
from netdyno.nas.adaptive.answers import Floats

METRICS = ("latency_ms", "energy_mj")


@dataclass(frozen=True)
class Link:
    """A way to a server and back: how long an image takes to it and its answer from it, and what the device draws.

    ``round_trip_ms`` is communication alone. While it waits the device draws ``idle_w``; ``radio_mj`` is what sending
    and receiving takes beyond that.

    Raises:
        InputError: a negative or infinite number.
    """

    round_trip_ms: float
    idle_w: float = 0.0
    radio_mj: float = 0.0

    def __post_init__(self) -> None:
        numbers = np.array([self.round_trip_ms, self.idle_w, self.radio_mj])
        if not (np.isfinite(numbers).all() and (numbers >= 0).all()):
            raise InputError(f"a link's time, power and energy are positive numbers or zero, not {numbers.tolist()}")

    def cost(self, metric: str, server_ms: Floats) -> Floats:
        """What an image sent over this link costs the device, for ``server_ms (n,)`` of work there.

        Raises:
            InputError: neither latency nor energy.
        """
        waits_ms = self.round_trip_ms + server_ms
        if metric == "latency_ms":
            return waits_ms
        if metric != "energy_mj":
            raise InputError(f"a cascade costs {' or '.join(METRICS)}, not {metric}")
        return self.idle_w * waits_ms + self.radio_mj  # watts times milliseconds are millijoules


def mean_cost(reach: Floats, costs: Floats) -> Floats:
    """Cost of a mean image: ``reach (networks, …)`` times what each network costs, ``costs (networks,)``."""
    total: Floats = np.tensordot(costs, reach, axes=1)
    return total
