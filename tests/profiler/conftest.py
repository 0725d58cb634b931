"""Layers of every kind, and tiny ones to measure."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import strategies as st

from netdyno.devices.cpu import CpuDevice
from netdyno.profiler.layers import (
    ACTIVATIONS,
    Add,
    AvgPool,
    Conv,
    Dense,
    FBNetBlock,
    GlobalPool,
    Layer,
    Linear,
    MaxPool,
    MBConv,
    Norm,
    Overhead,
    PlainConv,
    PreConv,
    PreResidual,
    SeparableConv,
    Zero,
)

SIDE, CHANNELS, FLAG = st.integers(1, 20), st.integers(1, 24), st.integers(0, 1)
ODD, STRIDE, ACT = st.sampled_from([1, 3, 5, 7]), st.integers(1, 3), st.sampled_from(ACTIVATIONS)


@st.composite
def _mbconvs(draw: st.DrawFn) -> MBConv:
    """Blocks as networks have them: a skip only where input and output have one shape."""
    cin, cout, stride = draw(CHANNELS), draw(CHANNELS), draw(STRIDE)
    mid = draw(st.just(cin) | CHANNELS)
    skip = draw(FLAG)
    if skip:
        cout, stride = cin, 1
    sides = draw(SIDE), draw(SIDE)
    return MBConv(*sides, cin, cout, mid, draw(ODD), stride, draw(ACT), draw(st.integers(0, 8)), skip)


@st.composite
def _fbnet_blocks(draw: st.DrawFn) -> FBNetBlock:
    """Blocks whose channels the groups divide, with a skip only where it fits."""
    groups, stride, skip = draw(st.integers(1, 3)), draw(STRIDE), draw(FLAG)
    cin, cout, mid = (groups * draw(st.integers(1, 8)) for _ in range(3))
    if skip:
        cout, stride = cin, 1
    return FBNetBlock(draw(SIDE), draw(SIDE), cin, cout, mid, draw(ODD), stride, groups, skip)


EVEN = st.integers(1, 10).map(lambda half: 2 * half)
_EVERY = st.one_of(
    st.just(Overhead()),
    st.builds(Conv, SIDE, SIDE, CHANNELS, CHANNELS, ODD, STRIDE, FLAG, ACT),
    st.builds(SeparableConv, SIDE, SIDE, CHANNELS, CHANNELS, ODD, STRIDE, ACT),
    _mbconvs(),
    st.builds(GlobalPool, SIDE, SIDE, CHANNELS),
    st.builds(Linear, CHANNELS, CHANNELS),
    _fbnet_blocks(),
    st.builds(PreConv, SIDE, SIDE, CHANNELS, CHANNELS, ODD, STRIDE),
    st.builds(PreResidual, EVEN, EVEN, CHANNELS, CHANNELS, ODD, st.just(2)),
    st.builds(AvgPool, SIDE, SIDE, CHANNELS, ODD),
    st.builds(Zero, SIDE, SIDE, CHANNELS),
    st.builds(Add, SIDE, SIDE, CHANNELS),
    st.builds(Norm, SIDE, SIDE, CHANNELS),
    st.builds(PlainConv, SIDE, SIDE, CHANNELS, CHANNELS, st.integers(1, 5), STRIDE, ACT),
    SIDE.flatmap(
        lambda side: st.builds(MaxPool, *[st.just(side)] * 2, CHANNELS, st.integers(1, 3), st.integers(1, 2))
    ),
    SIDE.flatmap(lambda side: st.builds(Dense, *[st.just(side)] * 2, CHANNELS, CHANNELS, ACT)),
)


@pytest.fixture(scope="session")
def every_layer() -> st.SearchStrategy[Layer]:
    return _EVERY


@pytest.fixture(scope="session")
def tiny_layers() -> list[Layer]:
    """Four layers that run within microseconds."""
    return [
        Conv(8, 8, 3, 4, kernel=3, stride=2, norm=1, act="h_swish"),
        MBConv(4, 4, 4, 4, mid=8, kernel=3, stride=1, act="relu", se=4, skip=1),
        GlobalPool(4, 4, 4),
        Linear(4, 3),
    ]


@pytest.fixture(scope="module")
def cpu() -> Iterator[CpuDevice]:
    with CpuDevice() as device:
        yield device
