"""Time and memory of an NVIDIA GPU through CUDA's driver, which is wherever there is such a GPU."""

import ctypes
from typing import Any, List

_LIBRARY = "libcuda.so.1"
_NON_BLOCKING = 1
_L2_BYTES = 38  # CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
_AT_ONCE = 512
"""Inferences between two synchronisations."""


class CudaError(Exception):
    """The driver refuses."""


class Stream:
    """A stream beside the default one on the first GPU that this process sees, or one that is there: ``handle``.

    It lives in the context that all of CUDA's libraries share, so that their work can be given to it.
    """

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
        self._flushed_bytes = 2 * cache_bytes.value
        self._flush = ctypes.c_uint64()
        self._events: List[ctypes.c_void_p] = []

    @property
    def handle(self) -> int:
        """What other libraries know the stream by."""
        return self._stream.value or 0

    def used_bytes(self) -> int:
        """Memory of the GPU that is in use, whoever uses it."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._ask("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return total.value - free.value

    def time_runs(self, run: Any, repeat: int, cold: bool) -> List[int]:
        """Latency in ns of each of ``repeat`` calls that give their work to this stream, by the GPU's own clock.

        With ``cold`` the L2 cache is overwritten before each.
        """
        latency_ns: List[int] = []
        while len(latency_ns) < repeat:
            count = min(repeat - len(latency_ns), _AT_ONCE)
            pairs = [(self._event(2 * number), self._event(2 * number + 1)) for number in range(count)]
            for start, end in pairs:
                if cold:
                    self._empty_cache()
                self._ask("cuEventRecord", start, self._stream)
                run()
                self._ask("cuEventRecord", end, self._stream)
            self._ask("cuStreamSynchronize", self._stream)
            latency_ns += [self._between_ns(start, end) for start, end in pairs]
        return latency_ns

    def _between_ns(self, start: ctypes.c_void_p, end: ctypes.c_void_p) -> int:
        elapsed_ms = ctypes.c_float()
        self._ask("cuEventElapsedTime", ctypes.byref(elapsed_ms), start, end)
        return max(1, round(elapsed_ms.value * 1e6))

    def _empty_cache(self) -> None:
        if not self._flush.value:
            self._ask("cuMemAlloc_v2", ctypes.byref(self._flush), ctypes.c_size_t(self._flushed_bytes))
        words = ctypes.c_size_t(self._flushed_bytes // 4)
        self._ask("cuMemsetD32Async", self._flush, ctypes.c_uint(0), words, self._stream)

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
            raise CudaError("%s: %s" % (function, (text.value or b"error %d" % code).decode(errors="replace")))
