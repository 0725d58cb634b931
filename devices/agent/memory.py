"""Peak memory of a model, of the machine or of a device that has its own."""

import contextlib
import ctypes
from typing import Dict

from netdyno.devices.agent.frames import Message, Raw
from netdyno.devices.agent.models import runtime_class
from netdyno.devices.agent.work import arrays_of, model_source

_MADV_POPULATE_READ = 22
_M_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD_BYTES = 128 * 1024


def settle_memory() -> None:
    """Make what comes later count: no hoarding of freed blocks, every page of the libraries in memory.

    glibc hoards blocks of a size once it has seen one freed. Kernels before 5.14 cannot fault in pages of code; there
    the reading also holds those that the model touches first.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
    with open("/proc/self/maps") as maps:
        lines = maps.read().splitlines()
    for line in lines:
        span, rights, _, _, inode = line.split()[:5]
        if inode != "0" and rights.startswith("r"):
            start, end = (int(side, 16) for side in span.split("-"))
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_POPULATE_READ)


def reset_high_water() -> None:
    """Let VmHWM start again from VmRSS; where that is forbidden, receiving the model may be the peak."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")


def status_bytes(field: str) -> int:
    """A size from ``/proc/self/status``."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no " + field)


def peak(runtime: str, place: str, before: int, message: Message, arrays: Dict[str, Raw]) -> Message:
    """Peak memory that a model adds: to this process over ``before``, file and inputs included, or to the device."""
    reset_high_water()
    make = runtime_class(runtime, place)
    model = make(model_source(make, message, arrays), message["threads"], **message["options"])
    try:
        model.allocate(message["shapes"])
        model.feed(arrays_of(arrays, message.get("types")))
        model.run()
        model.run()
        return {"bytes": status_bytes("VmHWM") - before if place == "cpu" else model.device_bytes()}
    finally:
        model.close()
