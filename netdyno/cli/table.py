"""``netdyno table``: show, check, list and import lookup tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from netdyno.cli.console import Json, emit, print_table, say

app = typer.Typer(help="Lookup tables: show, check, list, import.", no_args_is_help=True, rich_markup_mode=None)

SHOWN = ("latency_ms", "latency_ms_low", "latency_ms_high", "memory_bytes", "samples")

Table = Annotated[Path, typer.Argument(help="A table's folder.")]


@app.command()
def show(
    path: Table,
    rows: Annotated[int, typer.Option(help="How many of the slowest layers to list.")] = 15,
    as_json: Json = False,
) -> None:
    """Show a table's conditions and its slowest layers."""
    from netdyno.profiler.table import load_table

    table = load_table(path)
    if as_json:
        layers = table.layers.reset_index().to_dict("records")
        emit({"name": table.name, "conditions": table.conditions, "layers": layers})
        return
    say(f"{table.name}: {len(table.layers)} layers, {len(table.networks)} networks")
    for name, value in table.conditions.items():
        say(f"  {name}: {_flat(value)}")
    slowest = table.layers.sort_values("latency_ms", ascending=False).head(rows)
    cells = []
    for key, row in slowest.iterrows():
        median, low, high, memory, samples = (_number(row[column]) for column in SHOWN)
        cells.append((str(key), median, f"[{low}, {high}]", memory, samples))
    print_table(("layer", "latency_ms", "95 % interval", "memory_bytes", "samples"), cells)


@app.command()
def check(path: Table, as_json: Json = False) -> None:
    """Check that a table holds only what a measurement can give; exit code 1 if not."""
    from netdyno.base.errors import TableInvalid
    from netdyno.profiler.table import load_table

    table = load_table(path)
    problems = table.problems()
    if as_json:
        emit({"table": str(path), "ok": not problems, "problems": problems})
    for problem in problems[:20]:
        say(problem)
    if problems and not as_json:
        raise TableInvalid(f"{path}: {len(problems)} problems")
    if problems:
        raise typer.Exit(TableInvalid.exit_code)
    say(f"{path}: {len(table.layers)} layers, {len(table.networks)} networks, all plausible")


@app.command("list")
def list_tables(
    folder: Annotated[Path | None, typer.Argument(help="Where to look; default: the tables that ship.")] = None,
    as_json: Json = False,
) -> None:
    """List the tables in a folder, or those that ship with netdyno."""
    from netdyno.profiler.table import DESCRIPTOR, load_table, shipped_tables

    root = folder or shipped_tables()
    found = [(path.parent, load_table(path.parent)) for path in sorted(root.glob(f"*/{DESCRIPTOR}"))]
    if as_json:
        emit({"tables": [{"path": str(p), "name": t.name, "layers": len(t.layers)} for p, t in found]})
        return
    say(f"{len(found)} tables in {root}")
    if found:
        print_table(("table", "layers", "device"), [(p.name, str(len(t.layers)), _device(t)) for p, t in found])


@app.command("import")
def import_command(
    path: Annotated[Path, typer.Argument(help="A file or folder of that format.")],
    format: Annotated[str, typer.Option(help="ofa-yaml.")],
    out: Annotated[Path, typer.Option(help="Folder for the table.")],
    as_json: Json = False,
) -> None:
    """Turn another project's table into one of ours."""
    from netdyno.profiler.formats import import_table

    table = import_table(path, format)
    table.check()
    table.save(out)
    say(f"{len(table.layers)} layers -> {out}")
    if as_json:
        emit({"table": str(out), "name": table.name, "layers": len(table.layers)})


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items())
    return str(value)


def _number(value: Any) -> str:
    import pandas as pd

    return "" if pd.isna(value) else f"{value:.6g}" if isinstance(value, float) else str(value)


def _device(table: Any) -> str:
    device = table.conditions.get("device")
    return str(device.get("name", "")) if isinstance(device, dict) else str(table.conditions.get("source", ""))
