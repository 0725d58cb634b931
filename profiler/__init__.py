"""Layers, measuring, lookup tables and cost models."""

from netdyno.profiler.layers import Layer, parse_layer
from netdyno.profiler.lower import lower

__all__ = ["Layer", "lower", "parse_layer"]
