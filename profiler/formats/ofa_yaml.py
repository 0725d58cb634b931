"""Once-for-All's latency tables: one YAML file a resolution, ``224_lookup_table.yaml``.

Each entry is a layer key with ``count``, ``mean`` and ``std`` in ms, measured within networks of that resolution, so
that the same layer has a cost of its own in each file. Source: Cai et al. 2020, github.com/mit-han-lab/once-for-all.
ProxylessNAS's tables, of the same authors, name blocks without ``se`` and ``hs`` and by the ratio of their expansion;
their activations are ReLU6 and their ``Logits`` include the pooling.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from netdyno.base.errors import InputError
from netdyno.base.files import write_atomic
from netdyno.profiler.formats.choice import Choice
from netdyno.profiler.formats.content import read_yaml
from netdyno.profiler.formats.rows import left_out, other_fields
from netdyno.profiler.layers import Conv, GlobalPool, Layer, Linear, MBConv, Overhead, make_divisible
from netdyno.profiler.statistics import NORMAL_95
from netdyno.profiler.table import LookupTable, make_rows, parse_row

_FILE = re.compile(r"(\d+)_lookup_table\.ya?ml")
_SHAPE = re.compile(r"(\d+)x(\d+)x(\d+)")
_LARGEST_COUNT = 10**9
DEEPEST = 2
STEM_CHANNELS = 3


def read_ofa_yaml(path: Path, choice: Choice) -> LookupTable:
    """A folder of such files, or one of them, as a table whose rows carry the network's input size.

    Raises:
        InputError: no such files there, or one that cannot be understood.
    """
    choice.forbid(path)
    files = [path] if path.is_file() else sorted(path.glob("*_lookup_table.y*ml"))
    sizes = {file: match[1] for file in files if (match := _FILE.fullmatch(file.name))}
    if not files or len(sizes) < len(files):
        raise InputError(f"{path}: no Once-for-All tables here; they are named like 224_lookup_table.yaml")
    rows: dict[str, dict[str, Any]] = {}
    others = _other_files(path, files)
    for file, size in sizes.items():
        entries = read_yaml(file, DEEPEST)
        proxyless = any(key.startswith("expanded_conv-") and "-se:" not in key for key in entries)
        for key, entry in entries.items():
            name = f"{_parse_key(file, key, proxyless=proxyless).key}@{int(size)}"
            _require_row(file, key, name)
            if name in rows:
                raise InputError(f"{file}: {key!r} is a layer that has a cost for {int(size)} px already", layer=key)
            rows[name] = _row(file, key, entry)
        others += other_fields((each for each in entries.values() if isinstance(each, dict)), _FIELDS)
    conditions = {"source": "mit-han-lab/once-for-all", "format": "ofa-yaml", "batch": 1, **left_out(others)}
    return LookupTable(path.stem, conditions, make_rows("layer", rows))


def _other_files(path: Path, files: list[Path]) -> list[str]:
    """The files of a folder that are named like no table."""
    if path in files:
        return []
    return [f"{each.name}: not named like a table" for each in sorted(path.iterdir()) if each not in files]


def write_ofa_yaml(table: LookupTable, path: Path) -> list[Path]:
    """Write a table's valid layers into a folder, one file a network input size; returns the files.

    Rows without such a size belong to the network that its first convolution tells the size of.

    Raises:
        InputError: a layer that Once-for-All's tables cannot name, or no single size to name the file after.
    """
    by_size: dict[int, dict[str, dict[str, float | int]]] = {}
    valid = table.layers[(table.layers["valid"] == 1) & table.layers["latency_ms"].notna()]
    rows = [(parse_row(str(key)), row) for key, row in valid.iterrows()]
    stems = {name.layer.h for name, _ in rows if isinstance(name.layer, Conv) and name.layer.cin == STEM_CHANNELS}
    for (layer, size, place), row in rows:
        if isinstance(layer, Overhead):
            continue
        if place is not None:
            raise InputError(f"Once-for-All's tables do not tell places apart: {layer.key}#{place}", layer=layer.key)
        if size is None and len(stems) != 1:
            raise InputError(f"table {table.name} has layers of {len(stems)} input sizes; one file is of one size")
        entry = _entry(float(row["latency_ms"]), row)
        by_size.setdefault(size or next(iter(stems)), {})[_format_key(layer)] = entry
    if not by_size:
        raise InputError(f"table {table.name} has no valid layer to export")
    files = [path / f"{size}_lookup_table.yaml" for size in by_size]
    for file, entries in zip(files, by_size.values(), strict=True):
        write_atomic(file, yaml.safe_dump(entries, sort_keys=True))
    return files


def _entry(mean: float, row: pd.Series[Any]) -> dict[str, float | int]:
    """Count, mean and the standard deviation that its interval stands for."""
    count = 1 if pd.isna(row["samples"]) else max(int(row["samples"]), 1)
    half = 0.0 if pd.isna(row["latency_ms_high"]) else max(float(row["latency_ms_high"]) - mean, 0.0)
    return {"count": count, "mean": mean, "std": half * math.sqrt(count) / NORMAL_95}


def _format_key(layer: Layer) -> str:
    """The key that :func:`_parse_key` reads."""
    match layer:
        case Linear():
            return f"Logits-input:1x1x{layer.cin}-output:{layer.cout}"
        case GlobalPool():
            return f"AvgPool2D-input:{layer.h}x{layer.w}x{layer.cin}-output:1x1x{layer.cin}"
        case Conv():
            sizes = f"input:{layer.h}x{layer.w}x{layer.cin}-output:{_output(layer)}"
            for name, kernel, stride, norm in (("Conv", 3, 2, 1), ("Conv_1", 1, 1, 1), ("Conv_2", 1, 1, 0)):
                if (layer.kernel, layer.stride, layer.norm, layer.act) == (kernel, stride, norm, "h_swish"):
                    return f"{name}-{sizes}"
        case MBConv() if layer.act in ("relu", "h_swish") and layer.se in (0, make_divisible(layer.mid // 4)):
            flags = f"idskip:{layer.skip}-se:{int(layer.se > 0)}-hs:{int(layer.act == 'h_swish')}"
            sizes = f"input:{layer.h}x{layer.w}x{layer.cin}-output:{_output(layer)}-expand:{layer.mid}"
            return f"expanded_conv-{sizes}-kernel:{layer.kernel}-stride:{layer.stride}-{flags}"
    raise InputError(f"Once-for-All's tables have no name for {layer.key}", layer=layer.key)


def _output(layer: Conv | MBConv) -> str:
    return f"{-(-layer.h // layer.stride)}x{-(-layer.w // layer.stride)}x{layer.cout}"


def _row(file: Path, key: str, entry: Any) -> dict[str, Any]:
    try:
        mean = float(entry["mean"])
        told = "count" in entry or "std" in entry
        count, std = (int(entry["count"]), float(entry["std"])) if told else (1, 0.0)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise InputError(f"{file}: {key!r} needs the numbers count, mean and std", layer=key) from error
    if not 1 <= count <= _LARGEST_COUNT or not all(math.isfinite(value) and value >= 0 for value in (mean, std)):
        raise InputError(f"{file}: {key!r}: no such measurement: {count} of {mean:g} ± {std:g} ms", layer=key)
    if not told:
        return {"latency_ms": mean, "method": "imported"}
    half = NORMAL_95 * std / math.sqrt(count)
    low, high = max(mean - half, 0.0), mean + half
    numbers = {"latency_ms": mean, "latency_ms_low": low, "latency_ms_high": high, "samples": count}
    return numbers | {"method": "imported"}


def _parse_key(file: Path, key: str, *, proxyless: bool) -> Layer:
    """The layer of a key such as ``expanded_conv-input:112x112x24-output:56x56x32-expand:72-kernel:3-…``."""
    kind, *parts = key.rstrip(":").split("-")
    fields = dict(part.partition(":")[::2] for part in parts)
    of_block = _PROXYLESS_FIELDS if proxyless else _BLOCK_FIELDS
    known = {"input", "output", *(of_block if kind == "expanded_conv" else ())}
    if len(fields) < len(parts) or not set(fields) <= known:
        raise InputError(
            f"{file}: not a Once-for-All layer: {key!r} (a field twice, or one that is not known)", layer=key
        )
    act = "relu" if proxyless else "h_swish"
    try:
        h, w, cin = _shape(fields["input"])
        if kind == "Logits":
            return Linear(cin, int(fields["output"]))
        _, _, cout = _shape(fields["output"])
        match kind:
            case "Conv":
                return Conv(h, w, cin, cout, kernel=3, stride=2, norm=1, act=act)
            case "Conv_1":
                return Conv(h, w, cin, cout, kernel=1, stride=1, norm=1, act=act)
            case "Conv_2":
                return Conv(h, w, cin, cout, kernel=1, stride=1, norm=0, act=act)
            case "AvgPool2D":
                return GlobalPool(h, w, cin)
            case "expanded_conv":
                return _block(h, w, cin, cout, {name: int(fields[name]) for name in of_block})
    except (KeyError, ValueError, OverflowError) as error:
        raise InputError(f"{file}: not a Once-for-All layer: {key!r} ({error})", layer=key) from error
    raise InputError(f"{file}: not a Once-for-All layer: {key!r} (kind {kind!r})", layer=key)


def _require_row(file: Path, key: str, name: str) -> None:
    """Refuse a layer that no table of ours can hold: a size of zero, a flag that is none."""
    try:
        parse_row(name)
    except InputError as error:
        raise InputError(f"{file}: not a Once-for-All layer: {key!r} ({error})", layer=key) from error


_PROXYLESS_FIELDS = ("expand", "kernel", "stride", "idskip")
_BLOCK_FIELDS = (*_PROXYLESS_FIELDS, "se", "hs")
_FIELDS = ("count", "mean", "std")


def _block(h: int, w: int, cin: int, cout: int, numbers: dict[str, int]) -> MBConv:
    proxyless = "se" not in numbers
    mid = numbers["expand"] * (cin if proxyless else 1)
    return MBConv(
        h,
        w,
        cin,
        cout,
        mid=mid,
        kernel=numbers["kernel"],
        stride=numbers["stride"],
        act="h_swish" if numbers.get("hs") else "relu",
        se=make_divisible(mid // 4) if numbers.get("se") else 0,
        skip=numbers["idskip"],
    )


def _shape(text: str) -> tuple[int, int, int]:
    match = _SHAPE.fullmatch(text)
    if not match:
        raise ValueError(f"not a shape: {text!r}")
    return int(match[1]), int(match[2]), int(match[3])
