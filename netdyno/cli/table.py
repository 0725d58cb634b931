"""``netdyno table``: show, check, compare, list, import, export and fetch lookup tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdyno.cli.console import DEEPEST, Json, emit, print_table, say
from netdyno.cli.options import FILE, FOLDER, ROWS, TABLE, TEXT, Choice, Form, Input, argument, option

if TYPE_CHECKING:
    from netdyno.profiler.compare import Comparison
    from netdyno.profiler.table import LookupTable

app = typer.Typer(help="Lookup tables.", no_args_is_help=True, rich_markup_mode=None)

DEFAULT_LIMIT = "latency:5%"
FORMATS_HELP = (
    "aihub-perf, benchmark-model (log, CSV or proto), ofa-yaml, onnxruntime-json, single-path-json, tfnas-csv, "
    "trtexec-json."
)
MOST_LINES = 20
SHOWN = ("latency_ms", "latency_ms_low", "latency_ms_high", "memory_bytes", "samples")


def _read() -> Iterable[str]:
    from netdyno.profiler.formats import FORMATS

    return FORMATS.names()


def _written() -> Iterable[str]:
    from netdyno.profiler.formats import WRITERS

    return WRITERS.names()


def _limit(text: str) -> str:
    from netdyno.profiler.compare import parse_limit

    parse_limit(text)
    return text


TABLES = Input("FOLDER", "folder")
LIMIT = Form("METRIC:PCT", r"(?s)\w+:.+", DEFAULT_LIMIT, _limit)
READ = Choice("FORMAT", "table format", _read)
WRITTEN = Choice("FORMAT", "table format to write", _written)
PUBLISHED = Choice("NAME", "published table", lambda: ("ofa-note10",))
Table = Annotated[Path, argument(TABLE, "A table's folder.")]


@app.command()
def show(
    path: Table,
    rows: Annotated[int, option(ROWS, "How many of the slowest layers to list.")] = 15,
    as_json: Json = False,
) -> None:
    """Show a table's conditions and its slowest layers."""
    from netdyno.profiler.table import load_table
    from netdyno.report.validation import error_lines

    table = load_table(path)
    if as_json:
        layers, networks = (rows.reset_index().to_dict("records") for rows in (table.layers, table.networks))
        known = {"name": table.name, "edited": table.edited, "conditions": table.conditions}
        emit(known | {"layers": layers, "networks": networks})
        return
    say(f"{table.name}: {len(table.layers)} layers, {len(table.networks)} networks")
    for name, value in table.conditions.items():
        if name != "validation":
            say(f"  {name}: {_flat(value)}")
    for line in error_lines(table.conditions):
        say(line)
    slowest = table.layers.sort_values("latency_ms", ascending=False).head(rows)
    cells = []
    for key, row in slowest.iterrows():
        median, low, high, memory, samples = (_number(row[column]) for column in SHOWN)
        cells.append((str(key), median, f"[{low}, {high}]", memory, samples))
    print_table(("layer", "latency_ms", "95 % interval", "memory_bytes", "samples"), cells)


@app.command()
def check(
    path: Table,
    against: Annotated[Path | None, option(TABLE, "A baseline's folder: fail on what became worse.")] = None,
    fail_on: Annotated[
        list[str] | None, option(LIMIT, f"METRIC:PCT, how much worse is too much; default {DEFAULT_LIMIT}.")
    ] = None,
    markdown: Annotated[Path | None, option(FILE, "Write a summary for a pull request here.")] = None,
    junit: Annotated[Path | None, option(FILE, "Write JUnit XML for a build server here.")] = None,
    as_json: Json = False,
) -> None:
    """Check that a table holds only what a measurement gives, and is no worse than a baseline; exit code 1 if not."""
    from netdyno.base.errors import InputError, TableInvalid
    from netdyno.base.files import write_atomic
    from netdyno.profiler.compare import compare_tables, parse_limit
    from netdyno.profiler.table import load_table

    if against is None and (fail_on or markdown or junit):
        raise InputError("--fail-on, --markdown and --junit need a baseline: --against TABLE")
    table = load_table(path)
    problems = [*table.problems(), *_uncovered(table)]
    document: dict[str, Any] = {"table": str(path), "edited": table.edited, "problems": problems}
    lines = list(problems)
    if against is not None:
        limits = [parse_limit(text) for text in fail_on or [DEFAULT_LIMIT]]
        comparison = compare_tables(table, load_table(against))
        if markdown or junit:
            from netdyno.report import gate

            for target, write in ((markdown, gate.markdown), (junit, gate.junit)):
                if target:
                    write_atomic(target, write(table.name, comparison, limits, problems))
        offences = comparison.offences(limits)
        lines += [str(change) for change in offences]
        lines += [f"{layer}: in the baseline, but no longer in the table" for layer in comparison.missing]
        document |= {"against": str(against), "offences": [_change(change) for change in offences]}
        document |= {"missing": comparison.missing, "conditions": comparison.conditions}
        _warn_of_conditions(comparison)
    if as_json:
        emit(document | {"ok": not lines})
    for line in lines[:MOST_LINES]:
        say(line)
    if lines and not as_json:
        raise TableInvalid(f"{path}: {len(lines)} {'faults' if against else 'problems'}")
    if lines:
        raise typer.Exit(TableInvalid.exit_code)
    verdict = "all plausible" + (f", none worse than in {against}" if against else "")
    say(f"{path}: {len(table.layers)} layers, {len(table.networks)} networks, {verdict}")


@app.command()
def diff(
    path: Table,
    baseline: Annotated[Path, argument(TABLE, "The table to compare with.")],
    rows: Annotated[int, option(ROWS, "How many of the largest changes to list.")] = 15,
    as_json: Json = False,
) -> None:
    """Show which layers' costs differ between two tables beyond chance, the largest change first."""
    import numpy as np

    from netdyno.profiler.compare import compare_tables
    from netdyno.profiler.table import load_table

    comparison = compare_tables(load_table(path), load_table(baseline))
    _warn_of_conditions(comparison)
    real = [change for change in comparison.changes if change.significant]
    real.sort(key=lambda change: -abs(np.log(change.after / change.before)))
    metrics = dict.fromkeys(change.metric for change in comparison.changes)
    medians = {m: float(np.median([change.fraction for change in comparison.of(m)])) for m in metrics}
    if as_json:
        changed = {"changes": [_change(change) for change in real], "median_change": medians}
        emit(changed | {name: getattr(comparison, name) for name in ("missing", "added", "conditions")})
        return
    for metric, median in medians.items():
        count = sum(change.metric == metric for change in real)
        say(f"{metric}: {count} of {len(comparison.of(metric))} layers differ, the median layer by {median:+.2%}")
    say(f"{len(comparison.missing)} layers are gone, {len(comparison.added)} are new")
    cells = [(c.layer, c.metric, f"{c.before:.5g}", f"{c.after:.5g}", f"{c.fraction:+.1%}") for c in real[:rows]]
    if cells:
        print_table(("layer", "metric", "before", "after", "change"), cells)


def _uncovered(table: LookupTable) -> list[str]:
    """A line for each layer of the table's own space that it lacks; none where it is of no space that is known."""
    from netdyno.base.errors import InputError
    from netdyno.nas.space import parse_space

    try:
        space = parse_space(str(table.conditions.get("subject", "")))
    except InputError:
        return []
    missing = (layer.key for layer in space.vocabulary() if layer.key not in table.layers.index)
    return [f"{key}: of {space.name}, but not in the table" for key in missing]


def _warn_of_conditions(comparison: Comparison) -> None:
    if comparison.conditions:
        say(f"measured under other conditions: {', '.join(comparison.conditions)}")


def _change(change: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(change) | {"change": change.fraction}


@app.command("list")
def list_tables(
    folder: Annotated[Path | None, argument(TABLES, "Where to look; default: the tables that ship.")] = None,
    as_json: Json = False,
) -> None:
    """List the tables in a folder, or those that ship with netdyno."""
    from netdyno.profiler.table import DESCRIPTOR, load_table, shipped_tables

    root = folder or shipped_tables()
    found = [(path.parent, load_table(path.parent)) for path in sorted(root.glob(f"*/{DESCRIPTOR}"))]
    if as_json:
        known = [{"path": str(p), "name": t.name, "layers": len(t.layers), "edited": t.edited} for p, t in found]
        emit({"tables": known})
        return
    say(f"{len(found)} tables in {root}")
    if found:
        print_table(("table", "layers", "device"), [(p.name, str(len(t.layers)), _device(t)) for p, t in found])


@app.command("import")
def import_command(
    path: Annotated[Path, argument(Input("PATH", "file or folder", file=True), "A file or folder of that format.")],
    format: Annotated[str, option(READ, FORMATS_HELP)],
    out: Annotated[Path, option(FOLDER, "Folder for the table.")],
    device: Annotated[str | None, option(TEXT, "Which of the file's devices, if it has several.")] = None,
    runtime: Annotated[str | None, option(TEXT, "Which of the file's runtimes.")] = None,
    precision: Annotated[str | None, option(TEXT, "Which of the file's precisions.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Even if the folder's table was measured.")] = False,
    as_json: Json = False,
) -> None:
    """Turn another project's table, or a profile of a whole model, into a table of ours."""
    from netdyno.profiler.formats import Choice as Chosen
    from netdyno.profiler.formats import import_table

    if not replace:
        _require_unmeasured(out, "--replace it")
    table = import_table(path, format, Chosen(device or "", runtime or "", precision or ""))
    table.check()
    table.save(out)
    refused = int((table.layers["valid"] == 0).sum() + (table.networks["valid"] == 0).sum())
    counts = {"layers": len(table.layers), "networks": len(table.networks), "refused": refused}
    say(f"{counts['layers']} layers, {counts['networks']} networks -> {out}")
    if refused:
        say(f"{refused} of them are no measurements and not valid: their rows say why")
    left_out = [str(line) for line in table.conditions.get("left_out", [])]
    for line in left_out:
        say(f"left out: {line}")
    if as_json:
        emit({"table": str(out), "name": table.name, **counts, "left_out": left_out})


@app.command()
def export(
    path: Table,
    format: Annotated[str, option(WRITTEN, "ofa-yaml, tfnas-csv.")],
    out: Annotated[Path, option(FOLDER, "Folder for the files.")],
    as_json: Json = False,
) -> None:
    """Write a table in another project's format."""
    from netdyno.profiler.formats import export_table, unwritten
    from netdyno.profiler.table import load_table

    table = load_table(path)
    files, left_out = export_table(table, out, format), unwritten(table, format)
    say(f"{path} -> {', '.join(map(str, files))}")
    for line in left_out:
        say(f"left out: {line}")
    if as_json:
        emit({"files": [str(file) for file in files], "left_out": left_out})


@app.command()
def fetch(
    name: Annotated[str, argument(PUBLISHED, "ofa-note10: Once-for-All's published Samsung Note10 tables.")],
    out: Annotated[Path | None, option(FOLDER, "Folder for the table; default: NAME here.")] = None,
    as_json: Json = False,
) -> None:
    """Download a published table, check it against its known digest, and import it."""
    from netdyno.base.files import require_writable
    from netdyno.profiler.formats.fetch import fetch_table

    _require_unmeasured(out or Path(name), "move it away")
    folder = require_writable(out or Path(name))
    table = fetch_table(name)
    table.save(folder)
    say(f"{len(table.layers)} layers -> {folder}")
    if as_json:
        emit({"table": str(folder), "name": table.name, "layers": len(table.layers)})


def _require_unmeasured(folder: Path, remedy: str) -> None:
    """Keep measured tables from being replaced by accident."""
    from netdyno.base.errors import InputError
    from netdyno.profiler.table import is_measured

    if is_measured(folder):
        raise InputError(f"{folder}: holds a table that was measured; choose another --out, or {remedy}")


def _flat(value: Any, depth: int = 0) -> str:
    if depth > DEEPEST:
        return "…"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(item, depth + 1)}" for key, item in value.items())
    if isinstance(value, list):
        return f"[{', '.join(_flat(item, depth + 1) for item in value)}]"
    return str(value)


def _number(value: Any) -> str:
    import pandas as pd

    return "" if pd.isna(value) else f"{value:.6g}" if isinstance(value, float) else str(value)


def _device(table: Any) -> str:
    device = table.conditions.get("device")
    return str(device.get("name", "")) if isinstance(device, dict) else str(table.conditions.get("source", ""))
