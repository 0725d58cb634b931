"""A bound on the memory that models take, so that one of them cannot take the machine's."""

import contextlib
import os
import resource
from typing import Dict, List

_SHARE = 0.75
_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_WORDS = (
    "out of memory",
    "bad_alloc",
    "failed to allocate memory",
    "can't allocate memory",
    "cannot allocate memory",
)
"""The beginnings of how runtimes, their allocators and the system call it, in lower case."""
_FIRST_TO_GO = "500"
_CHOSEN: List[int] = []


def default_limit() -> int:
    """Three quarters of the memory that this machine, or the container that this is in, has."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _FILES:
        with contextlib.suppress(OSError, ValueError), open(path) as file:  # "max" is no number
            whole = min(whole, int(file.read()))
    return int(_SHARE * whole)


def limit_memory(most_bytes: int) -> None:
    """Let this process and its children take so much more than now; where memory runs out, they are the first to go.

    What is limited is private memory that can be written (``RLIMIT_DATA``): runtimes reserve many times the addresses
    that they ever use, and map weights from files. 0 limits nothing.
    """
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(_FIRST_TO_GO)
    if most_bytes:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = most_bytes + _data_bytes()
        resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
        _CHOSEN[:] = [most_bytes]


def exhausted(error: Exception) -> Dict[str, int]:
    """The fields of an answer that says that memory ran out; none if an error is another one."""
    said = str(error)
    wordless = isinstance(error, MemoryError) or (type(error) is RuntimeError and not said)  # the latter is LiteRT's
    if not wordless and not any(words in said.lower() for words in _WORDS):
        return {}
    # What a GPU runs out of has no limit of ours.
    return {"limit": 0 if "cuda" in said.lower() or not _CHOSEN else _CHOSEN[0]}


def _data_bytes() -> int:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0
