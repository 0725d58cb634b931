"""A process of netdyno's runner on a phone, asked in lines of text; it answers each with a line of JSON."""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.deadline import patience_s, silence
from netdyno.base.errors import DeviceError, ModelError, WorkerLost
from netdyno.devices.agents import understood
from netdyno.devices.android.runtime import LIBRARY
from netdyno.devices.android.transport import FOLDER, Transport
from netdyno.devices.signature import Tensor
from netdyno.devices.worker import CRASHES, Crashed

MOST_MODELS, MOST_TOGETHER = 4096, 64
"""How many models it keeps, and how many requests it takes at once."""
TIMEOUT_S = 600.0
"""How long it may work on what it is asked, unless more is to be expected."""
_LONGEST_REASON = 300
_GONE = "its process is gone; open it again"
SILENCE_S = 12.0
"""The runner says that it lives every five seconds."""
CRASHED = tuple(128 + number for number in CRASHES)
"""Exit codes of a shell whose program crashed."""
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
        self._removed = False
        transport.script(f"mkdir -p {self.folder}").check(f"{transport.serial}: {self.folder}")
        program = [f"{programs}/{loader}", "--library-path", programs, f"{programs}/runner", f"{programs}/{LIBRARY}"]
        errors = f"{self.folder}/errors"
        told = f"c=$?; echo; echo ended:$c $(tail -n 1 {errors} | head -c {_LONGEST_REASON})"
        self._channel = transport.open(f"{shlex.join([*prefix, *program])} 2>{errors}; {told}", SILENCE_S)
        (said,) = self._exchange("", 1, SILENCE_S)
        if "ready" not in said:
            self.end()
            raise DeviceError(f"{transport.serial}: the runner does not start: {_reason(said)}")

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._ended is None

    def ask(self, request: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """What it answers to a line; raises as :meth:`ask_all` does."""
        (said,) = self.ask_all([request], timeout_s)
        return said

    def ask_all(self, requests: Sequence[str], timeout_s: float = TIMEOUT_S) -> Iterator[dict[str, Any]]:
        """What it answers to several lines, which it does one after the other without a word in between.

        Raises:
            ModelError: the library refuses that one.
            Crashed: native code crashed, on any of them.
            WorkerLost: the runner has ended otherwise, or works for longer than ``timeout_s`` and was given up.
            DeviceError: the phone is lost.
        """
        if self._ended is not None:
            raise self._ended
        lines = [f"batch {len(requests)}", *requests] if len(requests) > 1 else requests
        for said in self._exchange("".join(f"{line}\n" for line in lines), len(requests), timeout_s):
            if "refused" in said:
                raise ModelError(_reason(said))
            yield said

    def _exchange(self, text: str, count: int, timeout_s: float) -> list[dict[str, Any]]:
        """All answers to a text; if they are not read to the end, it is given up: the next would be another's."""
        timeout_s = patience_s(timeout_s)
        deadline_s = time.monotonic() + timeout_s
        try:
            with contextlib.suppress(EOFError):  # it has said why, which is read next
                if text:
                    self._channel.send(text.encode())
            return [self._answer(deadline_s) for _ in range(count)]
        except TimeoutError as error:
            raise self._give_up(f"the runner did not answer {silence(timeout_s)}") from error
        except EOFError as error:
            raise self._give_up("the runner has ended") from error
        except BaseException:
            self._give_up(_GONE)
            raise

    def _answer(self, deadline_s: float) -> dict[str, Any]:
        line = self._channel.line(deadline_s)
        if line.startswith("ended:"):
            code, _, says = line.removeprefix("ended:").partition(" ")
            crashed = code.isdecimal() and int(code) in CRASHED
            text = f"the runner {'crashed' if crashed else 'has ended'} (exit code {code[:5]})"
            text += f": {says[:_LONGEST_REASON]}" if says else ""
            raise Crashed(text) if crashed else WorkerLost(text)
        with understood(self._transport.serial):
            said = json.loads(line)
            if not isinstance(said, dict):
                raise ValueError("no object")
            return said

    def _give_up(self, why: str) -> WorkerLost:
        self._ended = WorkerLost(why)
        self._channel.close()
        return self._ended

    def end(self) -> None:
        """End it, and remove what it has left; a second call does nothing."""
        if self._ended is None:
            self._give_up(_GONE)
        if not self._removed:
            self._removed = True
            self._transport.script(f"rm -rf {self.folder}; true")


def _reason(said: Mapping[str, Any]) -> str:
    return str(said.get("refused", said))[:_LONGEST_REASON]


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
