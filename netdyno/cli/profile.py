"""``netdyno profile``: a space into a table; see :mod:`netdyno.cli.models` for model files."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netdyno.base.ranges import Range
from netdyno.cli import feeding, models
from netdyno.cli.console import Json, emit, progress, say
from netdyno.cli.options import (
    ASSIGNMENT,
    BATCH_SIZE,
    BYTES,
    DEVICE,
    DIMENSION,
    DURATION,
    FOLDER,
    NAME,
    SHAPE,
    TEXT,
    Choice,
    Choices,
    Form,
    InputOr,
    argument,
    option,
    whole,
)
from netdyno.cli.resuming import how_to_go_on, resumable
from netdyno.cli.sustained import profile_sustained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netdyno import devices
    from netdyno.devices import Settings
    from netdyno.nas.space import Space
    from netdyno.profiler.measure import Method


def _metrics() -> Iterable[str]:
    from netdyno.profiler.measure import METRICS

    return METRICS


def _target(text: str) -> str:
    """A space, or a model file; what is there but no file or folder would be read for ever."""
    from netdyno.base.errors import InputError

    if os.path.exists(text) and not (os.path.isfile(text) or os.path.isdir(text)):
        raise InputError(f"{text}: neither a model file nor a space")
    return text


THREADS = Range("threads", 1, 1024)
RESOLUTION = whole(Range("a resolution", 1, 16_384))
METRICS = Choices("METRICS", Choice("METRIC", "metric", _metrics))
CORES = Form(
    "CORES", r"fastest|slowest|[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*", "fastest, slowest or 4-7"
)
RUNNER = InputOr("RUNNER", "benchmark_model", folder=False, file=True, word="builtin")
TARGET = Form("TARGET", r"(?s)(?=.*\S).+", "a space or a model file", _target)
Device = Annotated[str, option(DEVICE, "Device to measure on; see `netdyno devices`.")]
Runtime = Annotated[
    str | None, option(NAME, "onnxruntime, litert, torch or tensorrt; by default the device's own choice.")
]
Threads = Annotated[int, option(whole(THREADS), "Threads that the runtime may use.")]
Runner = Annotated[
    Path | None,
    option(RUNNER, "Of a phone: a benchmark_model of your own, or builtin; default: Google's, fetched once."),
]
Fetch = Annotated[bool, typer.Option("--fetch/--no-fetch", help="Of a phone: whether its runner may be fetched.")]
SUFFIXES = (".onnx", ".tflite")


def profile(
    targets: Annotated[
        list[str],
        argument(
            TARGET,
            "A space (`ofa-mobilenetv3`, `ofa-mobilenetv3:width=1.2,classes=10`), a model file, or several "
            "model files to compare with the first.",
            metavar="TARGET...",
        ),
    ],
    device: Device = "cpu",
    runtime: Runtime = None,
    threads: Threads = 1,
    cores: Annotated[str | None, option(CORES, "Of a phone: fastest, slowest, or numbers such as 4-7.")] = None,
    runner: Runner = None,
    fetch: Fetch = True,
    batch: Annotated[int, option(BATCH_SIZE, "Of a space: inputs that make one inference.")] = 1,
    cold_cache: Annotated[bool, typer.Option(help="On a GPU: empty its L2 cache before each inference.")] = False,
    metrics: Annotated[Sequence[str], option(METRICS, "Comma-separated: latency, memory, energy, power.")] = (
        "latency",
        "memory",
    ),
    resolution: Annotated[list[int] | None, option(RESOLUTION, "Of a space: only this one; repeatable.")] = None,
    input_shape: Annotated[
        list[str] | None, option(SHAPE, "Of a model with open shapes: NAME:1x3x224x224; repeatable.")
    ] = None,
    dim: Annotated[
        list[str] | None,
        option(DIMENSION, "Of a model with open shapes: SYMBOL=N; an open first dimension is 1; repeatable."),
    ] = None,
    input_: Annotated[
        list[str] | None,
        option(ASSIGNMENT, "Of a model: NAME=VALUE, NAME=LOW..HIGH or NAME=FILE.npy; repeatable.", "--input"),
    ] = None,
    signature: Annotated[str | None, option(TEXT, "Of a TFLite model: which of its signatures to run.")] = None,
    budget: Annotated[
        float | None, option(DURATION, "Stop after this long, e.g. 60s or 5min; default: when tight.")
    ] = None,
    memory_limit: Annotated[
        int | None,
        option(BYTES, "What a model may take of the machine's memory, e.g. 4GB; default: three quarters."),
    ] = None,
    sustained: Annotated[
        float | None,
        option(DURATION, "Of a model: work this long without a break, e.g. 10min, and tell how it slows down."),
    ] = None,
    operators: Annotated[bool, typer.Option(help="Of a model: each operator's time too.")] = True,
    networks: Annotated[
        bool, typer.Option(help="Of a space: calibrate on some whole networks, and state the error on others.")
    ] = True,
    out: Annotated[Path | None, option(FOLDER, "Folder for the result; a table's default: NAME here.")] = None,
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--fresh",
            help="Go on from the readings in the folder, the default, or discard them; a single model keeps none.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a space's layers into a lookup table, or a model operator by operator, or models against each other."""
    from dataclasses import replace

    from netdyno.base.clock import process_age_s
    from netdyno.base.errors import InputError
    from netdyno.base.files import require_writable
    from netdyno.devices import Settings
    from netdyno.profiler.energy import require_meter
    from netdyno.profiler.measure import Method, check_metrics
    from netdyno.profiler.profiling import choose_runtime
    from netdyno.profiler.table import JOURNAL

    # A budget is what the user waits for, this process's start included, and so what is imported for it.
    importlib.import_module("netdyno.profiler.model")
    seconds = max(round(budget - process_age_s(), 1), 0.1) if budget else None
    measured = check_metrics(metrics)
    method = Method(budget_s=seconds, memory="memory" in measured, energy_windows=2 * ("energy" in measured))
    settings = Settings(runtime or "", threads, cold_cache, cores or "", memory_limit or 0)
    connected = partial(_connected, device, settings, seconds, device_options(runner, fetch))
    choices = feeding.Choices(input_shape or (), dim or (), input_ or (), signature or "")
    if any(_is_model(target) for target in targets):
        for given, why in (
            (resolution, "--resolution is for spaces; give a model its --input-shape"),
            (batch != 1, "--batch is for spaces; give a model its --input-shape"),
            ("energy" in measured, "--metrics energy is for spaces"),
            (sustained and len(targets) > 1, "--sustained is for one model"),
            (
                resume is not None and (len(targets) == 1 or out is None),
                "--resume and --fresh are for spaces, and for several models with --out",
            ),
            (
                len(targets) == 1 and out is not None and (out / JOURNAL).exists(),
                f"{out}: holds the readings of a space or of several models; choose another --out",
            ),
        ):
            if given:
                raise InputError(why)
        if out is not None:
            require_writable(out)
        artifacts = models.read([Path(target) for target in targets], choices)
        with connected() as opened:
            if sustained:
                profile_sustained(artifacts[0], opened, settings, sustained, out, as_json)
            elif len(artifacts) == 1:
                models.profile_one(artifacts[0], opened, settings, method, out, operators, as_json)
            else:
                models.compare(artifacts, opened, settings, method, out, resume is False, as_json)
        return
    if len(targets) > 1:
        raise InputError("one space at a time; several targets are models to compare")
    if sustained:
        raise InputError("--sustained is for models")
    if choices:
        raise InputError(
            "--input-shape, --dim, --input and --signature are for models; choose a space's --resolution"
        )
    space = _space(targets[0], resolution or [])
    with connected() as opened:
        if method.energy_windows:
            require_meter(opened, replace(settings, runtime=choose_runtime(opened, settings)[0]))
        _profile_space(space, opened, settings, batch, method, networks, out, resume is False, as_json)


@contextmanager
def _connected(
    identifier: str, settings: Settings, budget_s: float | None, options: dict[str, Any]
) -> Iterator[devices.Device]:
    """A device that has what the settings ask for; one that does not answer is given up within the budget."""
    from netdyno.base.deadline import within
    from netdyno.devices import open_device

    with within(budget_s):
        device = open_device(identifier, **options)
    with device:
        with within(budget_s):
            device.check(settings)
        yield device


def device_options(runner: Path | None, fetch: bool) -> dict[str, Any]:
    """What of a device's options the user has chosen."""
    return ({"runner": str(runner)} if runner else {}) | ({} if fetch else {"fetch": False})


def _is_model(target: str) -> bool:
    return target.lower().endswith(SUFFIXES) or Path(target).is_file()


def _space(target: str, resolutions: list[int]) -> Space:
    from netdyno.base.errors import InputError
    from netdyno.nas.space import SPACES, make_space, parse_space

    if "/" in target.partition(":")[0]:
        raise InputError(f"{target}: neither a model file (.onnx, .tflite) nor a space ({', '.join(SPACES.names())})")
    space = parse_space(target)
    if not resolutions:
        return space
    known = space.parameters.get("resolutions", [])
    outside = [size for size in resolutions if size not in known]
    if outside:
        raise InputError(f"resolution {outside[0]} is outside {space.name}: {', '.join(map(str, known))}")
    return make_space(space.name, **{**space.parameters, "resolutions": sorted(set(resolutions))})


def _profile_space(
    space: Space,
    device: Any,
    settings: Settings,
    batch: int,
    method: Method,
    networks: bool,
    out: Path | None,
    fresh: bool,
    as_json: bool,
) -> None:
    from netdyno.base.errors import DeviceError, MeasurementInvalid
    from netdyno.base.files import require_writable
    from netdyno.nas.space import format_space
    from netdyno.profiler.plan import NO_NETWORKS, Networks
    from netdyno.profiler.profile import profile_space
    from netdyno.profiler.profiling import Profiling, choose_runtime
    from netdyno.profiler.table import JOURNAL

    runtime, _ = choose_runtime(device, settings)
    where = re.sub(r"[^\w.-]", "-", device.id)
    apart = f"t{settings.threads}" + (f"-b{batch}" if batch != 1 else "") + ("-cold" if settings.cold_cache else "")
    apart += f"-{settings.cores}" if settings.cores else ""
    folder = require_writable(out or Path(f"{space.name}-{where}-{runtime}-{apart}"))
    try:
        with resumable(fresh=fresh), progress() as tell:
            run = Profiling(device, settings, method, folder, fresh, batch, tell)
            measured = Networks() if networks else NO_NETWORKS
            table = profile_space(space, run, subject=format_space(space), networks=measured)
    except DeviceError:
        if (folder / JOURNAL).exists():
            say(f"what was measured is kept in {folder}; {how_to_go_on(fresh)}")
        raise
    from netdyno.report.validation import error_lines

    invalid = table.layers[table.layers["valid"] == 0]
    say(f"{len(table.layers) - len(invalid)} layers of {format_space(space)} on {device.info().name} -> {folder}")
    for line in error_lines(table.conditions):
        say(line)
    unmeasured = int((table.networks["valid"] == 0).sum())
    if unmeasured:
        effect = "" if "calibration" in table.conditions else ", too few are left to calibrate on"
        say(f"{unmeasured} of {len(table.networks)} networks have no valid row{effect}; the same command goes on")
    if method.energy_windows and table.layers["energy_mj"].isna().any():
        say(f"{int(table.layers['energy_mj'].isna().sum())} layers have no energy above idle, or no time was left")
    if as_json:
        emit({"table": str(folder), "layers": len(table.layers), "invalid": len(invalid), **table.conditions})
    if len(invalid) and as_json:
        raise typer.Exit(MeasurementInvalid.exit_code)
    if len(invalid):
        worst = f"{invalid.index[0]}: {invalid['method'].iloc[0]}"
        raise MeasurementInvalid(f"{len(invalid)} of {len(table.layers)} layers have no valid row, {worst}")
