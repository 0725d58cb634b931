"""Power of a Jetson board's rails from the kernel's INA3221 and INA238 drivers, as folders in sysfs show it.

Two trees, by age of the kernel; mV times mA is µW::

    L4T R24…R32  /sys/bus/i2c/drivers/ina3221x/*/iio:device*/  rail_name_N  in_voltageN_input mV  in_currentN_input mA
    later        /sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/  inN_label    inN_input mV          currN_input mA
    Thor's input /sys/bus/i2c/drivers/ina238/*/hwmon/hwmon*/   in1_label    power1_input µW
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netdyno.base.errors import DeviceError
from netdyno.devices.jetson.boards import Board, find_board
from netdyno.devices.tree import Tree

MODEL = "/proc/device-tree/model"
PATTERNS = (
    MODEL,
    "/sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_[0-2]",
    "/sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_*_input",
    "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in[1-3]_*",
    "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/curr[1-3]_input",
    "/sys/bus/i2c/drivers/ina238/*/hwmon/hwmon*/*1_*",
)
"""All files that are looked at."""

_UNCONNECTED = frozenset({"", "NC"})
_READING = re.compile(r"-?\d{1,9}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,40}", re.ASCII)
_UW_PER_MW = 1e3


@dataclass(frozen=True)
class Rail:
    """One rail: its power in µW is the product of what these files hold."""

    name: str
    files: tuple[str, ...]

    def read_mw(self, tree: Tree) -> float:
        """Power now.

        Raises:
            DeviceError: a file cannot be read, or holds something that is no reading.
        """
        product = 1
        for path in self.files:
            text = tree.text(path).strip()
            if not _READING.fullmatch(text):
                why = f"not a reading: {text[:40]!r}" if text else "cannot be read"
                raise DeviceError(f"{path}: {why}")
            product *= int(text)
        return product / _UW_PER_MW


@dataclass(frozen=True)
class Monitors:
    """The rails that a board's monitors show; ``board`` is None where none is known that has such rails."""

    rails: tuple[Rail, ...]
    board: Board | None

    def total(self) -> tuple[Rail, ...]:
        """The rails whose sum is the board's power; none where that cannot be told."""
        names = self.board.total_rails([rail.name for rail in self.rails]) if self.board else ()
        return tuple(rail for rail in self.rails if rail.name in names)

    def read_mw(self, tree: Tree) -> Mapping[str, float]:
        """Power of each rail now, in mW.

        Raises:
            DeviceError: a rail cannot be read.
        """
        return {rail.name: rail.read_mw(tree) for rail in self.rails}


def find_monitors(tree: Tree) -> Monitors:
    """The rails of a machine; empty where it is no Jetson, or one without monitors (the Nano 2GB).

    Raises:
        DeviceError: two monitors call their rails the same.
    """
    rails: dict[str, Rail] = {}
    for rail in (*_iio(tree), *_hwmon(tree), *_ina238(tree)):
        if rail.name in rails:
            raise DeviceError(f"two rails are called {rail.name}: {rails[rail.name].files[0]}, {rail.files[0]}")
        rails[rail.name] = rail
    return Monitors(tuple(rails.values()), find_board(rails, model(tree)))


def model(tree: Tree) -> str:
    """What the device tree calls the board; empty where there is none."""
    return tree.text(MODEL).rstrip("\0 \n")[:100]


def _iio(tree: Tree) -> Iterator[Rail]:
    for label in tree.glob("/sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_[0-2]"):
        folder, _, number = label.rpartition("/rail_name_")
        yield from _named(tree, label, f"{folder}/in_voltage{number}_input", f"{folder}/in_current{number}_input")


def _hwmon(tree: Tree) -> Iterator[Rail]:
    # Channels 4 to 6 are the shunts' voltages, 7 is the sum of them.
    for label in tree.glob("/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in[1-3]_label"):
        folder, _, channel = label.removesuffix("_label").rpartition("/in")
        yield from _named(tree, label, f"{folder}/in{channel}_input", f"{folder}/curr{channel}_input")


def _ina238(tree: Tree) -> Iterator[Rail]:
    for power in tree.glob("/sys/bus/i2c/drivers/ina238/*/hwmon/hwmon*/power1_input"):
        label = power.replace("/power1_input", "/in1_label")
        yield from _named(tree, label, power) if tree.text(label).strip() else [Rail("VIN", (power,))]


def _named(tree: Tree, label: str, *files: str) -> list[Rail]:
    """The rail of a label; none where nothing is connected."""
    name = tree.text(label).strip("\0 \n")
    if name in _UNCONNECTED:
        return []
    if not _NAME.fullmatch(name):
        raise DeviceError(f"{label}: not a rail's name: {name[:40]!r}")
    return [Rail(name, files)]
