"""TF-NAS's latency tables as CSV: ``device,op_key,mid_channels,latency_ms``, gzipped or not.

A key such as ``MBInvertedResBlock_14_80_160_112_k5_s1_swish`` says input size, channels in, channels of the squeeze
(0: none), channels out, kernel, stride and activation. The published file extrapolates to few channels and so holds
negative latencies, which are refused here row by row. Source: Hu et al. 2020, github.com/AberHu/TF-NAS.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from netdyno.base.errors import InputError
from netdyno.base.rows import read_rows
from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.formats.rows import latency_row
from netdyno.profiler.layers import MBConv, parse_layer
from netdyno.profiler.table import LookupTable, make_rows

COLUMNS = ("device", "op_key", "mid_channels", "latency_ms")
BASE = "base"
_KEY = re.compile(r"MBInvertedResBlock_(\d{1,5})_(\d{1,5})_(\d{1,5})_(\d{1,5})_k(\d{1,2})_s(\d{1,2})_(relu|swish)")


def read_tfnas_csv(path: Path, choice: Choice) -> LookupTable:
    """One device's blocks as a table; what the rest of a network takes stands in its conditions as ``constant_ms``.

    Raises:
        InputError: not such a file, or of several devices of which none was chosen.
    """
    lines = read_rows(path, COLUMNS)
    negative = Counter(line["device"] for line in lines if _number(path, line["latency_ms"]) <= 0)
    note = f"; {negative.total()} of its {len(lines)} rows are not positive and would be refused" if negative else ""
    device = choice.pick(path, "device", {line["device"] for line in lines}, note)
    rows: dict[str, dict[str, object]] = {}
    constant = 0.0
    for line in lines:
        if line["device"] != device:
            continue
        latency_ms = _number(path, line["latency_ms"])
        if line["op_key"] == BASE:
            constant = latency_ms
            continue
        key = _layer(path, line["op_key"], _number(path, line["mid_channels"])).key
        if key in rows:
            raise InputError(f"{path}: {line['op_key']} with {line['mid_channels']} channels stands there twice")
        rows[key] = latency_row(latency_ms)
    conditions = {
        "source": "AberHu/TF-NAS",
        "format": "tfnas-csv",
        "device": {"name": device},
        "constant_ms": constant,
        "refused_rows": negative[device],
    }
    return LookupTable(f"tfnas-{device}", conditions, make_rows("layer", rows))


def _layer(path: Path, key: str, mid: float) -> MBConv:
    match = _KEY.fullmatch(key)
    if not match or mid != int(mid):
        raise InputError(f"{path}: not a TF-NAS block: {key[:80]!r} with {mid:g} channels")
    side, cin, se, cout, kernel, stride = (int(number) for number in match.groups()[:-1])
    skip = int(stride == 1 and cin == cout)
    layer = MBConv(side, side, cin, cout, int(mid), kernel, stride, match[7], se, skip)
    try:
        parse_layer(layer.key)
    except InputError as error:
        raise InputError(f"{path}: not a TF-NAS block: {key[:80]!r} ({error})") from error
    return layer


def _number(path: Path, text: str) -> float:
    if text == "":
        return 0.0
    try:
        number = float(text)
    except ValueError:
        raise InputError(f"{path}: not a number: {text[:80]!r}") from None
    if not abs(number) < 1e9:
        raise InputError(f"{path}: no such number: {text[:80]!r}")
    return number
