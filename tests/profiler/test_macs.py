"""Multiply-accumulates of ONNX operators, against values by hand."""

from __future__ import annotations

from typing import Any

import pytest

from netdyno.devices.operators import Execution, OperatorTimes, Shape
from netdyno.profiler.macs import executed_macs_of, macs_of


def _operator(kind: str, read: list[Any], written: list[Any], **attributes: Any) -> OperatorTimes:
    return OperatorTimes(kind, "x", executions=(Execution(tuple(read), tuple(written)),), attributes=attributes)


@pytest.mark.parametrize(
    ("kind", "read", "written", "attributes", "macs"),
    [
        ("Conv", [(1, 3, 8, 8), (16, 3, 3, 3), (16,)], [(1, 16, 4, 4)], {}, 27 * 256),
        ("FusedConv", [(1, 16, 8, 8), (16, 1, 3, 3)], [(1, 16, 8, 8)], {"group": 16}, 9 * 1024),
        ("NhwcFusedConv", [(1, 8, 8, 16), (16, 16, 1, 1)], [(1, 8, 8, 16)], {}, 16 * 1024),
        ("ConvInteger", [(1, 3, 8, 8), (16, 3, 1, 1), ()], [(1, 16, 8, 8)], {}, 3 * 1024),
        ("QLinearConv", [(1, 3, 8, 8), (), (), (16, 3, 1, 1), (), ()], [(1, 16, 8, 8)], {}, 3 * 1024),
        ("ConvTranspose", [(1, 4, 5, 5), (4, 6, 2, 2)], [(1, 6, 10, 10)], {}, 100 * 24),
        ("Gemm", [(2, 64), (10, 64)], [(2, 10)], {"transB": 1}, 64 * 20),
        ("Gemm", [(64, 2), (64, 10)], [(2, 10)], {"transA": 1}, 64 * 20),
        ("QGemm", [(2, 64), (), (), (64, 10)], [(2, 10)], {}, 64 * 20),
        ("MatMul", [(2, 5, 64), (64, 7)], [(2, 5, 7)], {}, 64 * 70),
        ("MatMul", [(64, 64), (8, 64, 32)], [(8, 64, 32)], {}, 1_048_576),
        ("MatMul", [(16, 1, 4, 8), (32, 8, 5)], [(16, 32, 4, 5)], {}, 81_920),
        ("MatMul", [(1024, 256), (256,)], [(1024,)], {}, 262_144),
        ("MatMul", [(64,), (64,)], [()], {}, 64),
        ("MatMul", [(4, 0), (0, 5)], [(4, 5)], {}, 0),
        ("MatMul", [None, (64, 7)], [(5, 7)], {}, 64 * 35),
        ("FusedMatMul", [(2, 64, 5), (2, 64, 7)], [(2, 5, 7)], {"transA": 1}, 64 * 70),
        ("MatMulInteger", [(3, 64), (64, 7), ()], [(3, 7)], {}, 64 * 21),
        ("MatMulIntegerToFloat", [(3, 64), (64, 7), ()], [(3, 7)], {}, 64 * 21),
        ("DynamicQuantizeMatMul", [(2, 3, 64), (64, 7)], [(2, 3, 7)], {}, 64 * 42),
        ("QLinearMatMul", [(2, 3, 64), (), (), (64, 7)], [(2, 3, 7)], {}, 64 * 42),
        ("MatMulNBits", [(3, 64), (7, 2, 16)], [(3, 7)], {"K": 64, "N": 7}, 64 * 21),
        ("LSTM", [(5, 2, 8), (1, 64, 8), (1, 64, 16)], [(5, 1, 2, 16)], {"hidden_size": 16}, 5 * 2 * 64 * 24),
        ("GRU", [(5, 2, 8), (2, 48, 8), (2, 48, 16)], [None, (2, 2, 16)],
         {"hidden_size": 16, "direction": "bidirectional"}, 2 * 5 * 2 * 48 * 24),
        ("RNN", [(5, 2, 8), (1, 16, 8), (1, 16, 16)], [(5, 1, 2, 16)], {"hidden_size": 16}, 5 * 2 * 16 * 24),
        ("DynamicQuantizeLSTM", [(5, 2, 8), (1, 8, 64)], [(5, 1, 2, 16)], {"hidden_size": 16}, 5 * 2 * 64 * 24),
        ("Attention", [(2, 6, 8), (8, 24), (24,)], [(2, 6, 8)], {"num_heads": 2}, 2 * 6 * 8 * 24 + 2 * 2 * 6 * 6 * 8),
        ("QAttention", [(2, 6, 8), (8, 24), (24,), (), ()], [(2, 6, 8)], {"num_heads": 2}, 2304 + 1152),
        ("Attention", [(2, 4, 6, 8), (2, 4, 9, 8), (2, 4, 9, 8)], [(2, 4, 6, 8)], {}, 2 * 4 * 6 * 9 * 16),
        ("MultiHeadAttention", [(2, 6, 8), (2, 9, 8), (2, 9, 8)], [(2, 6, 8)], {"num_heads": 2}, 2 * 6 * 9 * 16),
        ("MultiHeadAttention", [(2, 6, 2, 3, 4)], [(2, 6, 8)], {"num_heads": 2}, 2 * 6 * 6 * 16),
        ("GroupQueryAttention", [(1, 1, 16), (1, 1, 4), (1, 1, 4), (1, 1, 7, 4), (1, 1, 7, 4)],
         [(1, 1, 16), (1, 1, 8, 4)], {"num_heads": 4, "kv_num_heads": 1}, 8 * 32),
        ("Einsum", [(2, 5, 64), (64, 7)], [(2, 5, 7)], {"equation": "bik,kj->bij"}, 64 * 70),
        ("Einsum", [(2, 3, 5, 64), (2, 3, 64, 7)], [(2, 3, 5, 7)], {"equation": "...ik, ...kj -> ...ij"},
         6 * 5 * 64 * 7),
        ("Einsum", [(4, 4)], [(4,)], {"equation": "ii->i"}, 0),
        ("Einsum", [(2, 3), (3, 4), (4, 5)], [(2, 5)], {"equation": "ij,jk,kl->il"}, 2 * 3 * 4 + 2 * 4 * 5),
        ("Relu", [(1, 3)], [(1, 3)], {}, 0),
        ("ReorderOutput", [(1, 16, 4, 4)], [(1, 6, 4, 4)], {}, 0),
    ],
)  # fmt: skip
def test_by_hand(kind: str, read: list[Any], written: list[Any], attributes: dict[str, Any], macs: int) -> None:
    operator = _operator(kind, read, written, **attributes)
    assert macs_of(operator) == executed_macs_of(operator) == macs


@pytest.mark.parametrize(
    ("kind", "read", "written"),
    [
        ("Conv", [(1, 3, 8, 8)], [(1, 16, 4, 4)]),
        ("Gemm", [], []),
        ("LSTM", [(1, 3)], [(1, 3)]),
        ("Einsum", [(2, 2), (2, 2)], [(2, 2)]),
        ("ConvTranspose", [(1, 3, 8, 8)], [(1, 16, 4, 4)]),
        ("SomebodysOwnOperator", [(1, 3)], [(1, 3)]),
        ("SVMClassifier", [(1, 3)], [(1,)]),
    ],
)
def test_unknown_is_not_nothing(kind: str, read: list[Any], written: list[Any]) -> None:
    assert macs_of(_operator(kind, read, written)) is None


def test_padded_channels_are_executed_but_not_the_model_s() -> None:
    shapes: tuple[tuple[Shape, ...], tuple[Shape, ...]] = (((1, 6, 32, 32), (16, 6, 3, 3)), ((1, 16, 32, 32),))
    operator = OperatorTimes("Conv", "y_nchwc", executions=(Execution(*shapes),), original=(6, 6, 3, 3))
    assert macs_of(operator) == 331_776
    assert executed_macs_of(operator) == 884_736


def test_calls_and_shapes_of_a_loop_are_summed() -> None:
    growing = tuple(Execution(((1, 4), (4, n)), ((1, n),), calls=2) for n in (3, 5))
    assert macs_of(OperatorTimes("MatMul", "x", executions=growing)) == 2 * 4 * (3 + 5)
