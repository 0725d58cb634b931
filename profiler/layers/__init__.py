"""Layers: the units of a lookup table. Within one table equal keys mean equal cost."""

from netdyno.profiler.layers.convnet import Dense, MaxPool, PlainConv
from netdyno.profiler.layers.fbnet import FBNetBlock
from netdyno.profiler.layers.layer import ACTIVATIONS, Layer, Overhead, Skip
from netdyno.profiler.layers.mobilenet import Conv, GlobalPool, Linear, MBConv, SeparableConv, make_divisible
from netdyno.profiler.layers.nasbench201 import Add, AvgPool, Norm, PreConv, PreResidual, Zero
from netdyno.profiler.layers.operator import Operator, count_operators
from netdyno.profiler.layers.parse import KINDS, parse_layer

__all__ = [
    "ACTIVATIONS",
    "KINDS",
    "Add",
    "AvgPool",
    "Conv",
    "Dense",
    "FBNetBlock",
    "GlobalPool",
    "Layer",
    "Linear",
    "MBConv",
    "MaxPool",
    "Norm",
    "Operator",
    "Overhead",
    "PlainConv",
    "PreConv",
    "PreResidual",
    "SeparableConv",
    "Skip",
    "Zero",
    "count_operators",
    "make_divisible",
    "parse_layer",
]
