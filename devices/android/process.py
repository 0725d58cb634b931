"""A process of netdyno's runner on a phone, asked in lines of text; it answers each with a line of JSON."""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.errors import DeviceError, ModelError, WorkerLost
from netdyno.devices.agents import understood
from netdyno.devices.android.runtime import LIBRARY
from netdyno.devices.android.transport import FOLDER, Transport
from netdyno.devices.signature import Tensor
from netdyno.devices.worker import Crashed

MOST_TOGETHER = 64
"""How many requests it takes at once."""
SILENCE_S = 12.0
"""The runner says that it lives every five seconds."""
CRASHES = (132, 134, 135, 136, 139)
"""Exit codes of a shell whose program was ended by SIGILL, SIGABRT, SIGBUS, SIGFPE or SIGSEGV."""
_ELEMENTS = {
    1: "float32", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8", 10: "float16", 11: "float64"
}  # fmt: skip
"""TFLite's element types, by their numbers."""


class RunnerProcess:
    """A running runner from the folder ``programs``; ``loader`` is the program that starts it.

    ``prefix`` is a command that starts both.

    Raises:
        DeviceError: the phone is lost, or the runner does not start there.
    """

    def __init__(self, transport: Transport, programs: str, loader: str, prefix: Sequence[str] = ()) -> None:
        self._transport = transport
        self.folder = f"{FOLDER}/run-{secrets.token_hex(8)}"
        self._ended: WorkerLost | None = None
        transport.script(f"mkdir -p {self.folder}").check(f"{transport.serial}: {self.folder}")
        program = [f"{programs}/{loader}", "--library-path", programs, f"{programs}/runner", f"{programs}/{LIBRARY}"]
        start = shlex.join([*prefix, *program])
        self._channel = transport.open(f"{start} 2>{self.folder}/errors; c=$?; echo; echo ended:$c", SILENCE_S)
        said = self._answer()
        if "ready" not in said:
            raise DeviceError(f"{transport.serial}: the runner does not start: {said.get('refused', said)}")

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._ended is None

    def ask(self, request: str) -> dict[str, Any]:
        """What it answers to a line.

        Raises:
            ModelError: the library refuses what was asked.
            Crashed: native code crashed.
            WorkerLost: the runner has ended otherwise.
            DeviceError: the phone is lost.
        """
        (said,) = self.ask_all([request])
        return said

    def ask_all(self, requests: Sequence[str]) -> Iterator[dict[str, Any]]:
        """What it answers to several lines, which it does one after the other without a word in between.

        Raises:
            ModelError: the library refuses that one.
            Crashed: native code crashed, on any of them.
            WorkerLost: the runner has ended otherwise.
            DeviceError: the phone is lost.
        """
        if self._ended is not None:
            raise self._ended
        lines = [f"batch {len(requests)}", *requests] if len(requests) > 1 else requests
        with contextlib.suppress(EOFError):  # it has said why, which is read next
            self._channel.send("".join(f"{line}\n" for line in lines).encode())
        # All of them are read, whatever one of them says: the next request must not find them.
        for said in [self._answer() for _ in requests]:
            if "refused" in said:
                raise ModelError(str(said["refused"])[:300])
            yield said

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._channel.line()
        except EOFError as error:
            raise self._lost("-1") from error
        if line.startswith("ended:"):
            raise self._lost(line.removeprefix("ended:"))
        with understood(self._transport.serial):
            said = json.loads(line)
            if not isinstance(said, dict):
                raise ValueError("no object")
            return said

    def _lost(self, code: str) -> WorkerLost:
        self._channel.close()
        crashed = code.isdecimal() and int(code) in CRASHES
        text = "the runner crashed" if crashed else "the runner has ended"
        self._ended = (Crashed if crashed else WorkerLost)(f"{text} (exit code {code[:5]})")
        return self._ended

    def end(self) -> None:
        """End it, and remove what it has left; a second call does nothing."""
        if self._ended is None:
            self._ended = WorkerLost("its process is gone; open it again")
            self._channel.close()
        self._transport.script(f"rm -rf {self.folder}; true")


def tensors(said: Sequence[Any]) -> list[Tensor]:
    """Tensors as the runner tells them; those of a type that nobody feeds keep its number."""
    return [
        (str(name), [int(side) for side in sides], _ELEMENTS.get(element, f"type {element}"))
        for name, element, sides, _ in said
    ]


def joined(arrays: Mapping[str, NDArray[Any]], order: Sequence[str]) -> bytes:
    """Inputs as the runner reads them."""
    return b"".join(np.ascontiguousarray(arrays[name]).tobytes() for name in order)


def parted(data: bytes, outputs: Sequence[Tensor]) -> dict[str, NDArray[Any]]:
    """Outputs by name, from what the runner has written.

    Raises:
        ValueError: it is too short or too long.
    """
    found, position = {}, 0
    for name, sides, dtype in outputs:
        count = int(np.prod(sides, dtype=np.int64))
        size = count * np.dtype(dtype).itemsize
        found[name] = np.frombuffer(data[position : position + size], dtype).reshape(sides)
        position += size
    if position != len(data):
        raise ValueError("outputs of another size")
    return found
