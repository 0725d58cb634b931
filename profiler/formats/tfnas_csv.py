"""TF-NAS's latency tables as CSV: ``device,op_key,mid_channels,latency_ms``, gzipped or not.

A key such as ``MBInvertedResBlock_14_80_160_112_k5_s1_swish`` says input size, channels in, channels of the squeeze
(0: none), channels out, kernel, stride and activation. The published file extrapolates to few channels and so holds
negative latencies, which are refused here row by row. Source: Hu et al. 2020, github.com/AberHu/TF-NAS.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from pathlib import Path

from netdyno.base.errors import InputError
from netdyno.base.files import write_atomic
from netdyno.base.rows import read_rows
from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.formats.content import as_number
from netdyno.profiler.formats.rows import latency_row, left_out, other_fields
from netdyno.profiler.layers import MBConv, Overhead, parse_layer
from netdyno.profiler.table import LookupTable, RowName, make_rows, parse_row

COLUMNS = ("device", "op_key", "mid_channels", "latency_ms")
BASE = "base"
_KEY = re.compile(r"MBInvertedResBlock_(\d{1,5})_(\d{1,5})_(\d{1,5})_(\d{1,5})_k(\d{1,2})_s(\d{1,2})_(relu|swish)")


def read_tfnas_csv(path: Path, choice: Choice) -> LookupTable:
    """One device's blocks as a table; what the rest of a network takes stands in its conditions as ``constant_ms``.

    Raises:
        InputError: not such a file, or of several devices of which none was chosen.
    """
    if choice.runtime or choice.precision:
        raise InputError(f"{path}: TF-NAS's tables tell devices apart, not runtimes or precisions")
    lines = read_rows(path, COLUMNS)
    negative = Counter(line["device"] for line in lines if as_number(path, line["latency_ms"]) <= 0)
    note = f"; {negative.total()} of its {len(lines)} rows are not positive and would be refused" if negative else ""
    device = choice.pick(path, "device", {line["device"] for line in lines}, note)
    rows: dict[str, dict[str, object]] = {}
    constant: float | None = None
    of_device = [line for line in lines if line["device"] == device]
    for line in of_device:
        latency_ms = as_number(path, line["latency_ms"])
        if line["op_key"] == BASE:
            if constant is not None or latency_ms < 0:
                raise InputError(f"{path}: {BASE} of {device} stands there twice, or is negative")
            constant = latency_ms
            continue
        key = _layer(path, line["op_key"], as_number(path, line["mid_channels"] or 0)).key
        if key in rows:
            raise InputError(f"{path}: {line['op_key']} with {line['mid_channels']} channels stands there twice")
        rows[key] = latency_row(latency_ms)
    others = [f"{len(lines) - len(of_device)} rows of other devices"] if len(of_device) < len(lines) else []
    conditions = {
        "source": "AberHu/TF-NAS",
        "format": "tfnas-csv",
        "device": {"name": device},
        "constant_ms": constant or 0.0,
        "refused_rows": negative[device],
        **left_out([*others, *other_fields(lines[:1], COLUMNS)]),
    }
    return LookupTable(f"tfnas-{device}", conditions, make_rows("layer", rows))


def write_tfnas_csv(table: LookupTable, path: Path) -> list[Path]:
    """Write a table's valid inverted bottlenecks into a file in a folder; returns the file.

    Raises:
        InputError: a layer that TF-NAS's tables cannot name.
    """
    device = table.conditions.get("device")
    name = str(device.get("name", "")) if isinstance(device, dict) else ""
    constant = as_number(path, table.conditions.get("constant_ms", 0.0))
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerows([COLUMNS, (name or "device", BASE, "", constant)])
    rows = table.layers[(table.layers["valid"] == 1) & table.layers["latency_ms"].notna()]
    for key, row in rows.iterrows():
        row_name = parse_row(str(key))
        if not isinstance(row_name.layer, Overhead):
            writer.writerow((name or "device", *_format_key(row_name), float(row["latency_ms"])))
    file = path / "tfnas_lut.csv"
    write_atomic(file, lines.getvalue())
    return [file]


def _format_key(name: RowName) -> tuple[str, int]:
    """The key and channels that :func:`_layer` reads."""
    layer = name.layer
    if (
        not isinstance(layer, MBConv)
        or name != RowName(layer)
        or layer.h != layer.w
        or layer.act not in ("relu", "swish")
        or layer.skip != _skips(layer.stride, layer.cin, layer.cout)
    ):
        raise InputError(f"TF-NAS's tables have no name for {layer.key}", layer=layer.key)
    sizes = f"{layer.h}_{layer.cin}_{layer.se}_{layer.cout}_k{layer.kernel}_s{layer.stride}_{layer.act}"
    return f"MBInvertedResBlock_{sizes}", layer.mid


def _skips(stride: int, cin: int, cout: int) -> int:
    """TF-NAS adds the input wherever it fits."""
    return int(stride == 1 and cin == cout)


def _layer(path: Path, key: str, mid: float) -> MBConv:
    match = _KEY.fullmatch(key)
    if not match or mid != int(mid):
        raise InputError(f"{path}: not a TF-NAS block: {key[:80]!r} with {mid:g} channels")
    side, cin, se, cout, kernel, stride = (int(number) for number in match.groups()[:-1])
    skip = _skips(stride, cin, cout)
    layer = MBConv(side, side, cin, cout, int(mid), kernel, stride, match[7], se, skip)
    try:
        parse_layer(layer.key)
    except InputError as error:
        raise InputError(f"{path}: not a TF-NAS block: {key[:80]!r} ({error})") from error
    return layer
