"""``netdyno export`` and ``netdyno verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netdyno.cli.console import Json, emit, print_table, say


def export(
    source: Annotated[Path, typer.Argument(help="A run's folder (its front) or a supernet's folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the bundle.")],
    to: Annotated[str, typer.Option(help="Comma-separated: onnx, tflite.")] = "onnx,tflite",
    point: Annotated[int, typer.Option(help="Of a run: position on the front, 0 the first, -1 the last.")] = -1,
    genes: Annotated[str, typer.Option(help="Of a supernet: option indices with spaces between.")] = "",
    as_json: Json = False,
) -> None:
    """Ship a searched subnet as a bundle: model files, card, golden input and output."""
    from netdyno.base.errors import InputError
    from netdyno.base.registry import require
    from netdyno.nas.space import parse_genes
    from netdyno.runs import load_run

    folder = source
    if (source / "run.json").is_file():
        run = load_run(source)
        trained = run.resolve("supernet")
        if trained is None:
            raise InputError(f"{source}: was searched without a supernet, so there are no weights to export")
        folder = trained
        if not -len(run.front) <= point < len(run.front):
            raise InputError(f"{source}: the front has {len(run.front)} points, none at {point}")
        chosen = run.front.X[point]
    require("torch", extra="train", purpose="exporting a subnet")
    from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
    from netdyno.nas.data import load_data
    from netdyno.nas.ship import ship
    from netdyno.nas.supernets.store import load_supernet

    supernet, descriptor = load_supernet(folder)
    if folder == source:
        chosen = parse_genes(supernet.space, genes) if genes else supernet.space.largest()
    data = str(descriptor.get("data", "digits"))
    evaluated = EvaluatedAccuracy(supernet, load_data(data, "val"), load_data(data, "train"))
    facts = {"facts": {"accuracy_pct": {"measured": float(evaluated(chosen[None])[0])}}}
    bundle = ship(
        evaluated.subnet(chosen), out, [name.strip() for name in to.split(",")], load_data(data, "test"), facts
    )
    say(f"{', '.join(artifact.format for artifact in bundle.artifacts())} -> {out}")
    if as_json:
        emit({"bundle": str(out), "files": {file.name: file.sha256 for file in bundle.card.files}})


def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    device: Annotated[str, typer.Option(help="Device to run it on.")] = "cpu",
    as_json: Json = False,
) -> None:
    """Run a bundle's golden input on a device and compare; exit code 1 if an output differs."""
    from dataclasses import asdict

    from netdyno.base.errors import VerificationError
    from netdyno.devices import open_device
    from netdyno.exporters.bundle import load_bundle, verify_bundle

    loaded = load_bundle(bundle)
    with open_device(device) as opened:
        results = verify_bundle(loaded, opened)
    if as_json:
        emit({"bundle": str(bundle), "ok": all(r.ok for r in results), "results": [asdict(r) for r in results]})
    else:
        rows = [(r.format, r.runtime, f"{r.difference:.1e}", "ok" if r.ok else "DIFFERS") for r in results]
        print_table(("format", "runtime", "difference", ""), rows)
    wrong = [result.format for result in results if not result.ok]
    if wrong:
        raise VerificationError(f"{bundle}: {', '.join(wrong)} differ from the golden output on {device}")
