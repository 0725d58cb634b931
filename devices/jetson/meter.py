"""Power of a board as ``tegrastats`` prints it, where the kernel's own files do not tell it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from netdyno.base.errors import DeviceError, MeasurementInvalid
from netdyno.devices.agents import understood
from netdyno.devices.jetson.tegrastats import parse_tegrastats
from netdyno.devices.meters import LONGEST_GAP_S
from netdyno.devices.wire import Frame
from netdyno.devices.worker import Worker
from netdyno.devices.workers import WorkerMeter

_LOGGER = logging.getLogger("netdyno")
INTERVAL_MS = 50
_ASK_S = 60.0
_FIRST_LINE_S = 3.0
_LAST_NS = 1 << 63


class TegrastatsMeter(WorkerMeter):
    """The board's total, summed up over time; the agent ``worker`` runs the program and knows when it spoke.

    Raises:
        DeviceError: there is none, or it does not print what it should.
        MeasurementInvalid: the rails that it prints make up no total.
    """

    name = "tegrastats"
    settle_s = 0.5
    note = f"sampled power, each {INTERVAL_MS} ms or as often as this board can"

    def __init__(self, worker: Worker, target: str) -> None:
        super().__init__(worker)
        self._target = target
        self._total_mj, self._last_ns, self._last_mw = 0.0, 0, 0.0
        self._unknown: tuple[str, ...] = ()
        self._ask({"do": "tegrastats", "interval_ms": INTERVAL_MS})

    def read_mj(self) -> float:
        """Energy in mJ since its first line.

        Raises:
            MeasurementInvalid: no total, or no line for a second.
            DeviceError: it ended, or printed something else.
        """
        said = self._ask({"do": "lines"})
        with understood(self._target):
            lines = [(int(at_ns), str(text)) for at_ns, text in said["lines"]]
            if not all(0 <= at_ns < _LAST_NS for at_ns, _ in lines):
                raise ValueError("no time of a clock")
        for at_ns, text in lines:
            line = parse_tegrastats(text)
            self._tell_unknown(line.unknown)
            self._add(at_ns, line.total_mw)
        return self._total_mj

    def wait(self) -> None:
        """Until its first line, which tells a total.

        Raises:
            MeasurementInvalid: there is no total, or no line.
            DeviceError: it ended, or printed something else.
        """
        deadline = time.monotonic() + _FIRST_LINE_S
        while not self._last_ns:
            self.read_mj()
            if time.monotonic() > deadline:
                raise MeasurementInvalid(f"{self.name}: prints nothing")
            time.sleep(INTERVAL_MS / 1e3)

    def _tell_unknown(self, unknown: tuple[str, ...]) -> None:
        """Say once what was skipped; it is on every line."""
        if unknown and not self._unknown:
            self._unknown = unknown
            skipped = f"skipped on its lines, as not known here: {', '.join(unknown)}"
            self.note = f"{self.note}; {skipped}"
            _LOGGER.warning("%s: %s: %s", self._target, self.name, skipped)

    def _add(self, at_ns: int, power_mw: float | None) -> None:
        if not power_mw or power_mw <= 0:
            raise MeasurementInvalid(f"{self.name}: its rails make up no total of a board that runs")
        elapsed_s = (at_ns - self._last_ns) / 1e9
        if self._last_ns and not 0 <= elapsed_s <= LONGEST_GAP_S:
            self._last_ns = at_ns
            raise MeasurementInvalid(f"{self.name}: no line for {elapsed_s:.1f} s")
        if self._last_ns:
            self._total_mj += (self._last_mw + power_mw) / 2 * elapsed_s
        self._last_ns, self._last_mw = at_ns, power_mw

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        said = self.worker.ask(Frame(dict(message)), timeout_s=_ASK_S).message
        if "failed" in said:
            raise DeviceError(f"{self._target}: {said['failed']}")
        return said


def tegrastats_meter(worker: Worker, target: str) -> tuple[TegrastatsMeter | None, str]:
    """The meter, where the machine has the program and it prints a total; else why not, and the worker is ended."""
    try:
        meter = TegrastatsMeter(worker, target)
        meter.wait()
    except (DeviceError, MeasurementInvalid) as error:
        worker.end()
        return None, str(error)
    return meter, ""
