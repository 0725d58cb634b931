"""The parent's end of a worker process: start it, ask it, notice that it died, end it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from netdyno.base.deadline import silence
from netdyno.base.errors import DeviceError, ModelError, WorkerLost
from netdyno.base.units import format_bytes
from netdyno.devices.tail import Tail
from netdyno.devices.wire import Frame, TimedStream, receive, send

_END_S = 0.5
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


class Crashed(WorkerLost):
    """The worker ended itself through a fault in native code."""


class Hung(WorkerLost):
    """The worker did not answer in time, and was killed."""


class WorkerBase(ABC):
    """What keeps models somewhere, and answers frames about them."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether it can be asked."""

    @abstractmethod
    def require_alive(self) -> None:
        """Make sure that it can be asked.

        Raises:
            WorkerLost: it died or was ended.
        """

    @abstractmethod
    def ask(self, request: Frame, *, timeout_s: float, most_bytes: int = 0) -> Frame:
        """Send a request and wait for the answer, whose arrays may hold ``most_bytes``.

        ``timeout_s`` is how long the whole answer may take, if the deadline of :mod:`netdyno.base.deadline` is not
        earlier; what is larger than a message gets the time that it needs to travel beside that.

        Raises:
            ModelError: the runtime refuses what was asked, in its own words.
            Crashed: native code in the worker crashed.
            WorkerLost: the worker died otherwise, or hangs and was killed.
            DeviceError: what it runs on is lost, or it answered with nonsense.
        """

    @abstractmethod
    def end(self) -> None:
        """End it; a second call does nothing."""


class Worker(WorkerBase):
    """A process that answers frames; it ends with this object, with this process, or on :meth:`end`.

    ``command`` talks on a socket that is its standard input, and its standard output too with ``on_stdout``;
    ``preface`` is sent before all frames. It has a session of its own, so that Ctrl-C in a terminal reaches the
    parent only.
    """

    def __init__(self, command: Sequence[str], *, on_stdout: bool = False, preface: bytes = b"") -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._preface = preface
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=theirs.fileno() if on_stdout else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        assert self._process.stderr is not None
        self._stderr = Tail(self._process.stderr)
        self.pid = self._process.pid
        self._end = weakref.finalize(self, _end, self._process, ours)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._end.alive and self._process.poll() is None

    def require_alive(self) -> None:
        """Make sure that it can be asked.

        Raises:
            WorkerLost: it died or was ended.
        """
        if not self._end.alive:
            raise WorkerLost("its worker process is gone; open it again")
        if self._process.poll() is not None:
            error = self._lost()
            self.end()
            raise error

    def ask(self, request: Frame, *, timeout_s: float, most_bytes: int = 0) -> Frame:
        """Send a request and wait for the answer, whose arrays may hold ``most_bytes``.

        ``timeout_s`` is how long the whole answer may take, if the deadline of :mod:`netdyno.base.deadline` is not
        earlier; what is larger than a message gets the time that it needs to travel beside that.

        Raises:
            ModelError: the runtime refuses what was asked, in its own words.
            Crashed: native code in the worker crashed.
            WorkerLost: the worker died otherwise, or hangs and was killed.
            DeviceError: it answered with something that is not a frame, and was killed; or what it runs on is lost.
        """
        with self._lock:
            self.require_alive()
            try:
                reply = self.exchange(request, timeout_s, most_bytes)
            except BaseException:
                # The answer to a request that was given up would be taken for that of the next one.
                self._kill()
                raise
        if "died" in reply.message:  # what answers is the parent of the process that did
            self._kill()
            died = reply.message["died"]
            raise _death(-died if type(died) is int else 1, "")
        if "exhausted" in reply.message:  # of memory; who is asked next has none of the models that took it
            self._kill()
            raise WorkerLost(f"the worker process ran out of {_memory(reply.message)}")
        if "lost" in reply.message:  # nothing that it is asked from here on could succeed
            self._kill()
            raise DeviceError(str(reply.message["lost"]))
        if "refused" in reply.message:
            raise ModelError(str(reply.message["refused"]))
        return reply

    def exchange(self, request: Frame, timeout_s: float, most_bytes: int) -> Frame:
        """Send a request and wait for the answer; raises as :meth:`ask` does, but for what a runtime refuses."""
        began = time.monotonic()
        try:
            stream = TimedStream(self._socket, timeout_s)
            stream.sendall(self._preface)
            self._preface = b""
            send(stream, request)
            return receive(TimedStream(self._socket, timeout_s), most_bytes)
        except TimeoutError as error:
            waited_s = time.monotonic() - began
            text = f"the worker process was killed: it did not answer {silence(waited_s)}"
            raise Hung(text) from error
        except (OSError, WorkerLost) as error:
            raise self._lost() from error

    def _lost(self) -> DeviceError:
        """Why the connection ended: the worker is dead or about to be."""
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return WorkerLost("the worker process closed its connection")
        return self.ended(code, self._stderr.last_line(_END_S))

    def ended(self, code: int, last_line: str) -> DeviceError:
        """The error of a process that ended, by its exit code and the last line that it wrote."""
        return _death(code, last_line)

    def _kill(self) -> None:
        _kill(self._process)
        self.end()

    def end(self) -> None:
        """End the process within a second; a second call does nothing."""
        self._end()


def python_worker(module: str, *arguments: str, on_stdout: bool = False) -> Worker:
    """A worker that is one of netdyno's own modules, run by this Python."""
    options = ("-P", "-W", "ignore::DeprecationWarning")
    return Worker([sys.executable, *options, "-m", module, *arguments], on_stdout=on_stdout)


def _death(code: int, last_line: str) -> WorkerLost:
    says = f": {last_line}" if last_line else ""
    if -code in CRASHES:
        return Crashed(f"crashed with {signal.Signals(-code).name}{says}")
    end = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    return WorkerLost(f"the worker process {end}{says}")


def _memory(said: Mapping[str, Any]) -> str:
    """The memory that a worker says it ran out of: its limit, or the device's."""
    limit = said.get("limit")
    if type(limit) is int and limit > 0:
        return f"its memory limit of {format_bytes(limit)}; raise --memory-limit if the device has more"
    return f"memory: {said['exhausted']}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that has not been waited for, and all of its group: a child that is stopped does not notice."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes], stream: socket.socket) -> None:
    """Close the connection, which ends the worker; make sure that it did; leave no zombie."""
    stream.close()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()
