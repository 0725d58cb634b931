"""Ship a subnet: the graph that was profiled, with its weights and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netdyno.exporters.bundle import Bundle, write_bundle
from netdyno.nas.backbone import backbone_graph, feature_maps, run_backbone
from netdyno.nas.data.dataset import Dataset
from netdyno.nas.supernets.subnet import Subnet, resize


def ship(
    subnet: Subnet,
    out: Path,
    formats: Sequence[str],
    data: Dataset | None = None,
    facts: Mapping[str, Any] | None = None,
    *,
    backbone: bool = False,
) -> Bundle:
    """Write a subnet as a bundle, as a ``backbone`` without its head and with its feature maps for outputs.

    The golden input is the first image of ``data``, or fixed noise; golden outputs are torch's. ``facts`` (what was
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
    maps = feature_maps(subnet) if backbone else {}
    graph = backbone_graph(subnet, maps) if backbone else subnet.graph()
    with torch.no_grad():
        answer = run_backbone(subnet.eval(), golden, maps) if backbone else {graph.outputs[0]: subnet.eval()(golden)}
    card: dict[str, Any] = {
        "space": {"name": subnet.space.name, **subnet.space.parameters},
        "genes": subnet.genes.tolist(),
        "macs": int(subnet.space.macs(subnet.genes)[0]),
        "params": int(subnet.space.params(subnet.genes)[0]),
    }
    if data is not None:
        card["normalisation"] = {"mean": list(data.mean), "std": list(data.std), "of": "values 0 to 1"}
        card |= {} if backbone else {"labels": list(data.classes)}
    outputs = {name: value.numpy() for name, value in answer.items()}
    return write_bundle(graph, out, formats, golden.numpy(), outputs, card | dict(facts or {}))
