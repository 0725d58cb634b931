"""One profiling run: candidates measured on a device into a journal, and what the journal says of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from netdyno.base.artifact import Artifact
from netdyno.base.deadline import within
from netdyno.base.errors import UnknownName
from netdyno.base.progress import Progress, silent
from netdyno.base.ranges import BATCH
from netdyno.devices.device import DEFAULT_SETTINGS, Device, Settings
from netdyno.profiler.energy import Window, energy_columns, require_meter
from netdyno.profiler.journal import Journal, Visit
from netdyno.profiler.measure import FAILED, Bench, Method
from netdyno.profiler.slowdown import levelled
from netdyno.profiler.statistics import estimate
from netdyno.profiler.table import JOURNAL

DEFAULT_METHOD = Method()
SLOW = 1.05
"""How many times as slow as usual a device may be until it is told of."""

Candidates = Mapping[str, Callable[[], Artifact]]


@dataclass(frozen=True)
class Readings:
    """Columns of a table's rows by candidate, the visits and windows behind them, and the conditions of all."""

    rows: dict[str, dict[str, Any]]
    visits: dict[str, list[Visit]]
    windows: dict[str, list[Window]]
    conditions: dict[str, Any]


@dataclass(frozen=True)
class Profiling:
    """On what, how and where candidates are measured.

    ``batch`` inputs make one inference. With ``out`` the journal is kept in that folder, and the same run again goes
    on from it unless it is ``fresh``.
    """

    device: Device
    settings: Settings = DEFAULT_SETTINGS
    method: Method = DEFAULT_METHOD
    out: Path | None = None
    fresh: bool = False
    batch: int = 1
    progress: Progress = field(default=silent)

    def __post_init__(self) -> None:
        BATCH.check(self.batch)

    def on_runtime(self) -> tuple[Profiling, str]:
        """The run with its runtime decided, what was asked for or the device's first, and the format that it runs.

        Raises:
            UnknownName: the device has no such runtime.
        """
        runtime, file_format = choose_runtime(self.device, self.settings)
        return replace(self, settings=replace(self.settings, runtime=runtime)), file_format

    def measure(self, candidates: Candidates, subject: str, ranks: Mapping[str, int] | None = None) -> Readings:
        """Measure candidates, which ``subject`` describes; see :class:`Bench` for their ``ranks``.

        Raises:
            InputError: ``out`` holds another run's journal, or a metric that the device does not have.
            MeasurementInvalid: its energy counter stands still.
            DeviceError: the device was lost.
        """
        self.device.prepare()
        if self.method.energy_windows:
            require_meter(self.device, self.settings)  # before minutes of other readings
        conditions = describe(self.device, self.settings, subject, self.batch)
        self.device.hold()  # nobody else may write the journal, or load the device, from here on
        path = None if self.out is None else self.out / JOURNAL
        with within(self.method.budget_s):
            before = dict(self.device.state())
            with Journal(path, conditions, fresh=self.fresh) as journal:
                Bench(self.device, self.settings, candidates, journal, self.method, self.progress, ranks).run()
                rows, used = _rows(journal, candidates, self.method.least_rounds)
                windows = journal.energies()
                flags = Counter(journal.flags().values())
            states = {
                "method": asdict(self.method),
                "measured": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
                "state_before": before,
                "state_after": dict(self.device.state()),
                "flagged_rounds": dict(sorted(flags.items())),
                "slowed_visits_pct": _slowed_pct(used),
            }
        return Readings(rows, used, windows, conditions | states)


def describe(device: Device, settings: Settings, subject: str, batch: int = 1) -> dict[str, Any]:
    """The conditions that make readings comparable: device, runtime, versions, threads, batch, precision."""
    info = device.info()
    return {
        "subject": subject,
        "device": {"id": info.id, "kind": info.kind, "name": info.name, **info.facts},
        "runtime": settings.runtime,
        "threads": settings.threads,
        "batch": batch,
        "precision": "fp32",
        **({"cores": settings.cores} if settings.cores else {}),
        **({"l2": "cold" if settings.cold_cache else "warm"} if info.kind == "cuda" or settings.cold_cache else {}),
        "versions": {**info.versions, "netdyno": version("netdyno")},
    }


def choose_runtime(device: Device, settings: Settings) -> tuple[str, str]:
    """The runtime to use and the format that it runs: what was asked for, else the device's first.

    Raises:
        UnknownName: the device has no such runtime.
    """
    runtime = settings.runtime or next(iter(device.formats))
    if runtime not in device.formats:
        raise UnknownName("runtime", runtime, device.formats)
    return runtime, device.formats[runtime]


def _rows(
    journal: Journal, names: Candidates, enough: int
) -> tuple[dict[str, dict[str, Any]], dict[str, list[Visit]]]:
    """Columns of each candidate, and the visits that its latency stands on."""
    visits, failures = journal.visits(), journal.failures()
    memories, energies = journal.memories(), journal.energies()
    trusted = {name: _trusted(visits[name], enough) for name in names if name in visits}
    used = levelled({name: own for name, (own, _) in trusted.items()})
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        failed = failures[name][-1] if name in failures else ""
        if name not in used:
            rows[name] = {"method": failed or f"{FAILED}not measured within the budget", "valid": 0}
            continue
        fault = trusted[name][1]
        columns = {"memory_bytes": memories.get(name), **energy_columns(energies.get(name, []))}
        method = f"flagged: {fault}" if fault else "measured" + (f", then {failed}" if failed else "")
        rows[name] = _latency(used[name]) | columns | {"method": method, "valid": int(not fault)}
    return rows, used


def _slowed_pct(visits: Mapping[str, Sequence[Visit]]) -> float:
    """Share of visits when the device was slower than usual by more than it should be."""
    slow = [visit.slowdown > SLOW for own in visits.values() for visit in own]
    return round(100 * sum(slow) / max(len(slow), 1), 1)


def _trusted(visits: list[Visit], enough: int) -> tuple[list[Visit], str]:
    """The visits that are not flagged; where those are few and the fewer, all, and what was wrong most often."""
    trusted = [visit for visit in visits if not visit.flag]
    if len(trusted) >= min(enough, len(visits) / 2):
        return trusted, ""
    return visits, Counter(visit.flag for visit in visits if visit.flag).most_common(1)[0][0]


def _latency(visits: Sequence[Visit]) -> dict[str, Any]:
    """What a candidate takes of a device that is as fast as usual."""
    figure = estimate([visit.latency_ms / visit.slowdown for visit in visits], [visit.start for visit in visits])
    return {
        "latency_ms": figure.median,
        "latency_ms_low": figure.low if figure.samples > 1 else None,  # one reading has no interval
        "latency_ms_high": figure.high if figure.samples > 1 else None,
        "samples": figure.samples,
        "starts": len({visit.start for visit in visits}),
    }
