"""Ship a subnet: the graph that was profiled, with its weights and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netdyno.exporters.bundle import Bundle, write_bundle
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.supernets.subnet import Subnet, resize


def ship(
    subnet: Subnet,
    out: Path,
    formats: Sequence[str],
    data: Dataset | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Bundle:
    """Write a subnet as a bundle.

    The golden input is the first image of ``data``, or fixed noise; the golden output is torch's. ``facts`` (what was
    measured and predicted) go onto the card.

    Raises:
        UnknownName: no such format.
        InputError: ``out`` cannot be written, or holds something else.
    """
    size = subnet.resolution
    if data is None:
        noise = np.random.default_rng(0).standard_normal((1, 3, size, size), np.float32)
        golden = torch.from_numpy(noise)
    else:
        golden = resize(torch.from_numpy(data.images[:1]), size)
    with torch.no_grad():
        answer = subnet.eval()(golden)
    card: dict[str, Any] = {
        "space": {"name": subnet.space.name, **subnet.space.parameters},
        "genes": subnet.genes.tolist(),
        "macs": int(subnet.space.macs(subnet.genes)[0]),
        "params": int(subnet.space.params(subnet.genes)[0]),
    }
    if data is not None:
        card["normalisation"] = {"mean": list(data.mean), "std": list(data.std), "of": "values 0 to 1"}
        card["labels"] = list(data.classes)
    return write_bundle(subnet.graph(), out, formats, golden.numpy(), answer.numpy(), card | dict(facts or {}))
