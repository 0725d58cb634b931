"""What a line of NVIDIA's ``tegrastats`` says, from L4T R24 to R38.

::

    07-09-2024 13:31:31 RAM 3168/6851MB (lfb 2x4MB) SWAP 161/3426MB (cached 0MB) CPU [23%@1397,off] EMC_FREQ 2%@204
    GR3D_FREQ 0%@[114] VIC_FREQ 115 APE 150 CPU@46.5C GPU@-256C VDD_IN 2763mW/2846mW VDD_SOC 650mW/711mW

The format differs by release and board, and is documented by example. So everything on a line must be understood:
a word that is not known makes the line an error, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from netdyno.base.errors import DeviceError
from netdyno.devices.jetson.boards import find_board

LONGEST_LINE = 4096
SENSOR_OFF_C = -256.0
_COLDEST_C, _HOTTEST_C = -60.0, 200.0
_MB = {"kB": 1 / 1024, "MB": 1.0, "GB": 1024.0}

_NUMBER = r"\d{1,7}"
_CORE = rf"(?:off|{_NUMBER}%(?:@{_NUMBER})?)"
_CLOCKS = rf"(?:{_NUMBER}|\[{_NUMBER}(?:,{_NUMBER})*\])"
_LOAD = rf"(?:off|{_NUMBER}%?(?:@{_CLOCKS})?|@{_CLOCKS})"
_ENGINES = r"(?:[A-Z][A-Z0-9]*_FREQ|EMC|GR3D2?|AVP|VDE|APE|VIC|OFA|MSENC|SE\d?|NV(?:ENC|DEC|JPG|DLA)\d?|PVA\d?)"
_MEMORY = rf"{_NUMBER}/{_NUMBER}[kMG]B"

_TOKEN = re.compile(
    rf"""
      (?P<date>\d\d-\d\d-\d{{4}}\ \d\d:\d\d:\d\d)
    | RAM\ (?P<ram>{_NUMBER})/{_NUMBER}(?P<ram_unit>[kMG]B)\ ?\(lfb\ (?:{_NUMBER}x)?{_NUMBER}[kMG]B\)
    | SWAP\ {_MEMORY}(?:\ \(cached\ {_NUMBER}[kMG]B\))?
    | IRAM\ {_MEMORY}(?:\ ?\(lfb\ {_NUMBER}[kMG]B\))?
    | (?:CPU|cpu)\ \[{_CORE}(?:,{_CORE})*\](?:@{_NUMBER})?
    | MTS\ fg\ {_NUMBER}%\ bg\ {_NUMBER}%
    | EDP\ limit\ {_NUMBER}
    | {_ENGINES}\ {_LOAD}
    | (?P<sensor>[A-Za-z][A-Za-z0-9_.-]{{0,40}})@(?P<celsius>-?\d{{1,4}}(?:\.\d{{1,4}})?)C
    | (?P<rail>[A-Z][A-Z0-9_]{{0,40}})\ (?P<mw>-?{_NUMBER})(?P<unit>(?:mW)?)(?:/-?{_NUMBER}(?P=unit)){{1,2}}
    """,
    re.VERBOSE | re.ASCII,
)
Number = TypeVar("Number", int, float)
_NOT_RAILS = frozenset({"RAM", "SWAP", "IRAM", "MTS", "EDP"})


@dataclass(frozen=True)
class Tegrastats:
    """One line: power now (not its running averages) by rail, temperatures by sensor, memory in use.

    Channels without a name (``NC``) and sensors that are off are left out.
    """

    rails_mw: Mapping[str, int]
    temperatures_c: Mapping[str, float]
    ram_used_mb: float

    @property
    def total_mw(self) -> float | None:
        """Power of the whole board; None where its rails are not known to make up a total."""
        board = find_board(self.rails_mw)
        return board.total_mw(self.rails_mw) if board else None


def parse_tegrastats(line: str) -> Tegrastats:
    """Read one line.

    Raises:
        DeviceError: something on it is not what ``tegrastats`` prints.
    """
    rails_mw: dict[str, int] = {}
    temperatures_c: dict[str, float] = {}
    ram_used_mb: float | None = None
    for token in _tokens(line):
        if token["rail"]:
            _add(rails_mw, _rail(token), int(token["mw"]))
        elif token["sensor"]:
            _add(temperatures_c, token["sensor"], float(token["celsius"]))
        elif token["ram"] and ram_used_mb is None:
            ram_used_mb = int(token["ram"]) * _MB[token["ram_unit"]]
        elif token["ram"]:
            raise _unknown("memory in use stands twice")
    if ram_used_mb is None:
        raise _unknown("no memory in use")
    rails_mw.pop("NC", None)
    temperatures_c = {name: value for name, value in temperatures_c.items() if value != SENSOR_OFF_C}
    for name, value in temperatures_c.items():
        if not _COLDEST_C < value < _HOTTEST_C:
            raise _unknown(f"{name} at {value:g} °C")
    return Tegrastats(rails_mw, temperatures_c, ram_used_mb)


def _tokens(line: str) -> list[re.Match[str]]:
    """The line's words, each understood as a whole, with one space between them."""
    if len(line) > LONGEST_LINE:
        raise _unknown(f"{len(line)} characters")
    line = line.strip(" \r\n")
    tokens, position = [], 0
    while position < len(line):
        token = _TOKEN.match(line, position)
        if token is None or line[token.end() : token.end() + 1] not in ("", " "):
            raise _unknown(line[position : position + 40])
        tokens.append(token)
        position = token.end() + 1
    return tokens


def _rail(token: re.Match[str]) -> str:
    name = token["rail"]
    if name in _NOT_RAILS or name.endswith("_FREQ"):
        raise _unknown(token[0])
    return name


def _add(into: dict[str, Number], name: str, value: Number) -> None:
    if name in into and name != "NC":
        raise _unknown(f"{name} stands twice")
    into[name] = value


def _unknown(what: str) -> DeviceError:
    return DeviceError(f"not a line of tegrastats: {what!r}")
