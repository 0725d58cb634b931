"""The one folder of netdyno's that stays on a machine."""

import contextlib
import os
from typing import List, Tuple

MOST_BYTES = 4 << 30


def cache_folder() -> str:
    """Models by their digest, TensorRT's engines, lock files."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "netdyno")


def prune(folder: str, most_bytes: int = MOST_BYTES) -> None:
    """Remove what was used longest ago, until the rest of a folder's files is no larger than this."""
    found: List[Tuple[float, int, str]] = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):  # another process prunes too
                about = entry.stat()
                found.append((about.st_mtime, about.st_size, entry.path))
    kept = 0
    for _, size, path in sorted(found, reverse=True):
        kept += size
        if kept > most_bytes:
            with contextlib.suppress(OSError):
                os.remove(path)


def touch(path: str) -> None:
    """Say that a file was used."""
    with contextlib.suppress(OSError):
        os.utime(path)
