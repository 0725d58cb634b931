"""Connections of the system's own ``ssh``, each with a process of the agent at its other end."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from netdyno.base.deadline import silence
from netdyno.base.errors import DeviceError, MissingExtra, ModelError
from netdyno.devices.agents import Connection
from netdyno.devices.ssh.address import Address
from netdyno.devices.wire import Frame
from netdyno.devices.worker import Worker

_ADVICE = {
    "Host key verification failed": "its key is not the one known, or none is known; connect once by hand and see",
    "Permission denied": "it takes none of your keys",
    "not found": "there is no such Python there; name one with ?python=",
    "No such file": "there is no such Python there; name one with ?python=",
}
"""What ssh or the shell there says, and what it comes to."""
CONNECT_S = 60.0


_PACKAGE = "netdyno.devices.agent"
_FOR_GPUS = (
    "pynvml",
    "netdyno.base.closing",
    "netdyno.base.errors",
    "netdyno.devices.meters",
    "netdyno.devices.nvidia.nvml",
    "netdyno.devices.nvidia.power",
)
"""What reads a GPU there as it does here."""


@cache
def agent_text(*, gpu: bool = False) -> bytes:
    """The agent as it travels: the module that unpacks the others, and those by name.

    Raises:
        MissingExtra: what reads a GPU is not installed here.
    """
    names = sorted(path.stem for path in Path(_origin(_PACKAGE)).parent.glob("[a-z]*.py"))
    texts = {f"{_PACKAGE}.{name}": _source(f"{_PACKAGE}.{name}") for name in names}
    texts |= {name: _source(name) for name in _FOR_GPUS} if gpu else {}
    return json.dumps([_source(f"{_PACKAGE}.sent"), texts]).encode()


def _source(module: str) -> str:
    return Path(_origin(module)).read_text()


def _origin(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingExtra(f"GPUs of other machines need {module} here: pip install 'netdyno[nvidia]'")
    return spec.origin


class SshWorker(Worker):
    """A process of the agent at the other end of a connection; if that breaks, the machine is lost, not the model."""

    def __init__(self, address: Address, *arguments: str) -> None:
        try:
            text = agent_text(gpu=address.of_gpu and arguments[0] == "control")
            super().__init__(address.command(len(text), *arguments), on_stdout=True, preface=text)
        except FileNotFoundError as error:
            raise DeviceError(f"{address.target}: there is no ssh on this machine to reach it with") from error
        self.target = address.target

    def require_alive(self) -> None:
        """Make sure that it can be asked; raises as :meth:`Worker.require_alive` does, and says where."""
        with _saying_where(self.target):
            super().require_alive()

    def ask(self, request: Frame, *, timeout_s: float, most_bytes: int = 0) -> Frame:
        """Send a request and wait for the answer; raises as :meth:`Worker.ask` does, and says where."""
        with _saying_where(self.target):
            return super().ask(request, timeout_s=timeout_s, most_bytes=most_bytes)

    def exchange(self, request: Frame, timeout_s: float, most_bytes: int) -> Frame:
        """Send a request and wait for the answer; whatever goes wrong says where."""
        began = time.monotonic()
        try:
            return super().exchange(request, timeout_s, most_bytes)
        except DeviceError as error:
            text = str(error).removeprefix(f"{self.target}: ")
            if isinstance(error.__cause__, TimeoutError):
                waited = silence(time.monotonic() - began)
                text = f"did not answer {waited}; see whether `ssh {self.target} true` returns at once"
            raise DeviceError(f"{self.target}: {text}") from error

    def ended(self, code: int, last_line: str) -> DeviceError:
        """The error of a connection that ended."""
        says = last_line.removeprefix("ssh: ") or f"the connection ended (exit code {code})"
        advice = next((text for said, text in _ADVICE.items() if said in says), "")
        return DeviceError(f"{self.target}: {says}{f' ({advice})' if advice else ''}")


@contextmanager
def _saying_where(target: str) -> Iterator[None]:
    """Put the machine's name before what is said of it, once."""
    try:
        yield
    except DeviceError as error:
        if str(error).startswith(target):
            raise
        raise type(error)(f"{target}: {error}") from error


@dataclass(frozen=True)
class SshConnection(Connection):
    """The way to another machine."""

    address: Address

    @property
    def target(self) -> str:  # type: ignore[override]
        """The machine as the user has named it."""
        return self.address.target

    def start(self, *arguments: str) -> SshWorker:
        """A process of the agent there."""
        kind, *rest = arguments
        return SshWorker(self.address, "watched" if kind == "work" else kind, *rest)


def ask(
    worker: SshWorker, message: dict[str, Any], timeout_s: float, arrays: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the machine itself answers.

    Raises:
        DeviceError: it cannot do what was asked, or the connection is lost.
    """
    try:
        said = worker.ask(Frame(message, arrays or {}), timeout_s=timeout_s).message
    except ModelError as error:
        raise DeviceError(f"{worker.target}: {error}") from error
    if "failed" in said:
        raise DeviceError(f"{worker.target}: {said['failed']}")
    return said
