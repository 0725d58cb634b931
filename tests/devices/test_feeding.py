"""Other people's models, as runtimes take them: any outputs, indices, types of few bits, signatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from netdyno.base.artifact import Artifact, Feeding, TensorSpec
from netdyno.base.errors import InputError, ModelError
from netdyno.devices import Settings
from netdyno.devices.cpu import CpuDevice
from netdyno.devices.onnx_outline import SHORT, outline

Model = Callable[..., Artifact]


def onnx_model(
    nodes: Sequence[Any],
    inputs: Sequence[tuple[str, int, Sequence[Any] | None]],
    outputs: Sequence[Any],
    weights: dict[str, Any] | None = None,
    feeding: Feeding | None = None,
    opset: int = 21,
) -> Artifact:
    made = [helper.make_tensor_value_info(*value) if isinstance(value, tuple) else value for value in outputs]
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(*value) for value in inputs],
        made,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 2)]
    data = helper.make_model(graph, opset_imports=domains, ir_version=10).SerializeToString()
    return Artifact(data, "onnx", "m", feeding=feeding or Feeding())


def fed(device: CpuDevice, artifact: Artifact) -> dict[str, str]:
    """Open a model, run it, and what its inputs hold in words."""
    with device.open(artifact) as session:
        assert session.time(3).shape == (3,)
        assert session.peak_memory_bytes() >= 0
    return {own.name: own.values for own in device.inputs_of(artifact)}


class TestOutputs:
    def test_of_another_shape_than_declared(self, device: CpuDevice) -> None:
        relu = helper.make_node("Relu", ["x"], ["y"])
        feeding = Feeding(shapes=(("x", (8, 64)),))
        artifact = onnx_model([relu], [("x", T.FLOAT, ["b", 64])], [("y", T.FLOAT, [1, 64])], feeding=feeding)
        with device.open(artifact) as session:
            assert session.run(repeat=3).outputs["y"].shape == (8, 64)

    def test_whose_length_changes(self, device: CpuDevice) -> None:
        nodes = [
            helper.make_node("RandomUniformLike", ["x"], ["r"]),
            helper.make_node("Greater", ["r", "half"], ["m"]),
            helper.make_node("NonZero", ["m"], ["y"]),
        ]
        artifact = onnx_model(nodes, [("x", T.FLOAT, [64])], [("y", T.INT64, [1, "n"])], {"half": np.float32(0.5)})
        with device.open(artifact) as session:
            lengths = {session.run(repeat=2).outputs["y"].shape[1] for _ in range(8)}
        assert len(lengths) > 1

    def test_that_are_no_arrays(self, device: CpuDevice) -> None:
        sequence = helper.make_tensor_sequence_value_info("y", T.FLOAT, None)
        split = onnx_model([helper.make_node("SplitToSequence", ["x"], ["y"])], [("x", T.FLOAT, [4, 2])], [sequence])
        entry = helper.make_map_type_proto(T.INT64, helper.make_tensor_type_proto(T.FLOAT, None))
        maps = helper.make_value_info("y", helper.make_sequence_type_proto(entry))
        zip_map = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
        text = onnx_model(
            [helper.make_node("Cast", ["x"], ["y"], to=T.STRING)], [("x", T.FLOAT, [2])], [("y", 8, [2])]
        )
        cast = helper.make_node("Cast", ["x"], ["y"], to=T.FLOAT8E4M3FN)
        for artifact in (
            split,
            onnx_model([zip_map], [("x", T.FLOAT, [4, 3])], [maps]),
            text,
            onnx_model([cast], [("x", T.FLOAT, [4])], [("y", T.FLOAT8E4M3FN, [4])]),
        ):
            assert fed(device, artifact) == {"x": "random in [0, 1)"}
            with device.open(artifact) as session, pytest.raises(ModelError, match=r"output 'y' is .*cannot be read"):
                session.run()

    def test_a_refusal_is_told_whole(self, device: CpuDevice) -> None:
        name = "n" * 400
        artifact = onnx_model([helper.make_node(name, ["x"], ["y"])], [("x", T.FLOAT, [1])], [("y", T.FLOAT, [1])])
        with pytest.raises(ModelError) as caught:
            device.open(artifact)
        assert str(caught.value).startswith("m: onnxruntime refuses it: ")
        assert name in str(caught.value)


GATHER = helper.make_node("Gather", ["w", "i"], ["y"])
ROWS = {"w": np.ones((7, 4), np.float32)}


class TestIndices:
    @pytest.mark.parametrize("dtype", [T.INT64, T.INT32])
    def test_of_gather(self, device: CpuDevice, dtype: int) -> None:
        artifact = onnx_model([GATHER], [("i", dtype, [3])], [("y", T.FLOAT, None)], ROWS)
        assert fed(device, artifact) == {"i": "random integers 0..6 (indices of Gather)"}

    def test_through_other_operators(self, device: CpuDevice) -> None:
        nodes = [
            helper.make_node("Cast", ["ids"], ["wide"], to=T.INT64),
            helper.make_node("Add", ["wide", "two"], ["later"]),
            helper.make_node("Unsqueeze", ["later", "axis"], ["i"]),
            GATHER,
        ]
        weights = ROWS | {"two": np.array(2), "axis": np.array([0])}
        artifact = onnx_model(nodes, [("ids", T.UINT8, [3])], [("y", T.FLOAT, None)], weights)
        assert fed(device, artifact) == {"ids": "random integers 0..4 (indices of Gather)"}

    def test_of_a_table_whose_size_follows(self, device: CpuDevice) -> None:
        nodes = [helper.make_node("Transpose", ["w"], ["t"]), helper.make_node("Gather", ["t", "i"], ["y"], axis=1)]
        inputs = [("w", T.FLOAT, ["n", 4]), ("i", T.INT64, [3])]
        artifact = onnx_model(nodes, inputs, [("y", T.FLOAT, None)], feeding=Feeding(dimensions=(("n", 9),)))
        assert fed(device, artifact)["i"] == "random integers 0..8 (indices of Gather)"

    def test_within_a_branch(self, device: CpuDevice) -> None:
        value = helper.make_tensor_value_info("y", T.FLOAT, None)
        other = helper.make_node("Identity", ["w"], ["z"])
        branches = [
            helper.make_graph([GATHER], "then", [], [value]),
            helper.make_graph([other], "else", [], [helper.make_tensor_value_info("z", T.FLOAT, None)]),
        ]
        node = helper.make_node("If", ["c"], ["o"], then_branch=branches[0], else_branch=branches[1])
        inputs = [("i", T.INT64, [2]), ("c", T.BOOL, [])]
        artifact = onnx_model([node], inputs, [("o", T.FLOAT, None)], ROWS)
        assert "indices of Gather" in fed(device, artifact)["i"]

    @pytest.mark.parametrize(
        ("node", "shape"),
        [
            (helper.make_node("GatherElements", ["w", "i"], ["y"], axis=1), [7, 2]),
            (helper.make_node("GatherND", ["w", "i"], ["y"]), [3, 2]),
        ],
        ids=["elements", "several dimensions"],
    )
    def test_of_others_that_gather(self, device: CpuDevice, node: Any, shape: list[int]) -> None:
        artifact = onnx_model([node], [("i", T.INT64, shape)], [("y", T.FLOAT, None)], ROWS)
        assert fed(device, artifact)["i"].startswith("random integers 0..3 (")

    def test_of_one_hot(self, device: CpuDevice) -> None:
        node = helper.make_node("OneHot", ["i", "depth", "values"], ["y"])
        weights = {"depth": np.array(5), "values": np.array([0, 1], np.float32)}
        artifact = onnx_model([node], [("i", T.INT64, [3])], [("y", T.FLOAT, None)], weights)
        assert fed(device, artifact) == {"i": "random integers 0..4 (indices of OneHot)"}


class TestValues:
    def test_reach_the_model_and_its_operators(self, device: CpuDevice) -> None:
        """Any other rate than the given one is out of the table."""
        nodes = [helper.make_node("Mul", ["sr", "one"], ["s"]), helper.make_node("Sub", ["s", "c"], ["i"]), GATHER]
        weights = {"one": np.array([1]), "c": np.array([16000])} | ROWS
        inputs = [("sr", T.INT64, [1])]
        with pytest.raises(ModelError, match="must be within"):
            device.open(onnx_model(nodes, inputs, [("y", T.FLOAT, None)], weights))
        artifact = onnx_model(
            nodes, inputs, [("y", T.FLOAT, None)], weights, feeding=Feeding(values=(("sr", "16003"),))
        )
        assert fed(device, artifact) == {"sr": "16003"}
        assert device.profile_operators(artifact, Settings(), 2).operators

    @pytest.mark.parametrize(
        ("kind", "text", "wanted"),
        [
            (T.BFLOAT16, "1.5", 1.5),
            (T.FLOAT8E4M3FN, "-2", -2),
            (T.FLOAT8E5M2, "0.5", 0.5),
            (T.INT4, "-3", -3),
            (T.UINT4, "9", 9),
        ],
    )
    def test_types_of_few_bits(self, device: CpuDevice, kind: int, text: str, wanted: float) -> None:
        if kind in (T.INT4, T.UINT4):
            node, weights = helper.make_node("DequantizeLinear", ["x", "scale"], ["y"]), {"scale": np.float32(1)}
        else:
            node, weights = helper.make_node("Cast", ["x"], ["y"], to=T.FLOAT), {}
        inputs, outputs = [("x", kind, [5])], [("y", T.FLOAT, [5])]
        with device.open(onnx_model([node], inputs, outputs, weights, Feeding(values=(("x", text),)))) as session:
            assert session.run().outputs["y"].tolist() == [wanted] * 5
        assert set(fed(device, onnx_model([node], inputs, outputs, weights))) == {"x"}

    def test_texts(self, device: CpuDevice) -> None:
        encoder = helper.make_node(
            "LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_strings=["é"], values_int64s=[7], default_int64=1
        )
        artifact = onnx_model(
            [encoder], [("x", T.STRING, [2, 2])], [("y", T.INT64, [2, 2])], feeding=Feeding(values=(("x", "é"),))
        )
        with device.open(artifact) as session:
            assert session.run().outputs["y"].tolist() == [[7, 7], [7, 7]]
        assert device.profile_operators(artifact, Settings(), 2).operators

    def test_an_input_of_any_rank_is_asked_for(self, device: CpuDevice) -> None:
        relu = helper.make_node("Relu", ["x"], ["y"])
        with pytest.raises(InputError, match="--input-shape x:"):
            device.open(onnx_model([relu], [("x", T.FLOAT, None)], [("y", T.FLOAT, None)]))
        feeding = Feeding(shapes=(("x", (1, 0, 8)),))
        with device.open(
            onnx_model([relu], [("x", T.FLOAT, None)], [("y", T.FLOAT, None)], feeding=feeding)
        ) as session:
            assert session.run().outputs["y"].shape == (1, 0, 8)

    def test_sequences_are_refused_in_words(self, device: CpuDevice, refuses: Callable[..., str]) -> None:
        value = helper.make_tensor_sequence_value_info("x", T.FLOAT, None)
        node = helper.make_node("SequenceLength", ["x"], ["y"])
        graph = helper.make_graph([node], "g", [value], [helper.make_tensor_value_info("y", T.INT64, [])])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        artifact = Artifact(model.SerializeToString(), "onnx", "m")
        assert "cannot feed: seq(tensor(float))" in refuses(lambda: device.open(artifact))

    def test_an_input_called_as_nothing_else(self, device: CpuDevice) -> None:
        node = helper.make_node("Relu", ["model"], ["latency_ns"])
        artifact = onnx_model([node], [("model", T.FLOAT, [2])], [("latency_ns", T.FLOAT, [2])])
        assert fed(device, artifact) == {"model": "random in [0, 1)"}
        assert device.profile_operators(artifact, Settings(), 2).operators


def tflite_model(names: Sequence[bytes], signatures: dict[str, tuple[int, dict[str, int]]]) -> bytes:
    """``out = a - b`` in subgraph 0, ``out = a + b`` in subgraph 1; signatures are a subgraph and inputs by name."""
    model = schema.ModelT()
    model.version, model.buffers, model.subgraphs, model.operatorCodes = 3, [schema.BufferT()], [], []
    for kind in (schema.BuiltinOperator.SUB, schema.BuiltinOperator.ADD):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = 1
        model.operatorCodes.append(code)
        graph, operator = schema.SubGraphT(), schema.OperatorT()
        graph.tensors = []
        for name in (*names, b"out"):
            tensor = schema.TensorT()
            tensor.name, tensor.shape, tensor.shapeSignature = name, [1, 3], [-1, 3]
            graph.tensors.append(tensor)
        operator.opcodeIndex, operator.inputs, operator.outputs = len(model.subgraphs), [0, 1], [2]
        graph.operators, graph.inputs, graph.outputs = [operator], [0, 1], [2]
        operator.builtinOptionsType = schema.BuiltinOptions.SubOptions if not model.subgraphs else 11
        operator.builtinOptions = schema.SubOptionsT() if not model.subgraphs else schema.AddOptionsT()
        model.subgraphs.append(graph)
    model.signatureDefs = []
    for key, (subgraph, inputs) in signatures.items():
        entry = schema.SignatureDefT()
        entry.signatureKey, entry.subgraphIndex = key.encode(), subgraph
        entry.inputs, entry.outputs = [], []
        for into, name, index in [(entry.inputs, n, i) for n, i in inputs.items()] + [(entry.outputs, "out", 2)]:
            pair = schema.TensorMapT()
            pair.name, pair.tensorIndex = name.encode(), index
            into.append(pair)
        model.signatureDefs.append(entry)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


SIGNATURES = {"less": (0, {"b": 1, "a": 0}), "more": (1, {"q": 1, "p": 0})}


class TestTflite:
    @pytest.mark.parametrize(("names", "told"), [((b"", b""), ["#0", "#1"]), ((b"x", b"x"), ["x#0", "x#1"])])
    def test_inputs_without_names_of_their_own(
        self, device: CpuDevice, names: tuple[bytes, bytes], told: list[str]
    ) -> None:
        feeding = Feeding(values=((told[0], "5"), (told[1], "2")))
        artifact = Artifact(tflite_model(names, {}), "tflite", "m", feeding=feeding)
        with device.open(artifact) as session:
            assert [spec.name for spec in session.inputs] == told
            assert session.run().outputs["out"].tolist() == [[3, 3, 3]]
        assert device.profile_operators(artifact, Settings(), 2).operators

    @pytest.mark.parametrize(
        ("name", "values", "wanted", "kind"),
        [("", {"a": "5", "b": "2"}, 3, "SUB"), ("less", {"a": "5", "b": "2"}, 3, "SUB"),
         ("more", {"p": "5", "q": "2"}, 7, "ADD")],
    )  # fmt: skip
    def test_a_signature(self, device: CpuDevice, name: str, values: dict[str, str], wanted: int, kind: str) -> None:
        feeding = Feeding(values=tuple(values.items()), signature=name)
        artifact = Artifact(tflite_model((b"a", b"b"), SIGNATURES), "tflite", "m", feeding=feeding)
        with device.open(artifact) as session:
            assert session.run().outputs["out"].tolist() == [[wanted] * 3]
            assert session.inputs[0].shape == (1, 3)
        operators = device.profile_operators(artifact, Settings(), 2).operators
        assert any(own.type.upper().startswith(kind) for own in operators), operators
        larger = Feeding(shapes=tuple((name, (4, 3)) for name in values), signature=name)
        with device.open(artifact.with_feeding(larger)) as session:
            assert session.run().outputs["out"].shape == (4, 3)
        profile = device.profile_operators(artifact.with_feeding(larger), Settings(), 2)
        assert profile.operators
        assert profile.tensors[int(name == "more")] == ((4, 3),) * 3

    def test_an_unknown_signature_lists_the_known(self, device: CpuDevice, refuses: Callable[..., str]) -> None:
        artifact = Artifact(tflite_model((b"a", b"b"), SIGNATURES), "tflite", "m", feeding=Feeding(signature="no"))
        said = refuses(lambda: device.open(artifact))
        assert "'no'" in said
        assert "less, more" in said

    def test_indices(self, device: CpuDevice) -> None:
        model = schema.ModelT.InitFromPackedBuf(tflite_model((b"w", b"i"), {}), 0)
        graph, options = model.subgraphs[0], schema.GatherOptionsT()
        graph.tensors[1].type, graph.tensors[1].shape = schema.TensorType.INT32, [2]
        graph.tensors[1].shapeSignature, graph.tensors[0].shapeSignature = [2], [1, 3]
        graph.tensors[2].shape, graph.tensors[2].shapeSignature = [1, 2], [1, 2]
        options.axis = 1
        graph.operators[0].builtinOptions, graph.operators[0].builtinOptionsType = options, 23
        code = model.operatorCodes[0]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.GATHER
        model.subgraphs = [graph]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        artifact = Artifact(bytes(builder.Output()), "tflite", "m")
        assert fed(device, artifact)["i"] == "random integers 0..2 (indices of GATHER)"


def test_an_outline_lacks_weights_only() -> None:
    weights = {"w": np.ones((SHORT, 2), np.float32), "few": np.array([1, 2])}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    artifact = onnx_model(nodes, [("x", T.FLOAT, [1, SHORT])], [("y", T.FLOAT, None)], weights)
    graph = outline(artifact).graph
    large, few = graph.initializer
    assert (list(large.dims), large.raw_data) == ([SHORT, 2], b"")
    assert numpy_helper.to_array(few).tolist() == [1, 2]
    assert [node.op_type for node in graph.node] == ["MatMul"]
    for cut in (b"no model", artifact.data[:-5], artifact.data[:40], b"\xff" * 50):
        with pytest.raises(ModelError):
            outline(Artifact(cut, "onnx"))


def test_specs_that_are_known_are_fed_unopened(device: CpuDevice) -> None:
    artifact = Artifact(b"", "onnx", "m", (TensorSpec("x", (2,)),))
    assert device.fed(artifact, Settings()).specs == artifact.inputs
