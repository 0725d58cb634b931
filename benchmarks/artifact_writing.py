"""How long it takes to write an MBConv block as a model file, beside torch.onnx.export of the same block.

Prints one JSON line. Every round times all three, one after the other, so that drift hits all alike. The peer
writes ONNX; it stands beside the TFLite writer too, because torch itself writes no TFLite.
"""

from __future__ import annotations

import io
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn

from netdyno.exporters import Graph, GraphBuilder, write

ROUNDS = 30
LIMITS_MS = {"onnx": 5.0, "tflite": 10.0}


@dataclass(frozen=True)
class Block:
    channels: int
    filters: int
    kernel: int
    stride: int
    excite: bool
    side: int
    middle: int


BLOCKS = {
    "16-24-s2-k3@112": Block(16, 24, 3, 2, False, 112, 64),
    "40-40-k5-se@28": Block(40, 40, 5, 1, True, 28, 240),
    "160-160-k7-se@7": Block(160, 160, 7, 1, True, 7, 960),
}


class Excite(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = channels // 4
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x)


def torch_block(block: Block) -> nn.Module:
    middle = block.middle
    depthwise = nn.Conv2d(middle, middle, block.kernel, block.stride, block.kernel // 2, groups=middle)
    layers = [nn.Conv2d(block.channels, middle, 1), nn.Hardswish(), depthwise, nn.Hardswish()]
    if block.excite:
        layers.append(Excite(middle))
    return nn.Sequential(*layers, nn.Conv2d(middle, block.filters, 1)).eval()


def graph_block(name: str, block: Block) -> Graph:
    random = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32)

    middle, squeezed = block.middle, block.middle // 4
    b = GraphBuilder(name)
    x = b.input("x", (1, block.channels, block.side, block.side))
    x = b.unary("h_swish", b.conv(x, weights(middle, block.channels, 1, 1), weights(middle), name="expand"))
    kernel = weights(middle, 1, block.kernel, block.kernel)
    x = b.conv(x, kernel, weights(middle), name="depthwise", stride=block.stride, groups=middle)
    x = b.unary("h_swish", x)
    if block.excite:
        s = b.conv(b.global_mean(x), weights(squeezed, middle, 1, 1), weights(squeezed), name="squeeze")
        s = b.conv(b.unary("relu", s), weights(middle, squeezed, 1, 1), weights(middle), name="excite")
        x = b.mul(x, b.unary("h_sigmoid", s))
    return b.build(b.conv(x, weights(block.filters, middle, 1, 1), weights(block.filters), name="project"))


def export_with_torch(module: nn.Module, example: torch.Tensor) -> None:
    torch.onnx.export(module, (example,), io.BytesIO(), opset_version=17, dynamo=False)


def time_ms(call: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e6


def measure(name: str, block: Block) -> dict[str, object]:
    graph, module = graph_block(name, block), torch_block(block)
    example = torch.zeros(1, block.channels, block.side, block.side)
    calls: dict[str, Callable[[], object]] = {
        "onnx": lambda: write(graph, "onnx"),
        "tflite": lambda: write(graph, "tflite"),
        "torch_onnx_export": lambda: export_with_torch(module, example),
    }
    for call in calls.values():
        call()
    rounds = [{key: time_ms(call) for key, call in calls.items()} for _ in range(ROUNDS)]
    times = {key: summary([one[key] for one in rounds]) for key in calls}
    ratios = {key: times["torch_onnx_export"]["median_ms"] / times[key]["median_ms"] for key in LIMITS_MS}
    return asdict(block) | times | {"speedup_over_torch_onnx_export": {key: round(r, 2) for key, r in ratios.items()}}


def summary(times: list[float]) -> dict[str, float]:
    tenths = statistics.quantiles(times, n=10)
    values = {"median_ms": statistics.median(times), "p10_ms": tenths[0], "p90_ms": tenths[-1]}
    return {key: round(value, 3) for key, value in values.items()}


def main() -> None:
    warnings.simplefilter("ignore")  # torch announces that its tracing exporter is the old one
    torch.set_num_threads(1)
    blocks = {name: measure(name, block) for name, block in BLOCKS.items()}
    worst = {key: max(block[key]["median_ms"] for block in blocks.values()) for key in LIMITS_MS}
    print(
        json.dumps(
            {
                "benchmark": "artifact_writing",
                "rounds": ROUNDS,
                "blocks": blocks,
                "worst_median_ms": worst,
                "limits_ms": LIMITS_MS,
                "within_limits": all(worst[key] <= limit for key, limit in LIMITS_MS.items()),
                "versions": {"torch": torch.__version__, "numpy": np.__version__},
            }
        )
    )


if __name__ == "__main__":
    main()
