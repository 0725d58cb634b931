"""The artifact writers, by the name of their format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from netdyno.base.artifact import Artifact
from netdyno.base.errors import InputError
from netdyno.base.registry import Registry
from netdyno.exporters.graph import Graph, Node

WRITERS = Registry("export format", "netdyno.exporters")

Emitter = TypeVar("Emitter")


def formats() -> list[str]:
    """The names of all formats that a graph can be written in."""
    return WRITERS.names()


def write(graph: Graph, format: str) -> Artifact:
    """Write a graph as an FP32 artifact of that format, directly: no tracing, milliseconds a layer.

    Raises:
        UnknownName: no writer of that name.
        InputError: the graph holds an operator that the format's writer does not know.
    """
    artifact: Artifact = WRITERS.load(format)(graph)
    return artifact


def emitter_for(node: Node, emitters: Mapping[str, Emitter], format: str) -> Emitter:
    """What a writer calls for a node.

    Raises:
        InputError: the writer does not know the node's operator.
    """
    try:
        return emitters[node.op]
    except KeyError:
        message = f"no operator {node.op!r} in the {format} writer; it knows {', '.join(sorted(emitters))}"
        raise InputError(message, layer=node.output) from None
