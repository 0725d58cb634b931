"""The promise of an interrupted command to go on, made only where its work is kept as it is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_promises: list[str] = []


@contextmanager
def resumable(*, fresh: bool = False) -> Iterator[None]:
    """Mark a block whose work is kept as it is done, so that the same command resumes it.

    With ``fresh`` the command begins by discarding what is kept; it resumes without that option.
    """
    try:
        yield
    except KeyboardInterrupt:
        _promises.append(how_to_go_on(fresh))
        raise


def how_to_go_on(fresh: bool) -> str:
    """The remedy after an interruption, as half a sentence."""
    return f"the same command {'without --fresh ' if fresh else ''}goes on where it stopped"


def take_promise() -> str:
    """The promise for the block that was interrupted last, or nothing; it is told once."""
    promise = _promises[-1] if _promises else ""
    _promises.clear()
    return promise
