"""A device of another machine: its CPU's runtimes, a Jetson and its rails, an NVIDIA GPU.

Each connection carries :mod:`netdyno.devices.agent` as its first bytes, and frames after that: one to the machine
itself (its files, its cache of models, its lock), one for each worker. The user's configuration, agent and jump hosts
are ``ssh``'s own affair. A model's file travels once, and is kept there by its digest.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact
from netdyno.base.errors import DeviceBusy, DeviceError
from netdyno.base.files import cache_folder, make_folder, read_text, write_atomic
from netdyno.devices.agents import AgentDevice, understood
from netdyno.devices.device import DeviceInfo
from netdyno.devices.host import Host
from netdyno.devices.lock import DeviceLock
from netdyno.devices.meters import Meter
from netdyno.devices.ssh.address import Address
from netdyno.devices.ssh.connection import CONNECT_S, SshConnection, SshWorker, ask
from netdyno.devices.tree import Snapshot
from netdyno.devices.workers import SILENCE_S, WorkerMeter

_LOGGER = logging.getLogger("netdyno")
_FORMATS = {"onnxruntime": "onnx", "litert": "tflite"}
_PACKAGES = {"onnxruntime": ("onnxruntime",), "litert": ("ai-edge-litert", "tflite-runtime")}
NO_METER = "energy of another machine's CPU is not read yet"
_HOLDING: dict[str, int] = {}
"""Which object of this process holds a device; the lock of this machine does not tell objects apart."""
_LONGEST = 500
_POLL_S = 0.5


def client_name() -> str:
    """A name for this cache folder's user, which tells others apart and says nothing of them."""
    path = make_folder(cache_folder()) / "client"
    if not path.exists():
        write_atomic(path, secrets.token_hex(16))
    return read_text(path).strip()


@dataclass(frozen=True)
class Hello:
    """What the other machine says of itself."""

    about: Mapping[str, str | int]
    versions: Mapping[str, str]
    cache: str

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Hello:
        """Take it out of an answer; raises what a foreign answer makes it."""
        about: dict[str, str | int] = {name: short(said["about"][name]) for name in ("architecture", "kernel")}
        about["usable_cpus"] = int(said["about"]["usable_cpus"])
        return cls(about, {short(name): short(v) for name, v in said["versions"].items()}, short(said["cache"]))


def short(text: Any) -> str:
    """Somebody's text, if it is one, and of a length and kind that can be shown; else a ValueError."""
    if not isinstance(text, str) or len(text.encode()) > _LONGEST or not text.isprintable():
        raise ValueError("no short text")
    return text


def cpu_formats(there: Mapping[str, str]) -> dict[str, str]:
    """Runtimes of a CPU and their formats, by the versions of what is installed."""
    return {name: kind for name, kind in _FORMATS.items() if any(package in there for package in _PACKAGES[name])}


class SshDevice(AgentDevice):
    """The CPU of another machine, and what every device of one has in common.

    Raises:
        DeviceError: the machine cannot be reached, or has no Python, or none of the runtimes.
    """

    machine: type[Host] = Host

    def __init__(self, address: Address, *, lock_wait_s: float = 120.0, silence_s: float = SILENCE_S) -> None:
        self.address = address
        super().__init__(address.anonymous(), SshConnection(address), silence_s)
        self._lock_wait_s = lock_wait_s
        self._sent: set[str] = set()
        self._held = False
        self._meter: WorkerMeter | None = None
        self._lock = DeviceLock(self.id, wait_s=lock_wait_s)
        self._control = self.connect()
        said = self.ask({"do": "hello"}, timeout_s=CONNECT_S)
        with understood(address.target):
            self._hello = Hello.of(said)
        self.formats: Mapping[str, str] = self.find_formats(self._hello.versions)

    def find_formats(self, there: Mapping[str, str]) -> dict[str, str]:
        """Runtimes and their formats by the versions of what is installed there.

        Raises:
            DeviceError: there is none, or not the device.
        """
        found = cpu_formats(there)
        if not found:
            python = f"{self.address.python} {there.get('python')}"
            text = f"{self.address.target}: {python} has neither onnxruntime nor LiteRT; name another with ?python="
            raise DeviceError(text, device=self.id)
        return found

    @property
    def cache(self) -> str:
        """The folder that is left on the other machine: models by their digest, and lock files."""
        return f"{self.address.target}:{self._hello.cache}"

    def info(self) -> DeviceInfo:
        """The processor there, its memory and system, and the versions of its runtimes."""
        host = self.host()
        return DeviceInfo(self.id, host.kind, host.name(), host.facts(), dict(self._hello.versions))

    def state(self) -> Mapping[str, str | int | float]:
        """Clocks, governor, load, steal, throttling and temperature, as far as the machine tells them."""
        return self.host().state()

    def faults(
        self, before: Mapping[str, str | int | float], after: Mapping[str, str | int | float]
    ) -> Sequence[str]:
        """Throttling, another governor or power supply, time stolen by other machines on the host."""
        return self.machine.faults(before, after)

    def hold(self) -> None:
        """Keep other users of that machine's cache folder from its device until :meth:`close`.

        Raises:
            DeviceBusy: another process there holds it.
            DeviceError: the connection is lost, or the cache folder cannot be written.
        """
        self._lock.acquire()  # who has it here knows that a holder there of the same name is a run that was cut off
        deadline, told = time.monotonic() + self._lock_wait_s, False
        while not (self._held and self._control.alive):
            rival = _HOLDING.get(self.id)
            client = client_name() if rival in (None, id(self)) else ""
            said = self.ask({"do": "lock", "device": self.lock_name(), "client": client})
            self._held = said.get("held") is True
            if self._held:
                _HOLDING[self.id] = id(self)
                return
            if time.monotonic() > deadline:
                text = f"{self.address.target} is in use by another process; try again when it is done"
                raise DeviceBusy(text, device=self.id)
            if not told:
                _LOGGER.warning("%s is in use; waiting up to %g s", self.address.target, self._lock_wait_s)
                told = True
            time.sleep(_POLL_S)

    def lock_name(self) -> str:
        """What the lock is called that local users of the device there take too."""
        return "cpu"

    def meters(self) -> tuple[Meter, ...]:
        """The meter of the device, kept as long as its connection lives."""
        if self._meter is None or not self._meter.alive:
            self._meter = self.make_meter()
        return () if self._meter is None else (self._meter,)

    def make_meter(self) -> WorkerMeter | None:
        """A new meter with a connection of its own; None where there is none."""
        return None

    def meter_problems(self) -> Sequence[str]:
        """Why there is no meter."""
        return [NO_METER]

    def model(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What hands an artifact to a worker: its path there, to which it has travelled."""
        data = artifact.data
        sha256 = artifact.sha256 if artifact.file is None else hashlib.sha256(data).hexdigest()
        if sha256 not in self._sent:
            if self.ask({"do": "has", "sha256": sha256}).get("has") is not True:
                self.ask({"do": "put", "sha256": sha256}, {"model": np.frombuffer(data, np.uint8)})
            self._sent.add(sha256)
        return {"path": f"{self._hello.cache}/models/{sha256}"}, {}

    def restart(self) -> None:
        """End the workers; what models are kept there is looked up anew."""
        self._sent.clear()
        super().restart()

    def close(self) -> None:
        """End the connections and let other users in; sessions that are still open are gone then."""
        self.restart()
        if self._meter is not None:
            self._meter.close()
        self._control.end()
        if self._held:
            _HOLDING.pop(self.id, None)
        self._held = False
        self._lock.release()

    def host(self) -> Host:
        """The machine as its files show it now."""
        said = self.ask({"do": "files", "patterns": self.machine.patterns})
        with understood(self.address.target):
            files = {str(path): str(text) for path, text in said["files"].items()}
        return self.machine(Snapshot(files), self._hello.about)

    def connect(self) -> SshWorker:
        """A process of the agent that answers for the machine."""
        return SshWorker(self.address, "control")

    def ask(
        self, message: dict[str, Any], arrays: Mapping[str, Any] | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """What the machine itself answers."""
        if not self._control.alive:
            held, self._held = self._held, False
            self._control = self.connect()
            if held:
                self.hold()
        return ask(self._control, message, timeout_s or self.silence_s, arrays)
