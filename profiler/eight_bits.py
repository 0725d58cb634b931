"""Convolutions of 8-bit integers as artifacts: what a device's INT8 roof is measured with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact

OPSET, IR = 17, 8
_ZERO = 128
_SCALE = 0.02


def convolution(file_format: str, side: int, channels: int, kernel: int) -> Artifact:
    """A convolution of as many output channels as input channels, same padding, in ONNX or TFLite."""
    generator = np.random.default_rng(0)
    weight = generator.integers(-127, 127, (channels, channels, kernel, kernel), np.int8)
    data = (_onnx if file_format == "onnx" else _tflite)(weight, side)
    return Artifact(data, file_format, "convolution")


def _onnx(weight: NDArray[np.int8], side: int) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    channels, _, kernel, _ = weight.shape
    scale = np.float32(_SCALE)
    constants = {"s": scale, "z": np.uint8(_ZERO), "w": weight, "ws": scale, "wz": np.int8(0)}
    pads = [kernel // 2] * 4
    node = helper.make_node("QLinearConv", ["x", "s", "z", "w", "ws", "wz", "s", "z"], ["y"], pads=pads)
    shape = [1, channels, side, side]
    graph = helper.make_graph(
        [node],
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    return bytes(model.SerializeToString())


def _tflite(weight: NDArray[np.int8], side: int) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]
    from ai_edge_litert import schema_py_generated as schema

    channels = len(weight)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.buffers, graph.tensors = [schema.BufferT()], []
    constants = (np.ascontiguousarray(weight.transpose(0, 2, 3, 1)), np.zeros(channels, np.int32))
    shapes = ([1, side, side, channels], list(constants[0].shape), [channels], [1, side, side, channels])
    types = (schema.TensorType.INT8, schema.TensorType.INT8, schema.TensorType.INT32, schema.TensorType.INT8)
    scales = (_SCALE, _SCALE, _SCALE * _SCALE, _SCALE)
    for position, (shape, type_, scale) in enumerate(zip(shapes, types, scales, strict=True)):
        tensor, quantised = schema.TensorT(), schema.QuantizationParametersT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = f"t{position}".encode(), shape, type_, 0
        quantised.scale, quantised.zeroPoint = [scale], [0]
        tensor.quantization = quantised
        if position in (1, 2):
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(constants[position - 1].tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = position
        graph.tensors.append(tensor)
    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.SAME, 1, 1
    options.dilationHFactor = options.dilationWFactor = 1
    operator, code = schema.OperatorT(), schema.OperatorCodeT()
    operator.inputs, operator.outputs, operator.builtinOptions = [0, 1, 2], [3], options
    operator.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 3
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [3]
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
