"""The end of what a process writes to its standard error, kept in memory whatever it writes."""

from __future__ import annotations

import threading
from typing import IO

TAIL_BYTES = 8192
_PIECE = 1 << 16


class Tail:
    """Reads a pipe until all its writers are gone, keeps the last bytes, and closes it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._kept = bytearray()
        self._thread = threading.Thread(target=_read, args=(stream, self._kept), daemon=True)
        self._thread.start()

    def last_line(self, wait_s: float) -> str:
        """The last line that is not mere information, as soon as all is read or after ``wait_s``."""
        self._thread.join(wait_s)
        lines = [line.strip() for line in bytes(self._kept).decode(errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line and not line.startswith("INFO")), "")


def _read(stream: IO[bytes], kept: bytearray) -> None:
    """Keep the end of what comes; it holds no reference to the :class:`Tail`, so that a worker can be forgotten."""
    with stream:
        while piece := stream.read(_PIECE):
            kept += piece
            del kept[:-TAIL_BYTES]
