"""Energy of a board or a GPU, as one sum that grows."""

import threading
import time
from typing import Any, Dict, List

from netdyno.devices.agent.models import clock_ns

_LONGEST_GAP_S = 1.0
_LONGEST_TEXT = 300


class MeasurementInvalid(Exception):
    """What was read is no reading; told apart from what cannot be read."""


def _trouble(error: Exception) -> Dict[str, Any]:
    """The answer for a meter that failed; errors of the modules that are sent for GPUs go by the same name."""
    invalid = type(error).__name__ == MeasurementInvalid.__name__
    return {"invalid" if invalid else "failed": str(error)[:_LONGEST_TEXT]}


class Counter:
    """A counter of the hardware's own, which may be read now and then."""

    def __init__(self, read_mj: Any) -> None:
        self._read_mj = read_mj

    def told(self) -> Dict[str, Any]:
        """The sum by now."""
        try:
            return {"mj": self._read_mj()}
        except Exception as error:
            return _trouble(error)


class Often:
    """Something that has to be read every ``period_s``, in a thread of its own."""

    def __init__(self, read_mj: Any, period_s: float) -> None:
        self._read_mj = read_mj
        self._period_s = period_s
        self._failed: Dict[str, Any] = {}
        self._total_mj = read_mj()
        threading.Thread(target=self._run, daemon=True).start()

    def told(self) -> Dict[str, Any]:
        """The sum by the last reading, or what has gone wrong since this was last asked."""
        failed, self._failed = self._failed, {}
        return failed or {"mj": self._total_mj}

    def _run(self) -> None:
        last_ns = clock_ns()
        while True:
            time.sleep(self._period_s)
            try:
                self._total_mj, now_ns = self._read_mj(), clock_ns()
            except Exception as error:
                self._failed = _trouble(error)
                continue
            if now_ns - last_ns > _LONGEST_GAP_S * 1e9:
                self._failed = {"invalid": "power was not read for %.1f s" % ((now_ns - last_ns) / 1e9)}
            last_ns = now_ns


class Rails(Often):
    """Power of some rails, each of which is the product of what its files hold, summed up over time."""

    def __init__(self, rails: List[List[str]], period_s: float) -> None:
        self._rails = rails
        self._last_mw = self._power_mw()
        self._last_ns = clock_ns()
        self._sum_mj = 0.0
        super().__init__(self._next_mj, period_s)

    def _next_mj(self) -> float:
        now_mw, now_ns = self._power_mw(), clock_ns()
        self._sum_mj += (self._last_mw + now_mw) / 2 * (now_ns - self._last_ns) / 1e9
        self._last_mw, self._last_ns = now_mw, now_ns
        return self._sum_mj

    def _power_mw(self) -> float:
        """Power now.

        Raises:
            MeasurementInvalid: it is none that a board draws that runs.
        """
        total_uw = 0
        for files in self._rails:
            product = 1
            for path in files:
                with open(path) as file:
                    product *= int(file.read(64))
            total_uw += product
        if total_uw <= 0:
            raise MeasurementInvalid("%d mW is no reading of a board that runs" % (total_uw // 1000))
        return total_uw / 1e3
