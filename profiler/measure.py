"""The measuring loop: candidates in shuffled rounds, until each figure is tight or the budget is spent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact
from netdyno.base.deadline import GRACE_S, within
from netdyno.base.errors import DeviceError, InputError, ModelError, UnknownName, WorkerLost
from netdyno.base.progress import Progress, silent
from netdyno.devices.device import Device, Session, Settings
from netdyno.devices.meters import Meter
from netdyno.devices.worker import Hung
from netdyno.profiler.energy import Window, measure_window, require_meter
from netdyno.profiler.journal import Journal
from netdyno.profiler.statistics import relative_spread

NANOSECONDS = 1e9
TINY_NS = 20_000
"""What runs this fast three times over has nothing left to warm up."""
FLAGGED_ALLOWANCE = 2
"""How often as many rounds as are needed are tried before a device that is never itself is believed."""
WINDOW_VISIT_S = 0.1
"""How long a call runs within a window of energy: long against what the call itself takes."""
MOST_IN_A_CALL = 100_000
TOGETHER_S = 1.0
"""For how long candidates are visited together: between two such stretches the clock is looked at."""
WRAP_UP_S = 0.004
"""What a row takes after it was measured."""


@dataclass(frozen=True)
class Method:
    """How readings are taken.

    Each visit runs a candidate for about ``visit_s``, between 3 and ``most_repeats`` times. ``least_rounds`` are
    spread over ``starts`` of the runtime's process. A candidate is done when it has them and the interval of its
    median is within ``spread`` of it, at the latest after ``most_rounds`` or when ``budget_s`` is spent; one that
    failed ``most_failures`` times is given up.
    """

    budget_s: float | None = None
    visit_s: float = 0.004
    warm_up_s: float = 0.01
    starts: int = 3
    least_rounds: int = 9
    most_rounds: int = 30
    most_repeats: int = 50
    spread: float = 0.01
    most_failures: int = 2
    memory: bool = True
    energy_windows: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.budget_s is not None and self.budget_s <= 0:
            raise InputError(f"the budget must be positive, not {self.budget_s:g} s")


FAILED, LOST = "failed: ", "lost: "
"""Beginnings of failures: the runtime refuses the candidate, or the process that ran it is gone."""
METRICS = ("latency", "memory", "energy", "power")


def check_metrics(metrics: Iterable[str]) -> frozenset[str]:
    """The metrics to measure; latency always is, and power is energy over time.

    Raises:
        UnknownName: a metric that is not measured here.
    """
    chosen = frozenset({"latency", *metrics})
    for metric in sorted(chosen.difference(METRICS)):
        raise UnknownName("metric", metric, METRICS)
    return chosen | ({"energy"} if "power" in chosen else set())


class Bench:
    """Measures named candidates on a device into a journal.

    ``candidates`` maps names to functions that write the artifact; they are called when its session is opened. Until
    all have latency and memory, those of lower ``ranks`` come first: a small budget goes where it counts.
    """

    def __init__(
        self,
        device: Device,
        settings: Settings,
        candidates: Mapping[str, Callable[[], Artifact]],
        journal: Journal,
        method: Method,
        progress: Progress = silent,
        ranks: Mapping[str, int] | None = None,
    ) -> None:
        self._device = device
        self._settings = settings
        self._candidates = candidates
        self._journal = journal
        self._method = method
        self._progress = progress
        self._sessions: dict[str, Session] = {}
        self._together = device.together
        self._state: Mapping[str, str | int | float] = {}
        self._opening_s = 0.0
        self._repeats: dict[str, int] = {}
        self._turns_s: dict[str, float] = {}
        self._visited: set[tuple[str, int]] = set()
        self._ranks = ranks or {}
        self._end = time.monotonic() + _time_to_measure(method.budget_s, len(candidates))
        self._deadline = self._end
        if method.energy_windows:  # half of a budget is for windows of energy
            self._deadline = (time.monotonic() + self._end) / 2
        self._weighed = set(journal.memories())
        self._failures: dict[str, int] = {}
        visits = journal.visits()
        self._medians = {
            name: {(v.start, v.round): float(np.median(v.latency_ms)) for v in own if not v.flag}
            for name, own in visits.items()
        }
        self._round = max((visit.round for own in visits.values() for visit in own), default=0)
        self._taken: Counter[str] = Counter()
        self._unseen = {name for name in candidates if not self._medians.get(name)}

    def run(self) -> None:
        """Measure until done; what is in the journal already counts.

        Raises:
            DeviceError: the device was lost, or every candidate failed.
        """
        try:
            for start in range(1, self._method.starts + 1):
                self._renew()
                self._rounds(start)
            self._energies()
        finally:
            self._close()
        self._progress("measure", 1, 1)

    def _renew(self) -> None:
        """Go on in a new process of the runtime, unless loading everything anew would outlast the budget."""
        if self._sessions and time.monotonic() + self._opening_s < self._deadline:
            self._restart()

    def _restart(self) -> None:
        self._device.restart()
        self._close()
        self._journal.start += 1
        self._opening_s = 0.0

    def _rounds(self, start: int) -> None:
        """Rounds until every candidate has this start's share of them."""
        generator = np.random.default_rng([self._method.seed, self._journal.start])
        now, starts_left = time.monotonic(), self._method.starts - start + 1
        rounds = -(-self._method.least_rounds * start // self._method.starts)
        share = Share(rounds, starts_left == 1, now + (self._deadline - now) / starts_left)
        while pending := [name for name in self._candidates if not self._done(name, share)]:
            # Where the budget ended amid a round, the next one begins with those that it left out.
            order = sorted(generator.permutation(pending).tolist(), key=self._turn)
            self._round += 1
            with self._flagged():
                self._turns(order, share, f"start {start} of {self._method.starts}, round {self._round}")

    def _turns(self, order: list[str], share: Share, note: str) -> None:
        """Visit candidates in this order; as many together as the device takes at once, in a second or so."""
        together: list[str] = []
        for name in order:
            if self._done(name, share):
                continue
            if not self._ready(name):
                self._visit(together)
                with self._survive(name):
                    self._device.start(self._settings)  # which is not the candidate's fault
                    with self._patient(name):
                        self._make_ready(name)
            together += [name] if self._ready(name) else []
            if len(together) >= self._together or sum(self._turns_s[each] for each in together) >= TOGETHER_S:
                self._visit(together)
            self._tell(note)
        self._visit(together)

    @contextmanager
    def _flagged(self) -> Iterator[None]:
        """Flag what was visited in a round, in whichever process start, if the device was not itself meanwhile."""
        before, self._visited = self._state or self._device.state(), set()
        lost = False
        try:
            yield
        except DeviceError:
            lost = True  # so that there is nobody to ask
            raise
        finally:
            self._state = before if lost else self._device.state()  # and so it stands when the next round begins
            faults = self._device.faults(before, self._state)
            for start in {start for _, start in self._visited} if faults else ():
                self._journal.flag(start, self._round, "; ".join(faults))
            for name, start in self._visited if faults else ():
                del self._medians[name][start, self._round]

    def _energies(self) -> None:
        """Windows of energy, again in shuffled rounds, until each candidate has its number of them."""
        if not self._method.energy_windows:
            return
        meter = require_meter(self._device, self._settings)
        generator = np.random.default_rng([self._method.seed, self._journal.start])
        windows = self._journal.energies()
        trusted = Counter({name: sum(not window.flag for window in own) for name, own in windows.items()})
        wanted, total = self._method.energy_windows, self._method.energy_windows * len(self._candidates)
        # Windows that are flagged are made up for, but not forever.
        for number in range(1, FLAGGED_ALLOWANCE * wanted + 1):
            for name in generator.permutation(list(self._candidates)).tolist():
                if trusted[name] >= min(number, wanted) or self._given_up(name) or not self._medians.get(name):
                    continue
                if time.monotonic() > self._end:
                    return
                with self._survive(name):
                    window = self._window(name, meter, generator.random())
                    self._journal.energy(name, window)
                    trusted[name] += not window.flag
                self._progress("energy", min(trusted.total(), total - 1), total, f"window {number}")
        self._progress("energy", 1, 1)

    def _window(self, name: str, meter: Meter, phase: float) -> Window:
        """One window of energy, in calls that are long against what calling takes."""
        median_ms = float(np.median(list(self._medians[name].values())))
        repeat = int(np.clip(1e3 * WINDOW_VISIT_S / max(median_ms, 1e-9), 1, MOST_IN_A_CALL))
        return measure_window(self._device, self._session(name), meter, repeat, phase)

    def _given_up(self, name: str) -> bool:
        return self._failures.get(name, 0) >= self._method.most_failures

    def _tell(self, note: str) -> None:
        least = self._method.least_rounds
        taken = sum(min(self._visits(name), least) for name in self._candidates)
        total = least * len(self._candidates)
        self._progress("measure", min(taken, total - 1), total, note)

    def _turn(self, name: str) -> tuple[int, int]:
        ranked = name in self._unseen or (self._method.memory and name not in self._weighed)
        return self._visits(name), self._ranks.get(name, 0) if ranked else 0

    def _visits(self, name: str) -> int:
        return len(self._medians.get(name, ()))

    def _ready(self, name: str) -> bool:
        """Whether nothing but its turn is left to do, such as weighing it."""
        return name in self._repeats and not self._to_weigh(name)

    def _to_weigh(self, name: str) -> bool:
        # What a small budget leaves out is memory, not a layer's latency.
        return self._method.memory and name not in self._weighed and not self._unseen

    def _make_ready(self, name: str) -> None:
        session = self._session(name)
        if self._to_weigh(name):
            self._journal.memory(name, session.peak_memory_bytes())
            self._weighed.add(name)
        if name not in self._repeats:
            self._repeats[name], self._turns_s[name] = self._warm_up(session)

    def _visit(self, names: list[str]) -> None:
        """Visit candidates that are ready, and empty their list."""
        timed = self._timed(names)
        for name in names:
            with self._survive(name, alone=len(names) == 1), self._patient(name):
                self._keep(name, next(timed))
            if name not in self._repeats:
                break  # their process is gone, and with it the others' sessions
        names.clear()

    def _patient(self, name: str) -> AbstractContextManager[None]:
        """A candidate that hangs leaves the others half of the time that is left."""
        left_s = self._end - time.monotonic()
        return within(max(left_s / 2, 2 * self._turns_s.get(name, 0.0)))

    def _timed(self, names: list[str]) -> Iterator[NDArray[np.int64]]:
        """Their latencies; whatever a device raises, it is when the first of them is asked for."""
        yield from self._device.time_all([(self._sessions[name], self._repeats[name]) for name in names])

    def _keep(self, name: str, latency_ns: NDArray[np.int64]) -> None:
        if self._sessions[name].averaged:  # what is told of all of them is one reading
            latency_ns = latency_ns[:1]
        if not latency_ns.any():
            raise ModelError(f"{name}: takes no time that the clock of {self._device.id} can tell", layer=name)
        self._journal.visit(name, self._round, latency_ns)
        self._medians.setdefault(name, {})[self._journal.start, self._round] = float(np.median(latency_ns)) / 1e6
        self._visited.add((name, self._journal.start))
        self._taken[name] += 1
        self._unseen.discard(name)

    def _warm_up(self, session: Session) -> tuple[int, float]:
        """Run until the warm-up time is over; returns how often the candidate fits into a visit, and its seconds."""
        left, repeat = self._method.warm_up_s, 3
        while True:
            latency_ns = session.time(repeat)
            left -= float(latency_ns.sum()) / NANOSECONDS
            one = max(float(np.median(latency_ns)) / NANOSECONDS, 1e-9)
            if left <= 0 or float(latency_ns.max()) < TINY_NS:
                turn = int(np.clip(self._method.visit_s / one, 3, self._method.most_repeats))
                return turn, turn * one
            # Few calls: what calling takes warms nothing up.
            repeat = int(np.clip(left / one, 3, MOST_IN_A_CALL))

    def _session(self, name: str) -> Session:
        if name not in self._sessions:
            began = time.monotonic()
            self._sessions[name] = self._device.open(self._candidates[name](), self._settings)
            self._opening_s += time.monotonic() - began
        return self._sessions[name]

    def _done(self, name: str, share: Share) -> bool:
        now, visits = time.monotonic(), self._visits(name)
        if self._given_up(name) or now > self._deadline:
            return True
        if visits and self._turns_s.get(name, 0.0) > max(self._end - now, GRACE_S):
            return True  # it would be taken for one that hangs
        # A new process before everything was visited once would only load everything once more.
        if now > share.end and not self._unseen:
            return True
        if self._method.memory and name not in self._weighed:
            return False
        # Rounds that are flagged are made up for, but not forever.
        if visits < share.rounds and self._taken[name] < FLAGGED_ALLOWANCE * share.rounds:
            return False
        medians = list(self._medians.get(name, {}).values())
        tight = relative_spread(medians) <= self._method.spread
        return not share.last or tight or max(visits, self._taken[name]) >= self._method.most_rounds

    @contextmanager
    def _survive(self, name: str, *, alone: bool = True) -> Iterator[None]:
        """Note it when a candidate kills its worker or is refused, and go on with the others.

        A refusal is final, and so is a hang. A dead worker may have taken every session along, so all are opened
        anew when needed. If it was not ``alone``, nobody knows which: from then on they are visited one by one.
        """
        try:
            yield
        except (WorkerLost, ModelError) as error:
            if isinstance(error, WorkerLost) and not alone:
                self._together = 1
                self._restart()
                return
            self._journal.failure(name, f"{LOST if isinstance(error, WorkerLost) else FAILED}{error}")
            self._failures[name] = self._failures.get(name, 0) + 1
            if isinstance(error, ModelError | Hung):  # which takes as long each time
                self._failures[name] = self._method.most_failures
            if self._given_up(name):
                self._unseen.discard(name)
            self._restart()
            if all(self._given_up(each) for each in self._candidates):
                if isinstance(error, ModelError) and len(self._candidates) == 1:
                    raise
                kind = ModelError if isinstance(error, ModelError) else DeviceError
                raise kind(f"every candidate failed; the last one: {error}", device=self._device.id) from error

    def _close(self) -> None:
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        self._repeats.clear()


def _time_to_measure(budget_s: float | None, candidates: int) -> float:
    """Of a budget what is left when the rows' intervals are computed too, seconds."""
    if budget_s is None:
        return float("inf")
    return budget_s - min(WRAP_UP_S * candidates, budget_s / 10)


@dataclass(frozen=True)
class Share:
    """What one process start contributes: visits that a candidate has by its end, and when it ends at the latest.

    ``last``: candidates that are not tight yet go on beyond their ``rounds``.
    """

    rounds: int
    last: bool
    end: float
