"""Work of TFLite operators, against values by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from netdyno.exporters.tflite_operators import _macs


@pytest.mark.parametrize(
    ("kind", "read", "written", "options", "macs"),
    [
        ("CONV_2D", [(1, 8, 8, 3), (16, 3, 3, 3), (16,)], [(1, 8, 8, 16)], {}, 27 * 1024),
        ("CONV_2D", [(1, 8, 8, 4), (16, 3, 3, 2), (16,)], [(1, 8, 8, 16)], {}, 18 * 1024),
        ("DEPTHWISE_CONV_2D", [(1, 8, 8, 6), (1, 3, 3, 6), (6,)], [(1, 8, 8, 6)], {}, 9 * 384),
        ("CONV_3D", [(1, 4, 8, 8, 3), (2, 3, 3, 3, 16)], [(1, 4, 8, 8, 16)], {}, 54 * 4096),
        ("FULLY_CONNECTED", [(4, 64), (10, 64), None], [(4, 10)], {}, 64 * 40),
        ("TRANSPOSE_CONV", [(4,), (6, 2, 2, 4), (1, 5, 5, 4)], [(1, 10, 10, 6)], {}, 100 * 24),
        ("CONV_3D_TRANSPOSE", [(5,), (1, 2, 2, 6, 4), (1, 1, 5, 5, 4)], [(1, 1, 10, 10, 6)], {}, 100 * 24),
        ("BATCH_MATMUL", [(2, 64, 32), (2, 64, 16)], [(2, 32, 16)], {"adjX": True, "adjY": False}, 65_536),
        ("BATCH_MATMUL", [(2, 32, 64), (2, 16, 64)], [(2, 32, 16)], {"adjX": False, "adjY": True}, 65_536),
        ("BATCH_MATMUL", [(2, 32, 64), (64, 16)], [(2, 32, 16)], {"adjX": False}, 65_536),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM",
         [(2, 5, 8), *4 * [(16, 8)], *4 * [(16, 16)], *3 * [None], *4 * [(16,)], None, None, (2, 16), (2, 16)],
         [(2, 5, 16)], {}, 2 * 5 * 64 * 24),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", [(2, 5, 8), None, *3 * [(16, 8)], None, *3 * [(16, 16)]], [(2, 5, 16)], {},
         2 * 5 * 48 * 24),
        ("LSTM", [(2, 8), (2, 16), (64, 24), (64,), (2, 16)], [(2, 16)], {}, 2 * 64 * 24),
        ("UNIDIRECTIONAL_SEQUENCE_RNN", [(2, 5, 8), (16, 8), (16, 16), (16,), (2, 16)], [(2, 5, 16)], {},
         2 * 5 * 16 * 24),
        ("SVDF", [(2, 8), (16, 8), (16, 10), None, (2, 160)], [(2, 16)], {}, 2 * 16 * 18),
        ("ADD", [(2, 8), (2, 8)], [(2, 8)], {}, 0),
        ("CUSTOM", [(2, 8), (8, 8)], [(2, 8)], {}, None),
        ("FULLY_CONNECTED", [None, (10, 64)], [None], {}, None),
        ("CONV_2D", [], [], {}, None),
    ],
)  # fmt: skip
def test_by_hand(kind: str, read: list[Any], written: list[Any], options: dict[str, Any], macs: int | None) -> None:
    assert _macs(kind, read, written, SimpleNamespace(**options)) == macs
