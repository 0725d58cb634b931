"""Time and memory of an NVIDIA GPU through CUDA's driver, which is wherever there is such a GPU."""

import ctypes
from typing import Any, List

from netdyno.devices.agent.models import DeviceLost, clock_ns

_LIBRARY = "libcuda.so.1"
_NON_BLOCKING = 1
_L2_BYTES = 38  # CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
_LEAST_BYTES = 32 << 20
_AT_ONCE = 256
"""Inferences between two synchronisations."""
_MOST_HEAD_START_S = 0.2
_MARGIN = 1.5


class CudaError(DeviceLost):
    """The driver refuses."""


class Stream:
    """A stream beside the default one on the first GPU that this process sees, or one that is there: ``handle``.

    It lives in the context that all of CUDA's libraries share, so that their work can be given to it.
    """

    _buffer = ctypes.c_uint64()
    """Memory to write to, of all streams of this process: to empty the cache, and to keep the GPU busy."""

    def __init__(self, handle: int) -> None:
        self._library = ctypes.CDLL(_LIBRARY)
        self._ask("cuInit", ctypes.c_uint(0))
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._ask("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self._ask("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._ask("cuCtxSetCurrent", context)
        self._stream = ctypes.c_void_p(handle)
        if not handle:
            self._ask("cuStreamCreate", ctypes.byref(self._stream), ctypes.c_uint(_NON_BLOCKING))
        cache_bytes = ctypes.c_int()
        self._ask("cuDeviceGetAttribute", ctypes.byref(cache_bytes), ctypes.c_int(_L2_BYTES), device)
        self._bytes = max(2 * cache_bytes.value, _LEAST_BYTES)
        if not Stream._buffer.value:
            self._ask("cuMemAlloc_v2", ctypes.byref(Stream._buffer), ctypes.c_size_t(self._bytes))
        self._events: List[ctypes.c_void_p] = []
        self._write_s = 0.0
        self._give_s = 0.0

    @property
    def handle(self) -> int:
        """What other libraries know the stream by."""
        return self._stream.value or 0

    def used_bytes(self) -> int:
        """Memory of the GPU that is in use, whoever uses it."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._ask("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return total.value - free.value

    def wait(self) -> None:
        """Until all work that was given to the stream is done."""
        self._ask("cuStreamSynchronize", self._stream)

    def time_runs(self, run: Any, repeat: int, cold: bool) -> List[int]:
        """Latency in ns of each of ``repeat`` calls that give their work to this stream, by the GPU's own clock.

        The GPU is kept busy until the host has given it the work of many calls: otherwise it would wait for the host
        between two events, and short work would look as long as giving it takes. With ``cold`` the L2 cache is
        overwritten before each.
        """
        self.time_writing()
        latency_ns: List[int] = []
        while len(latency_ns) < repeat:
            count = min(repeat - len(latency_ns), _AT_ONCE)
            pairs = [(self._event(2 * number), self._event(2 * number + 1)) for number in range(count)]
            self._head_start(count)
            began_ns = clock_ns()
            run()  # what was written to keep it busy is in the cache, not what the work needs
            for start, end in pairs:
                if cold:
                    self._write()
                self._ask("cuEventRecord", start, self._stream)
                run()
                self._ask("cuEventRecord", end, self._stream)
            self._give_s = (clock_ns() - began_ns) / 1e9 / count
            self.wait()
            latency_ns += [self._between_ns(start, end) for start, end in pairs]
        return latency_ns

    def time_writing(self) -> None:
        """Find out how long the GPU takes to write to all of the buffer."""
        if not self._write_s:
            start, end = self._event(0), self._event(1)
            self._write()
            self._ask("cuEventRecord", start, self._stream)
            self._write()
            self._ask("cuEventRecord", end, self._stream)
            self.wait()
            self._write_s = self._between_ns(start, end) / 1e9

    def _head_start(self, count: int) -> None:
        """Work for the GPU while the host prepares ``count`` calls, as long as each took it the last time."""
        seconds = min(_MARGIN * count * self._give_s, _MOST_HEAD_START_S)
        for _ in range(int(seconds / self._write_s)):
            self._write()

    def _between_ns(self, start: ctypes.c_void_p, end: ctypes.c_void_p) -> int:
        elapsed_ms = ctypes.c_float()
        self._ask("cuEventElapsedTime", ctypes.byref(elapsed_ms), start, end)
        return max(1, round(elapsed_ms.value * 1e6))

    def _write(self) -> None:
        words = ctypes.c_size_t(self._bytes // 4)
        self._ask("cuMemsetD32Async", Stream._buffer, ctypes.c_uint(0), words, self._stream)

    def _event(self, number: int) -> ctypes.c_void_p:
        while number >= len(self._events):
            event = ctypes.c_void_p()
            self._ask("cuEventCreate", ctypes.byref(event), ctypes.c_uint(0))
            self._events.append(event)
        return self._events[number]

    def _ask(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(ctypes.c_int(code), ctypes.byref(text))
            said = (text.value or b"error %d" % code).decode(errors="replace")
            raise CudaError("CUDA error: %s: %s" % (function, said))
