"""Graphs with weights, writers, verification and bundles."""

from netdyno.exporters.bundle import Bundle, load_bundle, verify_bundle, write_bundle
from netdyno.exporters.card import Card, FileEntry
from netdyno.exporters.graph import Graph, GraphBuilder, Node, join
from netdyno.exporters.verify import Verification, largest_difference, verify
from netdyno.exporters.writers import formats, write

__all__ = [
    "Bundle",
    "Card",
    "FileEntry",
    "Graph",
    "GraphBuilder",
    "Node",
    "Verification",
    "formats",
    "join",
    "largest_difference",
    "load_bundle",
    "verify",
    "verify_bundle",
    "write",
    "write_bundle",
]
