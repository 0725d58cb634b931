"""Published networks: counts as published, and every one is trained, measured and shipped as any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netdyno.nas.space import Space, make_space
from netdyno.nas.spaces.single_path import SinglePath
from netdyno.profiler.layers import FBNetBlock, Layer, MBConv, SeparableConv

Refuses = Callable[[Callable[[], object]], str]

PUBLISHED = {
    # Millions of multiply-accumulates, where any are published, and of parameters, and where they stand.
    "mobilenet-v1": ("569", "4.2"),  # Howard et al. 2017, Table 8
    "mobilenet-v2": ("300", "3.50"),  # Sandler et al. 2018, Table 4; 3.50 in timm's tables, 3.4 in the paper
    "mobilenet-v3": ("217", "5.48"),  # 217 at TensorFlow's model garden; 5.48 in timm's tables
    "mnasnet-a1": ("312", "3.9"),  # Tan et al. 2019, Table 1
    "mnasnet-b1": ("315", "4.38"),  # Tan et al. 2019, Table 1; 4.38 in timm's tables
    "proxylessnas-r": ("320", "4.1"),  # Cai et al. 2020 (Once-for-All), Table 2; 4.08 from its own code
    "fbnet-b": ("295", "4.8"),  # Wu et al. 2019, and its authors' code, without the classifier's operations
    "single-path-nas": ("", "4.42"),  # in timm's tables
}
OFF_BY = {("mobilenet-v2", "300"): 0.8, ("mnasnet-b1", "315"): 0.6}
"""Where rounding does not give what is published: by how many millions at most it is off."""
NORMS = {"mobilenet-v2": "3.47"}  # TensorFlow's model garden counts no batch norm


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(name: str) -> None:
    space = make_space(name)
    macs, params = int(space.macs(space.largest())[0]), int(space.params(space.largest())[0])
    if name == "fbnet-b":
        macs -= space.layers(space.largest())[-1].macs
    for counted, published in zip((macs, params), PUBLISHED[name], strict=True):
        if (name, published) in OFF_BY:
            assert abs(counted / 1e6 - float(published)) < OFF_BY[name, published]
        elif published:
            assert f"{counted / 1e6:.{len(published.partition('.')[2])}f}" == published
    if name in NORMS:
        without = params - sum(_norm_params(layer) for layer in space.layers(space.largest()))
        assert f"{without / 1e6:.2f}" == NORMS[name]


def _norm_params(layer: Layer) -> int:
    if isinstance(layer, MBConv):
        return 2 * (layer.mid * layer.expands + layer.mid + layer.cout)
    return 2 * getattr(layer, "norm", 0) * getattr(layer, "cout", 0)


def test_single_path_s_network_is_one_of_its_space() -> None:
    space = SinglePath()
    narrow, wide, deep = "3x3-e3", "5x5-e6", "5x5-e3"
    options = [
        *(narrow, narrow, narrow, "skip"),
        *(wide, narrow, narrow, narrow),
        *(wide, narrow, narrow, narrow),
        *(wide, deep, deep, deep),
        *(wide, wide, wide, wide),
    ]
    genes = space.encode([{f"layer{i}": [option] for i, option in enumerate(options, start=1)}])[0]
    published = make_space("single-path-nas")
    assert space.layers(genes) == published.layers(published.largest())


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_is_a_space_of_one(name: str) -> None:
    space = make_space(name, width=0.5, resolution=64, classes=10)
    assert space.sample(3, 0).tolist() == [[0]] * 3
    assert make_space(space.name, **space.parameters).layers(space.smallest()) == space.layers(space.smallest())
    graph = space.graph(space.largest())
    assert graph.peak_activation_bytes() == space.peak_activation_bytes(space.largest())[0]
    assert graph.shapes[graph.outputs[0]] == (1, 10)
    kinds = {type(layer) for layer in space.layers(space.largest())}
    assert kinds & {MBConv, SeparableConv, FBNetBlock}


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"width": float("nan")}, {"width": 17}, {"resolution": 31}, {"resolution": 1025}]
)
def test_what_cannot_be(wrong: dict[str, float], refuses: Refuses) -> None:
    refuses(lambda: make_space("mobilenet-v2", **wrong))


@pytest.mark.parametrize("name", ["mobilenet-v1", "mobilenet-v3", "mnasnet-a1", "fbnet-b"])
def test_torch_and_the_shipped_graph_agree(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="trains networks: needs the extra train")
    from netdyno.devices import open_device
    from netdyno.exporters.bundle import verify_bundle
    from netdyno.nas.ship import ship
    from netdyno.nas.supernets.subnet import Subnet

    space: Space = make_space(name, width=0.25, resolution=64, classes=10)
    torch.manual_seed(0)
    network = Subnet(space, space.largest())
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point():
                value.add_(0.05 * torch.randn(value.shape))
    bundle = ship(network.eval(), tmp_path / "b", ("onnx", "tflite"))
    with open_device("cpu") as device:
        results = verify_bundle(bundle, device)
    assert {result.format for result in results} == {"onnx", "tflite"}
    assert all(result.ok for result in results), results


def test_group_convolutions_are_trained_as_they_are_shipped(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="trains networks: needs the extra train")
    from netdyno.nas.supernets.modules import make_module
    from netdyno.profiler.lower import lower

    block = FBNetBlock(6, 6, 8, 8, 24, 3, 1, 2, 1)
    torch.manual_seed(0)
    module = make_module(block).eval()
    assert sum(p.numel() for p in module.parameters()) == block.params
    graph = lower(block, module.folded())
    from netdyno.devices import open_device
    from netdyno.exporters.verify import verify
    from netdyno.exporters.writers import write

    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        expected = module(x).numpy()
    with open_device("cpu") as device:
        result = verify(write(graph, "onnx"), device, {"input": x.numpy()}, {graph.outputs[0]: expected})
    assert result.ok, result
    assert np.isfinite(expected).all()
