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
"""What any one answer may take, however near the deadline: processes start, and an inference begun in time ends."""

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
    """Seconds to wait for an answer that may take ``most_s``: to the deadline, but :data:`GRACE_S` at least."""
    return min(most_s, max(time_left_s(), GRACE_S))


def silence(waited_s: float) -> str:
    """The end of "did not answer …": ``for 120 s``, or ``within its budget`` where a deadline was the reason."""
    if time_left_s() > 0:
        return f"for {waited_s:.0f} s"
    return "within the budget; give it more with --budget if it is only slow"
