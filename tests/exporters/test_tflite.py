"""The TFLite file itself: paddings, fused activations, shared constants, alignment."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from netdyno.exporters import Graph, GraphBuilder, write

NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


def read(graph: Graph) -> tuple[schema.ModelT, list[tuple[str, schema.OperatorT]]]:
    """The model, and its operators by name."""
    model = schema.ModelT.InitFromPackedBuf(write(graph, "tflite").data)
    codes = [NAMES[code.builtinCode] for code in model.operatorCodes]
    return model, [(codes[operator.opcodeIndex], operator) for operator in model.subgraphs[0].operators]


def one_conv(weights, kernel, stride, height, width):
    builder = GraphBuilder("conv")
    x = builder.input("x", (1, 4, height, width))
    return builder.build(builder.conv(x, weights(6, 4, kernel, kernel), weights(6), name="conv", stride=stride))


def test_header_is_a_tflite_model(block, mbconv):
    graph = mbconv(block())
    data = write(graph, "tflite").data
    model, _ = read(graph)
    assert data[4:8] == b"TFL3"
    assert (model.version, model.description, len(model.subgraphs)) == (3, b"netdyno", 1)
    assert model.buffers[0].data is None
    assert all(code.deprecatedBuiltinCode == code.builtinCode for code in model.operatorCodes)


@pytest.mark.parametrize(
    ("kernel", "stride", "height", "width", "expected"),
    [
        (1, 1, 8, 8, ["VALID"]),
        (1, 2, 8, 9, ["VALID"]),
        (3, 1, 8, 8, ["SAME"]),
        (7, 1, 3, 3, ["SAME"]),
        (3, 2, 9, 9, ["SAME"]),
        (5, 2, 9, 11, ["SAME"]),
        (3, 2, 8, 8, ["PAD", "VALID"]),
        (3, 2, 9, 8, ["PAD", "VALID"]),
        (7, 2, 8, 9, ["PAD", "VALID"]),
    ],
)
def test_padding_is_same_only_where_that_is_symmetric(weights, kernel, stride, height, width, expected):
    _, operators = read(one_conv(weights, kernel, stride, height, width))
    schemes = {schema.Padding.SAME: "SAME", schema.Padding.VALID: "VALID"}
    assert [schemes[o.builtinOptions.padding] if name == "CONV_2D" else name for name, o in operators] == expected


def test_pad_holds_no_more_than_the_kernel_reaches(weights):
    model, _ = read(one_conv(weights, 3, 2, 8, 8))
    shapes = {tensor.name: list(tensor.shape) for tensor in model.subgraphs[0].tensors}
    assert shapes[b"conv.padded"] == [1, 9, 9, 4]


def test_relu_is_fused_into_what_it_alone_reads(block, mbconv):
    _, operators = read(mbconv(block(excite=True, middle=32)))
    assert Counter(name for name, _ in operators) == {
        "CONV_2D": 4,
        "DEPTHWISE_CONV_2D": 1,
        "MEAN": 1,
        "ADD": 1,
        "MUL": 2,
    }


def test_relu_with_company_is_not_fused():
    builder = GraphBuilder("company")
    total = builder.add(builder.input("a", (1, 4)), builder.input("b", (1, 4)))
    _, operators = read(builder.build(total, builder.unary("relu", total)))
    assert [name for name, _ in operators] == ["ADD", "RELU"]


def test_equal_constants_are_in_the_file_once():
    builder = GraphBuilder("twice")
    x = builder.input("x", (1, 4, 3, 3))
    model, _ = read(builder.build(builder.unary("h_sigmoid", builder.unary("h_sigmoid", x))))
    assert len(model.buffers) == 1 + 2  # the empty one, 3 and 1/6


def test_convolution_weights_are_ohwi_and_depthwise_ones_channels_last(block, mbconv):
    graph = mbconv(block(kernel=5, channels=8, middle=16, filters=12))
    model, _ = read(graph)
    found = {tensor.name.decode(): tensor for tensor in model.subgraphs[0].tensors}
    assert list(found["expand.weight"].shape) == [16, 1, 1, 8]
    assert list(found["depthwise.weight"].shape) == [1, 5, 5, 16]
    stored = model.buffers[found["depthwise.weight"].buffer].data.view("<f4").reshape(1, 5, 5, 16)
    np.testing.assert_array_equal(stored[0, :, :, 3], graph.weights["depthwise.weight"][3, 0])


def test_grouped_convolution_asks_for_the_version_that_has_groups(weights):
    builder = GraphBuilder("grouped")
    x = builder.input("x", (1, 8, 6, 6))
    graph = builder.build(builder.conv(x, weights(8, 4, 3, 3), weights(8), name="conv", groups=2))
    model, operators = read(graph)
    assert [(name, model.operatorCodes[o.opcodeIndex].version) for name, o in operators] == [("CONV_2D", 6)]


def test_every_constant_starts_on_16_bytes(block, mbconv):
    data = write(mbconv(block(kernel=7, stride=2, excite=True)), "tflite").data
    model = schema.Model.GetRootAs(data)
    starts = []
    for position in range(1, model.BuffersLength()):
        table = model.Buffers(position)._tab
        starts.append(table.Vector(table.Offset(4)))
    assert len(starts) > 8
    assert [start % 16 for start in starts] == [0] * len(starts)
