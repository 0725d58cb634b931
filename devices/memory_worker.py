"""The process that measures memory: ``python -m netdyno.devices.memory_worker RUNTIME``.

It has imported the runtime and never loads a model. Each request is read and answered by a forked child, so
that every model is measured from the same clean state, whatever was measured before.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path

from netdyno.devices.cpu_worker import connect, load_model, refusal
from netdyno.devices.runtimes import RUNTIMES, default_inputs
from netdyno.devices.wire import Frame, receive, send

_MADV_POPULATE_READ = 22
_M_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD_BYTES = 128 * 1024


def answer(runtime: str, stream: socket.socket) -> None:
    """Answer one request with the peak memory that its model adds to this process, file included."""
    fix_allocator()
    map_libraries()
    before = _status_bytes("VmRSS")
    request = receive(stream)
    data = request.arrays["model"].tobytes()
    message = request.message
    del request
    reset_high_water()
    try:
        model = load_model(runtime, message, data)
        model.feed(default_inputs(model.inputs))
        model.run()
        model.run()
    except Exception as error:
        send(stream, refusal(error))
    else:
        send(stream, Frame({"bytes": _status_bytes("VmHWM") - before}))


def fix_allocator() -> None:
    """Keep glibc from hoarding freed blocks of the frame's size, as it does once it has seen one freed."""
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)


def map_libraries() -> None:
    """Fault in every page of the libraries now, so that code which runs first with the model does not count.

    Kernels before 5.14 cannot; there the reading also holds the pages of code that the model touches.
    """
    libc = ctypes.CDLL(None)
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, inode, *_ = line.split()
        if inode != "0" and rights.startswith("r"):
            start, end = (int(side, 16) for side in span.split("-"))
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_POPULATE_READ)


def reset_high_water() -> None:
    """Let VmHWM start again from VmRSS; where that is forbidden, receiving the frame may be the peak."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def answer_and_exit(runtime: str) -> None:
    """The forked child: answer, then leave without the parent's clean-up."""
    code = 1
    try:
        answer(runtime, connect())
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main(runtime: str) -> None:
    """Fork a child for each request, and die the way a child died, so that the device sees why."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    importlib.import_module(RUNTIMES[runtime].library)
    while True:
        select.select([0], [], [])
        if not _connected():
            return
        child = os.fork()
        if child == 0:
            answer_and_exit(runtime)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0:
            os.kill(os.getpid(), -code)
        elif code:
            sys.exit(code)


def _connected() -> bool:
    poll = select.poll()
    poll.register(0, select.POLLRDHUP)
    return not poll.poll(0)


if __name__ == "__main__":
    main(sys.argv[1])
