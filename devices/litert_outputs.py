"""A TFLite model without its outputs, for an interface that cannot hold outputs of a size known only at run time.

Their operators run all the same: an interpreter executes its whole plan.
"""

from __future__ import annotations

import flatbuffers  # type: ignore[import-untyped]

IDENTIFIER = b"TFL3"


def without_outputs(data: bytes) -> bytes:
    """The same operators and weights; no subgraph that a signature runs has outputs, nor has its signature."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    entries = {signature.subgraphIndex for signature in model.signatureDefs or ()} or {0}
    for signature in model.signatureDefs or ():
        signature.outputs = []
    for index in entries:
        model.subgraphs[index].outputs = []
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
