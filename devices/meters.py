"""What energy is read from: counters, power that is sampled, and traces of either in time."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from netdyno.base.closing import Closing
from netdyno.base.errors import DeviceError, MeasurementInvalid, NetdynoError

POLL_S = 0.01
"""How often a trace reads: often against the 100 ms in which the counters of GPUs tick."""
LONGEST_GAP_S = 1.0
"""Power that was not sampled for longer than this is not known in between."""
_EDGE_S = 0.4
"""How far from the ends of a stretch its first and last tick may be: some ticks, and a thread that waits its turn."""


class Meter(ABC):
    """Cumulative energy; power is its difference over time.

    ``settle_s`` is how long after a change of load a reading may still hold some of what was before it: what the
    counter lags behind, or averages over. ``sampled`` readings are worth nothing where they were not taken often.
    ``note`` says what else is to be known.
    """

    name: str
    settle_s: float = 0.02
    sampled: bool = False
    note: str = ""

    @abstractmethod
    def read_mj(self) -> float:
        """Energy in mJ since an arbitrary moment, corrected for the counter's wrap.

        Raises:
            MeasurementInvalid: the counter stands still or went backwards.
            DeviceError: it cannot be read any more.
        """


class SampledPower(Meter):
    """Power that is read off and summed up over the time between readings, where there is no counter.

    It is as good as it is read often: within :class:`Trace`. ``read_w`` gives power now.

    Raises:
        MeasurementInvalid: it reads no power at all.
        DeviceError: it cannot be read.
    """

    sampled = True

    def __init__(
        self,
        name: str,
        read_w: Callable[[], float],
        *,
        settle_s: float,
        note: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.settle_s, self.note = name, settle_s, note
        self._read_w, self._clock = read_w, clock
        self._total_mj, self._last_w, self._last_s = 0.0, self._power_w(), clock()

    def read_mj(self) -> float:
        """Energy in mJ since this meter was made.

        Raises:
            MeasurementInvalid: it reads no power at all.
            DeviceError: it cannot be read any more.
        """
        now_w, now_s = self._power_w(), self._clock()
        elapsed_s = now_s - self._last_s
        if elapsed_s <= LONGEST_GAP_S:
            self._total_mj += 1e3 * (self._last_w + now_w) / 2 * elapsed_s
        self._last_w, self._last_s = now_w, now_s
        return self._total_mj

    def _power_w(self) -> float:
        now_w = self._read_w()
        if not 0 < now_w < math.inf:
            raise MeasurementInvalid(f"{self.name}: {now_w:g} W is no reading of a device that runs")
        return now_w


class Trace(Closing):
    """A meter's readings in time, taken by a thread of their own until :meth:`close`.

    A counter that ticks is read far more often than it ticks, so that the moment of each tick is known: between two
    ticks it is exact, however long it may lag.
    """

    def __init__(self, meter: Meter, period_s: float = POLL_S) -> None:
        self._meter = meter
        self._period_s = period_s
        self._ticks: list[tuple[float, float]] = []
        self._error: NetdynoError | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def power_w(self, began_s: float, ended_s: float) -> float:
        """Mean power between the first and the last tick within a stretch of ``time.monotonic()``.

        Raises:
            MeasurementInvalid: the counter stands still, or ticks too rarely for this stretch.
            DeviceError: the meter cannot be read any more.
        """
        if self._error is not None:
            raise self._error
        ticks = [tick for tick in list(self._ticks) if began_s <= tick[0] <= ended_s]
        if len(ticks) < 2 or ticks[0][0] - began_s > _EDGE_S or ended_s - ticks[-1][0] > _EDGE_S:
            text = f"{self._meter.name}: the energy counter stands still ({len(ticks)} ticks in"
            raise MeasurementInvalid(f"{text} {ended_s - began_s:.1f} s)")
        (first_s, first_mj), (last_s, last_mj) = ticks[0], ticks[-1]
        return (last_mj - first_mj) / 1e3 / (last_s - first_s)

    def close(self) -> None:
        """End the thread; a second call does nothing."""
        self._ended.set()
        self._thread.join()

    def _read(self) -> None:
        try:
            last_mj, last_s = self._meter.read_mj(), time.monotonic()
            while not self._ended.wait(self._period_s):
                before_s, now_mj, now_s = time.monotonic(), self._meter.read_mj(), time.monotonic()
                if now_mj < last_mj:
                    raise MeasurementInvalid(f"{self._meter.name}: the energy counter went backwards")
                if self._meter.sampled and now_s - last_s > LONGEST_GAP_S:
                    raise MeasurementInvalid(f"{self._meter.name}: was not read for {now_s - last_s:.1f} s")
                if now_mj > last_mj:
                    self._ticks.append(((before_s + now_s) / 2, now_mj))
                last_mj, last_s = now_mj, now_s
        except NetdynoError as error:
            self._error = error
        except Exception as error:  # told by power_w; in a thread it would only be printed
            self._error = DeviceError(f"{self._meter.name}: {type(error).__name__}: {error}")
