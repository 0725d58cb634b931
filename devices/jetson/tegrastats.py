"""Readings of a line of NVIDIA's ``tegrastats``, from L4T R24 to R39.

::

    07-09-2024 13:31:31 RAM 3168/6851MB (lfb 2x4MB) SWAP 161/3426MB (cached 0MB) CPU [23%@1397,off] EMC_FREQ 2%@204
    GR3D_FREQ 0%@[114] VIC_FREQ 115 APE 150 CPU@46.5C GPU@-256C VDD_IN 2763mW/2846mW VDD_SOC 650mW/711mW

R39 prints temperatures as now/highest and rails as now/mean/highest. The format differs by release and board, and is
documented by example. So a word that cannot be a rail's power may be unknown, and is told; one that looks like a
rail's power and cannot be read makes the line an error, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netdyno.base.errors import DeviceError
from netdyno.devices.jetson.boards import BOARDS, find_board

LONGEST_LINE = 4096
SENSOR_OFF_C = -256.0
_COLDEST_C, _HOTTEST_C = -60.0, 200.0
_MB = {"kB": 1 / 1024, "MB": 1.0, "GB": 1024.0}
_MOST_UNKNOWN, _SHOWN = 8, 40

_NUMBER = r"\d{1,7}"
_CORE = rf"(?:off|{_NUMBER}%(?:@{_NUMBER})?)"
_CLOCKS = rf"(?:{_NUMBER}|\[{_NUMBER}(?:,\ ?{_NUMBER})*\])"
_LOAD = rf"(?:off|{_NUMBER}%?(?:@{_CLOCKS})?|@{_CLOCKS})"
_ENGINES = r"(?:[A-Z][A-Z0-9]*_FREQ|EMC|GR3D2?|AVP|VDE|APE|VIC|OFA|MSENC|SE\d?|NV(?:ENC|DEC|JPG|DLA)\d?|PVA\d?)"
_MEMORY = rf"{_NUMBER}/{_NUMBER}[kMG]B"
_CELSIUS = r"-?\d{1,4}(?:\.\d{1,4})?"
_MW = rf"-?{_NUMBER}"

_TOKEN = re.compile(
    rf"""
      (?P<date>\d\d-\d\d-\d{{4}}\ \d\d:\d\d:\d\d)
    | RAM\ (?P<ram>{_NUMBER})/{_NUMBER}(?P<ram_unit>[kMG]B)(?:\ ?\(lfb\ (?:{_NUMBER}x)?{_NUMBER}[kMG]B\))?
    | SWAP\ {_MEMORY}(?:\ \(cached\ {_NUMBER}[kMG]B\))?
    | IRAM\ {_MEMORY}(?:\ ?\(lfb\ {_NUMBER}[kMG]B\))?
    | (?:CPU|cpu)\ \[{_CORE}(?:,\ ?{_CORE})*\](?:@{_NUMBER})?
    | MTS\ fg\ {_NUMBER}%\ bg\ {_NUMBER}%
    | EDP\ limit\ {_NUMBER}
    | {_ENGINES}\ {_LOAD}
    | (?P<sensor>[A-Za-z][A-Za-z0-9_.-]{{0,40}})@(?P<celsius>{_CELSIUS})C(?:/{_CELSIUS}C){{0,2}}
    | (?P<rail>[A-Z][A-Z0-9_]{{0,40}})\ (?P<mw>{_MW})(?:mW(?:/{_MW}mW){{0,2}}|(?:/{_MW}){{1,2}})
    """,
    re.VERBOSE | re.ASCII,
)
_VALUE = r"(?:\[[^\]]*\]|\([^)]*\)|[^\s\[(]|[\[(])+"
_UNKNOWN = re.compile(rf"{_VALUE}(?:\ (?![A-Za-z]){_VALUE})*")
"""A word, and the words after it that begin with no letter: a name and what is said of it."""
_NAMED_LIKE_A_RAIL = re.compile(r"V(?:DD|IN|CC|BAT|SYS)|POM_|SYS\d?V|NC\b", re.ASCII | re.IGNORECASE)
_POWER = re.compile(r"\d\s?[mµu]?[WA]\b|(?<![\d/])-?\d+/-?\d+(?:/-?\d+)*(?![\d/.]*[A-Za-z.])")
"""A number with a unit of power or current, or running figures without a unit; sizes of memory have theirs."""
_RAILS = frozenset(name for board in BOARDS for name in (*sum(board.total, ()), *board.gpu, *board.cpu))
_NOT_RAILS = frozenset({"RAM", "SWAP", "IRAM", "MTS", "EDP"})


@dataclass(frozen=True)
class Tegrastats:
    """One line: power now (not its running averages) by rail, temperatures by sensor, memory in use.

    Channels without a name (``NC``) and sensors that are off are left out. ``unknown`` holds what no known
    release prints and is no rail's power, and temperatures that no board has.
    """

    rails_mw: Mapping[str, int]
    temperatures_c: Mapping[str, float]
    ram_used_mb: float
    unknown: tuple[str, ...] = ()

    @property
    def total_mw(self) -> float | None:
        """Power of the whole board; None where its rails are not known to make up a total."""
        board = find_board(self.rails_mw)
        return board.total_mw(self.rails_mw) if board else None


def parse_tegrastats(line: str) -> Tegrastats:
    """Read one line.

    Raises:
        DeviceError: it is no line of ``tegrastats``, or a rail's power on it cannot be read.
    """
    rails_mw: dict[str, int] = {}
    temperatures_c: dict[str, float] = {}
    ram_used_mb: float | None = None
    unknown: list[str] = []
    for token in _tokens(line):
        if isinstance(token, str):
            unknown.append(token)
        elif token["rail"]:
            _add_rail(rails_mw, token)
        elif token["sensor"]:
            if not _add_sensor(temperatures_c, token):
                unknown.append(token[0])
        elif token["ram"] and ram_used_mb is None:
            ram_used_mb = int(token["ram"]) * _MB[token["ram_unit"]]
        elif token["ram"]:
            raise _not_understood("memory in use stands twice")
    if ram_used_mb is None:
        raise _not_understood("no memory in use")
    rails_mw.pop("NC", None)
    return Tegrastats(rails_mw, temperatures_c, ram_used_mb, tuple(unknown[:_MOST_UNKNOWN]))


def _tokens(line: str) -> Iterator[re.Match[str] | str]:
    """Parts of the line, each understood as a whole; as text where it is not known and can be no rail.

    Raises:
        DeviceError: something that looks like a rail and cannot be read, or a line too long.
    """
    if len(line) > LONGEST_LINE:
        raise _not_understood(f"{len(line)} characters")
    line = " ".join(line.split())
    position = 0
    while position < len(line):
        token = _TOKEN.match(line, position)
        if token is not None and line[token.end() : token.end() + 1] in ("", " "):
            yield token
        else:
            token = _UNKNOWN.match(line, position)
            item = token[0] if token else line[position:]
            if token is None or _may_be_rail(item, position):
                raise DeviceError(f"a rail's power on a line of tegrastats cannot be read: {item[:_SHOWN]!r}")
            yield item[:_SHOWN]
        position = token.end() + 1


def _may_be_rail(item: str, position: int) -> bool:
    """True where a name with what is said of it could be a rail's power; a date in another order begins a line."""
    name, _, value = item.partition(" ")
    if _NAMED_LIKE_A_RAIL.match(name):
        return True
    if name in _RAILS and value and not re.search(r"[%@\[]", value):
        return True
    return bool(_POWER.search(item)) and not (position == 0 and item[0].isdigit())


def _add_rail(rails_mw: dict[str, int], token: re.Match[str]) -> None:
    name = token["rail"]
    if name in _NOT_RAILS or name.endswith("_FREQ"):
        raise _not_understood(token[0])
    if name in rails_mw and name != "NC":
        raise _not_understood(f"{name} stands twice")
    rails_mw[name] = int(token["mw"])


def _add_sensor(temperatures_c: dict[str, float], token: re.Match[str]) -> bool:
    """Keep a temperature, unless its sensor is off; False where it is none of a board that runs, or told twice."""
    name, celsius = token["sensor"], float(token["celsius"])
    if celsius == SENSOR_OFF_C:
        return True
    if name in temperatures_c or not _COLDEST_C < celsius < _HOTTEST_C:
        return False
    temperatures_c[name] = celsius
    return True


def _not_understood(what: str) -> DeviceError:
    return DeviceError(f"not a line of tegrastats: {what!r}")
