"""``netdyno export`` and ``netdyno verify``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netdyno.cli.console import Json, emit, print_table, say
from netdyno.cli.options import DEVICE, FOLDER, FORMATS, GENES, POINT, Input, argument, option
from netdyno.cli.profile import Fetch, Runner, device_options

if TYPE_CHECKING:
    from netdyno.nas.space import Population
    from netdyno.nas.supernets.subnet import Subnet
    from netdyno.runs import Run


BUNDLE = Input("BUNDLE", "bundle")
SOURCE = Input("SOURCE", "run or supernet")


def export(
    source: Annotated[Path, argument(SOURCE, "A run's folder (its front) or a supernet's folder.")],
    out: Annotated[Path, option(FOLDER, "Folder for the bundle.")],
    to: Annotated[Sequence[str], option(FORMATS, "Comma-separated: onnx, tflite.")] = ("onnx", "tflite"),
    point: Annotated[int | None, option(POINT, "Of a run: position on the front; default: the last.")] = None,
    genes: Annotated[str | None, option(GENES, "Of a supernet: option indices; default: the largest subnet.")] = None,
    backbone: Annotated[
        bool, typer.Option("--backbone", help="Without the head; outputs are the feature maps c2, c3, ….")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ship a searched subnet as a bundle: model files, card, golden input and output."""
    from netdyno.base.errors import InputError
    from netdyno.base.registry import require
    from netdyno.nas.space import parse_genes
    from netdyno.runs import DESCRIPTOR, load_run

    run = load_run(source) if (source / DESCRIPTOR).is_file() else None
    if (run is not None and genes) or (run is None and point is not None):
        raise InputError("--point chooses from a run's front, --genes from a supernet")
    facts: dict[str, dict[str, float]] = {}
    if run is not None:
        chosen, facts = _point(run, -1 if point is None else point)
    require("torch", extra="train", purpose="exporting a subnet")
    from netdyno.nas.accuracy.evaluated import EvaluatedAccuracy
    from netdyno.nas.data import load_data
    from netdyno.nas.supernets.store import load_supernet
    from netdyno.profiler.table import format_genes

    if run is not None:
        if (networks := run.resolve("networks")) is not None:
            network, data = _trained(networks / format_genes(chosen), facts)
            _write(network, data, out, to, facts, backbone, as_json)
            return
        supernet, descriptor = load_supernet(_supernet(run))
    else:
        supernet, descriptor = load_supernet(source)
        chosen = parse_genes(supernet.space, genes) if genes else supernet.space.largest()
    data = str(descriptor.get("data", "digits"))
    evaluated = EvaluatedAccuracy(supernet, load_data(data, "val"), load_data(data, "train"))
    facts["accuracy_pct"] = {"measured": float(evaluated(chosen)[0])}
    _write(evaluated.subnet(chosen), data, out, to, facts, backbone, as_json)


def _trained(folder: Path, facts: dict[str, dict[str, float]]) -> tuple[Subnet, str]:
    """A network that a search has trained, as it is, and the data that it was trained on."""
    from netdyno.nas.accuracy.evaluated import evaluate_network
    from netdyno.nas.data import load_data
    from netdyno.nas.supernets.store import load_network

    network, descriptor = load_network(folder)
    data = str(descriptor.get("data", "digits"))
    facts.pop("error_pct", None)  # it was no prediction
    facts["accuracy_pct"] = {"measured": evaluate_network(network, load_data(data, "val"))}
    return network, data


def _write(
    network: Subnet,
    data: str,
    out: Path,
    to: Sequence[str],
    facts: dict[str, dict[str, float]],
    backbone: bool,
    as_json: bool,
) -> None:
    from netdyno.nas.data import load_data
    from netdyno.nas.ship import ship

    bundle = ship(network, out, to, load_data(data, "test"), {"facts": facts}, backbone=backbone)
    say(f"{', '.join(artifact.format for artifact in bundle.artifacts())} -> {out}")
    if as_json:
        emit({"bundle": str(out), "files": {file.name: file.sha256 for file in bundle.card.files}})


def _point(run: Run, point: int) -> tuple[Population, dict[str, dict[str, float]]]:
    """Genes and predictions of a point of a run's front."""
    from netdyno.base.errors import InputError

    if not -len(run.front) <= point < len(run.front):
        raise InputError(f"{run.path}: the front has {len(run.front)} points, none at {point}")
    values = zip(run.front.objectives, run.front.F[point].tolist(), strict=True)
    return run.front.X[point], {name: {"predicted": value} for name, value in values}


def _supernet(run: Run) -> Path:
    from netdyno.base.errors import InputError

    folder = run.resolve("supernet")
    if folder is None:
        raise InputError(f"{run.path}: was searched without a supernet, so there are no weights to export")
    return folder


def verify(
    bundle: Annotated[Path, argument(BUNDLE, "A bundle's folder, or an ensemble's.")],
    device: Annotated[str, option(DEVICE, "Device to run it on.")] = "cpu",
    runner: Runner = None,
    fetch: Fetch = True,
    as_json: Json = False,
) -> None:
    """Run a bundle's golden input on a device and compare; exit code 1 if an output differs."""
    from dataclasses import asdict

    from netdyno.base.errors import VerificationError
    from netdyno.devices import open_device
    from netdyno.exporters.bundle import load_bundle, verify_bundle
    from netdyno.nas.adaptive.bundle import KIND as CASCADE
    from netdyno.nas.composite import load_composite
    from netdyno.nas.ensembles.bundle import KIND as ENSEMBLE

    kinds = [kind for kind in (ENSEMBLE, CASCADE) if (bundle / kind.descriptor).is_file()]
    members = load_composite(kinds[0], bundle).members if kinds else (load_bundle(bundle),)
    with open_device(device, **device_options(runner, fetch)) as opened:
        results = [result for member in members for result in verify_bundle(member, opened)]
    if as_json:
        emit({"bundle": str(bundle), "ok": all(r.ok for r in results), "results": [asdict(r) for r in results]})
    else:
        rows = [(r.format, r.runtime, f"{r.difference:.1e}", "ok" if r.ok else "DIFFERS") for r in results]
        print_table(("format", "runtime", "difference", ""), rows)
    wrong = [result.format for result in results if not result.ok]
    if wrong and as_json:
        raise typer.Exit(VerificationError.exit_code)
    if wrong:
        raise VerificationError(f"{bundle}: {', '.join(wrong)} differ from the golden output on {device}")
