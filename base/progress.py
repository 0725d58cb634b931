"""How long work tells where it stands."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as work goes on; the command line draws a bar from it."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total`` units of ``stage`` are done; ``note`` is a figure worth seeing."""


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Tell nobody."""
