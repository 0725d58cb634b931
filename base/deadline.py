"""The time by which a piece of work has to be done, known to everything that it waits for.

A budget reaches a worker through many calls; each of them waits for :func:`patience_s` and needs to know no more::

    with within(5.0):
        session.run()  # a worker that is silent for five seconds is given up
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

GRACE_S = 3.5
"""Seconds that any answer may take, however near the deadline: processes start, an inference begun in time ends."""

_END: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""The deadline on the monotonic clock."""


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Bound whatever is waited for inside; deadlines nest, and the earliest counts. None bounds nothing."""
    end = math.inf if seconds is None else time.monotonic() + seconds
    token = _END.set(min(_END.get(), end))
    try:
        yield
    finally:
        _END.reset(token)


def time_left_s() -> float:
    """Seconds to the deadline: negative once it has passed, infinite where there is none."""
    return _END.get() - time.monotonic()


def patience_s(most_s: float) -> float:
    """Seconds to wait for an answer that may take ``most_s``: to the deadline, but :data:`GRACE_S` at least.

    A deadline that is far away gives a slow answer a tenth of its time, where that is more than ``most_s``.
    """
    left_s = time_left_s()
    return min(max(most_s, left_s / 10 if left_s < math.inf else 0.0), max(left_s, GRACE_S))


def silence(waited_s: float) -> str:
    """The end of "did not answer …": ``for 120 s``, or ``within the budget`` where a deadline was the reason."""
    left_s = time_left_s()
    if left_s == math.inf:
        return f"for {waited_s:.0f} s"
    waited = f"for {waited_s:.0f} s" if left_s > 0 else "within the budget"
    return f"{waited}; give it more with --budget if it is slow"
