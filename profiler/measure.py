"""The measuring loop: candidates in shuffled rounds, until each figure is tight or the budget is spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from netdyno.base.artifact import Artifact
from netdyno.base.errors import DeviceError, InputError, ModelError, UnknownName, WorkerLost
from netdyno.base.progress import Progress, silent
from netdyno.devices.device import Device, Session, Settings
from netdyno.profiler.journal import Journal
from netdyno.profiler.statistics import relative_spread

NANOSECONDS = 1e9
TINY_NS = 20_000
"""What runs this fast three times over has nothing left to warm up."""


@dataclass(frozen=True)
class Method:
    """How readings are taken.

    Each visit runs a candidate for about ``visit_s``, between 3 and ``most_repeats`` times. A candidate is done
    when the interval of its median is within ``spread`` of it and it has ``least_rounds``, at the latest after
    ``most_rounds`` or when ``budget_s`` is spent; a candidate that failed ``most_failures`` times is given up.
    """

    budget_s: float | None = None
    visit_s: float = 0.004
    warm_up_s: float = 0.01
    least_rounds: int = 6
    most_rounds: int = 30
    most_repeats: int = 50
    spread: float = 0.01
    most_failures: int = 2
    memory: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.budget_s is not None and self.budget_s <= 0:
            raise InputError(f"the budget must be positive, not {self.budget_s:g} s")


METRICS = ("latency", "memory")


def check_metrics(metrics: Iterable[str]) -> frozenset[str]:
    """The metrics to measure; latency always is.

    Raises:
        UnknownName: a metric that is not measured here.
    """
    chosen = frozenset({"latency", *metrics})
    for metric in sorted(chosen.difference(METRICS)):
        raise UnknownName("metric", metric, METRICS)
    return chosen


class Bench:
    """Measures named candidates on a device into a journal.

    ``candidates`` maps names to functions that write the artifact; they are called when its session is opened.
    """

    def __init__(
        self,
        device: Device,
        settings: Settings,
        candidates: Mapping[str, Callable[[], Artifact]],
        journal: Journal,
        method: Method,
        progress: Progress = silent,
    ) -> None:
        self._device = device
        self._settings = settings
        self._candidates = candidates
        self._journal = journal
        self._method = method
        self._progress = progress
        self._sessions: dict[str, Session] = {}
        self._repeats: dict[str, int] = {}
        self._deadline = time.monotonic() + (method.budget_s or float("inf"))
        self._weighed = set(journal.memories())
        self._failures: dict[str, int] = {}
        self._medians = {
            name: [float(np.median(visit)) for visit in visits] for name, visits in journal.visits().items()
        }

    def run(self) -> None:
        """Measure until done; what is in the journal already counts.

        Raises:
            DeviceError: the device was lost, or every candidate failed.
        """
        try:
            self._measure()
        finally:
            self._close()

    def _measure(self) -> None:
        generator = np.random.default_rng([self._method.seed, self._journal.start])
        rounds = 1 + max((len(medians) for medians in self._medians.values()), default=0)
        least = self._method.least_rounds * len(self._candidates)
        while pending := [name for name in self._candidates if not self._done(name)]:
            for position, name in enumerate(generator.permutation(pending).tolist()):
                if self._done(name):
                    continue
                with self._survive(name):
                    self._visit(name, rounds)
                taken = (rounds - 1) * len(self._candidates) + position + 1
                self._progress(
                    "measure", min(taken, least - 1), least, f"round {rounds}, {len(pending)} not yet tight"
                )
            rounds += 1
        self._progress("measure", least, least)

    def _visit(self, name: str, round: int) -> None:
        session = self._session(name)
        if name not in self._repeats:
            if self._method.memory and name not in self._weighed:
                self._journal.memory(name, session.peak_memory_bytes())
                self._weighed.add(name)
            self._repeats[name] = self._warm_up(session)
        latency_ns = session.run(repeat=self._repeats[name]).latency_ns
        self._journal.visit(name, round, latency_ns)
        self._medians.setdefault(name, []).append(float(np.median(latency_ns)) / 1e6)

    def _warm_up(self, session: Session) -> int:
        """Run until the warm-up time is over; returns how often the candidate fits into a visit."""
        spent = 0.0
        while True:
            latency_ns = session.run(repeat=3).latency_ns
            spent += float(latency_ns.sum()) / NANOSECONDS
            if spent >= self._method.warm_up_s or float(latency_ns.max()) < TINY_NS:
                one = max(float(np.median(latency_ns)) / NANOSECONDS, 1e-9)
                return int(np.clip(self._method.visit_s / one, 3, self._method.most_repeats))

    def _session(self, name: str) -> Session:
        if name not in self._sessions:
            self._sessions[name] = self._device.open(self._candidates[name](), self._settings)
        return self._sessions[name]

    def _done(self, name: str) -> bool:
        medians = self._medians.get(name, [])
        if self._failures.get(name, 0) >= self._method.most_failures:
            return True
        # Everything is visited once, even beyond the budget: a table without a row is no table.
        if medians and self._spent():
            return True
        if self._method.memory and name not in self._weighed:
            return False
        tight = len(medians) >= self._method.least_rounds and relative_spread(medians) <= self._method.spread
        return tight or len(medians) >= self._method.most_rounds

    def _spent(self) -> bool:
        return time.monotonic() > self._deadline

    @contextmanager
    def _survive(self, name: str) -> Iterator[None]:
        """Note it when a candidate kills its worker or is refused, and go on with the others.

        A refusal is final. A dead worker may have taken every session along, so all are opened anew when needed.
        """
        try:
            yield
        except (WorkerLost, ModelError) as error:
            self._journal.failure(name, str(error))
            self._failures[name] = self._failures.get(name, 0) + 1
            if isinstance(error, ModelError):
                self._failures[name] = self._method.most_failures
            self._close()
            self._journal.start += 1
            if all(self._failures.get(each, 0) >= self._method.most_failures for each in self._candidates):
                message = f"every candidate failed; the last one: {error}"
                raise DeviceError(message, device=self._device.id) from error

    def _close(self) -> None:
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        self._repeats.clear()
