"""A way to a phone: commands with exit code and both outputs, files to and from it.

Everything that a phone says is somebody's, and everything that is said to its shell is quoted: a file name, a serial
or a property is hostile until proven otherwise.
"""

from __future__ import annotations

import math
import re
import secrets
import shlex
import time
from abc import abstractmethod
from dataclasses import dataclass

from netdyno.base.closing import Closing
from netdyno.base.errors import DeviceError

FOLDER = "/data/local/tmp/netdyno"
"""Where everything of netdyno's is on a phone; the one place that shells may write to and run from."""
LONGEST_OUTPUT = 1 << 26
LARGEST_FILE = 1 << 31
COMMAND_S = 20.0


@dataclass(frozen=True)
class Result:
    """What a command came to: exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    def check(self, what: str) -> str:
        """The output of a command that succeeded.

        Raises:
            DeviceError: it failed.
        """
        if self.code:
            says = next((line for line in reversed(self.err.splitlines()) if line.strip()), f"exit code {self.code}")
            raise DeviceError(f"{what}: {says[:300]}")
        return self.out


class Channel(Closing):
    """A command that runs: what is sent is its standard input, its standard output is read line by line.

    It ends with the connection at the latest.
    """

    def __init__(self, serial: str) -> None:
        self._serial = serial
        self._read = bytearray()

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Write to it.

        Raises:
            EOFError: the command has ended.
            DeviceError: the phone is lost.
        """

    @abstractmethod
    def receive(self) -> bytes:
        """Some of what it has written, nothing if it has ended.

        Raises:
            DeviceError: the phone is lost, or silent for too long.
        """

    def line(self, deadline_s: float = math.inf) -> str:
        """The next line that is not empty, by a moment of ``time.monotonic()``.

        Raises:
            TimeoutError: there was none, though it may have written empty ones.
            EOFError: the command has ended.
            DeviceError: the phone is lost, or silent for too long.
        """
        searched = 0
        while time.monotonic() < deadline_s:
            end = self._read.find(b"\n", searched)
            if end >= 0:
                line = self._read[:end].decode(errors="replace").strip()
                del self._read[: end + 1]
                searched = 0
                if line:
                    return line
                continue
            searched = len(self._read)
            if len(self._read) > LONGEST_OUTPUT:
                raise DeviceError(f"{self._serial}: wrote a line of {len(self._read) >> 20} MiB")
            part = self.receive()
            if not part:
                raise EOFError
            self._read += part
        raise TimeoutError


class Transport(Closing):
    """A connection to one phone; ``serial`` names it, ``way`` says how it is reached."""

    serial: str
    way: str
    lost: str = ""
    """How it was lost; what is left to be done then, such as tidying up, would wait for nothing."""

    def require(self) -> None:
        """Make sure that it was not lost; raises DeviceError."""
        if self.lost:
            raise DeviceError(self.lost, device=self.serial)

    @abstractmethod
    def execute(self, line: str, timeout_s: float) -> bytes:
        """All that a line of shell writes to both its outputs.

        Raises:
            DeviceError: the phone is lost, or silent for too long.
        """

    @abstractmethod
    def open(self, line: str, silence_s: float) -> Channel:
        """Start a line of shell, and talk to it while it runs.

        Raises:
            DeviceError: the phone is lost.
        """

    @abstractmethod
    def push(self, data: bytes, path: str, mode: int = 0o644) -> None:
        """Write a file, its folders included; nothing of a path goes through a shell.

        Raises:
            DeviceError: the phone is lost, or cannot write it.
        """

    @abstractmethod
    def pull(self, path: str) -> bytes:
        """Read a file.

        Raises:
            DeviceError: the phone is lost, or there is no such file.
        """

    @abstractmethod
    def size(self, path: str) -> int | None:
        """A file's size in bytes; None where there is none.

        Raises:
            DeviceError: the phone is lost.
        """

    def shell(self, *command: str, timeout_s: float = COMMAND_S) -> Result:
        """Run a program with these arguments, each of which reaches it as it is."""
        return self.script(shlex.join(command), timeout_s=timeout_s)

    def script(self, text: str, timeout_s: float = COMMAND_S) -> Result:
        """Run a script of ours in the phone's shell.

        Older phones, and the library that talks to them, tell neither exit code nor which output a byte is of: a mark
        that nobody can guess stands between them.

        Raises:
            DeviceError: the phone is lost, or its shell does not answer as one.
        """
        mark = f"netdyno-{secrets.token_hex(8)}"
        errors = f"{FOLDER}.{mark}"
        told = f"echo; echo {mark}; cat {errors}; echo; echo {mark}:$c; rm -f {errors}"
        line = f"( {text}\n) 2>{errors} </dev/null; c=$?; {told}"
        said = self.execute(line, timeout_s)
        if len(said) > LONGEST_OUTPUT:
            raise DeviceError(f"{self.serial}: a command wrote {len(said) >> 20} MiB")
        return parse_result(said.decode(errors="replace"), mark, self.serial)


def parse_result(said: str, mark: str, serial: str) -> Result:
    """A result from what a script of :meth:`Transport.script` wrote.

    Raises:
        DeviceError: it is something else.
    """
    said = said.replace("\r\n", "\n")
    found = re.fullmatch(
        rf"(?P<out>.*)\n{mark}\n(?P<err>.*)\n{mark}:(?P<code>\d{{1,3}})\n.*", said, re.DOTALL | re.ASCII
    )
    if found is None:
        raise DeviceError(f"{serial}: its shell did not answer as one: {said.strip()[:100]!r}")
    return Result(int(found["code"]), found["out"], found["err"])
