"""A device of another machine, over the system's own ``ssh``; nothing is installed there.

Each connection carries :mod:`netdyno.devices.agent` as its first bytes, and frames after that: one to the machine
itself (its files, its cache of models, its lock), one for each worker. The user's configuration, agent and jump hosts
are ``ssh``'s own affair. A model's file travels once, and is kept there by its digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import re
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netdyno.base.artifact import Artifact, TensorSpec
from netdyno.base.errors import DeviceBusy, DeviceError, InputError, MeasurementInvalid, ModelError, UnknownName
from netdyno.base.files import cache_folder, make_folder, read_text, write_atomic
from netdyno.devices.device import DeviceInfo, LoadReading, Settings
from netdyno.devices.host import Host
from netdyno.devices.jetson.device import METER, SETTLE_S, rail_meters, rail_problems, require_jetson
from netdyno.devices.jetson.host import JetsonHost
from netdyno.devices.jetson.rails import Monitors
from netdyno.devices.lock import DeviceLock
from netdyno.devices.meters import POLL_S, Meter
from netdyno.devices.runtimes import concrete, default_inputs, require_dtype
from netdyno.devices.tree import Snapshot
from netdyno.devices.wire import Frame
from netdyno.devices.worker import Worker
from netdyno.devices.workers import Loaded, WorkerDevice

_LOGGER = logging.getLogger("netdyno")
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=15", "ControlMaster=no")
_IDENTIFIER = re.compile(
    r"ssh://(?P<target>(?:[\w.+-]+@)?(?:[\w][\w.-]*|\[[0-9a-fA-F:.%]+\]))(?::(?P<port>\d{1,5}))?"
    r"/(?P<device>[\w:.-]+)(?:\?python=(?P<python>[\w./~+-]+))?",
    re.ASCII,
)
_FORMS = "ssh://USER@HOST:PORT/cpu?python=/usr/bin/python3, all but host and device optional"
HOSTS: Mapping[str, type[Host]] = {"cpu": Host, "jetson": JetsonHost}
_FORMATS = {"onnxruntime": "onnx", "litert": "tflite"}
_PACKAGES = {"onnxruntime": ("onnxruntime",), "litert": ("ai-edge-litert", "tflite-runtime")}
_ADVICE = {
    "Host key verification failed": "its key is not the one known, or none is known; connect once by hand and see",
    "Permission denied": "it takes none of your keys",
    "not found": "there is no such Python there; name one with ?python=",
    "No such file": "there is no such Python there; name one with ?python=",
}
"""What ssh or the shell there says, and what it comes to."""
NO_METER = "energy of another machine's CPU is not read yet"
_HOLDING: dict[str, int] = {}
"""Which object of this process holds a device; the lock of this machine does not tell objects apart."""
_CONNECT_S = 60.0
_LONGEST = 500
_POLL_S = 0.5


@dataclass(frozen=True)
class Address:
    """The parts of an identifier such as ``ssh://user@host:22/cpu?python=/opt/python3``."""

    target: str
    port: str
    device: str
    python: str

    def anonymous(self) -> str:
        """The device's name in tables, which tells it from others and says nothing of people or hosts."""
        return f"ssh:{hashlib.sha256(f'{self.target}:{self.port}'.encode()).hexdigest()[:8]}/{self.device}"

    def command(self, *arguments: str) -> list[str]:
        """What starts the agent there; it reads its own text from its standard input."""
        length = len(agent_text())
        program = (
            'import os,sys;sys.path[:]=[p for p in sys.path if p];s=b"";'
            f'exec("while len(s)<{length}:s+=os.read(0,{length}-len(s)) or os._exit(3)");'
            'exec(compile(s,"netdyno agent","exec"))'
        )
        remote = f"exec {self.python} -u -c {shlex.quote(program)} {shlex.join(arguments)}"
        port = ("-p", self.port) if self.port else ()
        options = [word for option in _OPTIONS for word in ("-o", option)]
        return ["ssh", "-T", *options, *port, "--", self.target.replace("[", "").replace("]", ""), remote]


def parse_address(identifier: str) -> Address:
    """The parts of an identifier.

    Raises:
        InputError: it is none.
    """
    found = _IDENTIFIER.fullmatch(identifier)
    if found is None:
        raise InputError(f"not an address: {identifier!r}; it is {_FORMS}", device=identifier)
    if found["device"] not in HOSTS:
        raise UnknownName("device of another machine", found["device"], HOSTS)
    return Address(found["target"], found["port"] or "", found["device"], found["python"] or "python3")


def client_name() -> str:
    """A name for this cache folder's user, which tells others apart and says nothing of them."""
    path = make_folder(cache_folder()) / "client"
    if not path.exists():
        write_atomic(path, secrets.token_hex(16))
    return read_text(path).strip()


def agent_text() -> bytes:
    """The one file that runs there."""
    return Path(__file__).with_name("agent.py").read_bytes()


class SshWorker(Worker):
    """A process of the agent at the other end of a connection; if that breaks, the machine is lost, not the model."""

    def __init__(self, address: Address, *arguments: str) -> None:
        try:
            super().__init__(address.command(*arguments), on_stdout=True, preface=agent_text())
        except FileNotFoundError as error:
            raise DeviceError(f"{address.target}: there is no ssh on this machine to reach it with") from error
        self.target = address.target

    def exchange(self, request: Frame, timeout_s: float) -> Frame:
        """Send a request and wait for the answer; whatever goes wrong says where."""
        try:
            return super().exchange(request, timeout_s)
        except DeviceError as error:
            text = str(error).removeprefix(f"{self.target}: ")
            raise DeviceError(f"{self.target}: {text}") from error

    def ended(self, code: int, last_line: str) -> DeviceError:
        """The error of a connection that ended."""
        says = last_line.removeprefix("ssh: ") or f"the connection ended (exit code {code})"
        advice = next((text for said, text in _ADVICE.items() if said in says), "")
        return DeviceError(f"{self.target}: {says}{f' ({advice})' if advice else ''}")


@contextmanager
def understood(target: str) -> Iterator[None]:
    """Whatever is made of an answer, what cannot be is the other end's fault."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, MemoryError) as error:
        raise DeviceError(f"{target}: answered with something that is no answer ({type(error).__name__})") from error


@dataclass(frozen=True)
class Hello:
    """What the other machine says of itself."""

    about: Mapping[str, str | int]
    versions: Mapping[str, str]
    cache: str

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Hello:
        """Take it out of an answer; raises what a foreign answer makes it."""
        about: dict[str, str | int] = {name: _short(said["about"][name]) for name in ("architecture", "kernel")}
        about["usable_cpus"] = int(said["about"]["usable_cpus"])
        return cls(about, {_short(name): _short(v) for name, v in said["versions"].items()}, _short(said["cache"]))


def _short(text: Any) -> str:
    if not isinstance(text, str) or len(text.encode()) > _LONGEST or not text.isprintable():
        raise ValueError("no short text")
    return text


class RemoteRails(Meter):
    """Power of another board's rails, which the agent there reads and sums up."""

    name = METER
    settle_s = SETTLE_S

    def __init__(self, address: Address, monitors: Monitors, note: str) -> None:
        self.note = note
        self._agent = SshWorker(address, "control")
        rails = [rail.files for rail in monitors.total()]
        ask(self._agent, {"do": "watch", "rails": rails, "period_s": POLL_S}, _CONNECT_S)

    def read_mj(self) -> float:
        """Energy in mJ since this meter was made.

        Raises:
            MeasurementInvalid: it reads no power at all.
            DeviceError: the connection is lost, or the rails cannot be read any more.
        """
        said = ask(self._agent, {"do": "energy"}, _CONNECT_S)
        with understood(self._agent.target):
            power_mw, energy_mj = float(said["power_mw"]), float(said["mj"])
        if not (0 < power_mw < math.inf and 0 <= energy_mj < math.inf):
            raise MeasurementInvalid(f"{self.name}: {power_mw:g} mW is no reading of a board that runs")
        return energy_mj

    @property
    def alive(self) -> bool:
        """Whether it still reads."""
        return self._agent.alive

    def close(self) -> None:
        """End the agent that reads the rails."""
        self._agent.end()


class SshDevice(WorkerDevice):
    """A device of another machine: its CPU's runtimes, and what a Jetson tells of itself if it is one.

    Raises:
        InputError: no such address.
        DeviceError: the machine cannot be reached, or has no Python, none of the runtimes, or is no Jetson.
    """

    def __init__(self, identifier: str, *, lock_wait_s: float = 120.0, silence_s: float = 600.0) -> None:
        self._address = parse_address(identifier)
        super().__init__(self._address.anonymous(), silence_s)
        self._lock_wait_s = lock_wait_s
        self._sent: set[str] = set()
        self._inputs: dict[tuple[str, tuple[TensorSpec, ...]], tuple[TensorSpec, ...]] = {}
        self._held = False
        self._rails: RemoteRails | None = None
        self._lock = DeviceLock(self.id, wait_s=lock_wait_s)
        self._control = SshWorker(self._address, "control")
        said = self._ask({"do": "hello"}, timeout_s=_CONNECT_S)
        with understood(self._address.target):
            self._hello = Hello.of(said)
        self._machine = HOSTS[self._address.device]
        self._monitors: Monitors | None = None
        host = self._host()
        if isinstance(host, JetsonHost):
            self._monitors = require_jetson(host)
        there = self._hello.versions
        self.formats: Mapping[str, str] = {
            name: kind for name, kind in _FORMATS.items() if any(package in there for package in _PACKAGES[name])
        }
        if not self.formats:
            python = f"{self._address.python} {there.get('python')}"
            text = f"{self._address.target}: {python} has neither onnxruntime nor LiteRT; name another with ?python="
            raise DeviceError(text, device=self.id)

    @property
    def cache(self) -> str:
        """The folder that is left on the other machine: models by their digest, and lock files."""
        return f"{self._address.target}:{self._hello.cache}"

    def info(self) -> DeviceInfo:
        """The processor there, its memory and system, and the versions of its runtimes."""
        host = self._host()
        return DeviceInfo(self.id, host.kind, host.name(), host.facts(), dict(self._hello.versions))

    def state(self) -> Mapping[str, str | int | float]:
        """Clocks, governor, load, steal, throttling and temperature, as far as the machine tells them."""
        return self._host().state()

    def faults(
        self, before: Mapping[str, str | int | float], after: Mapping[str, str | int | float]
    ) -> Sequence[str]:
        """Throttling, another governor or power supply, time stolen by other machines on the host."""
        return self._machine.faults(before, after)

    def hold(self) -> None:
        """Keep other users of that machine's cache folder from its CPU until :meth:`close`.

        Raises:
            DeviceBusy: another process there holds it.
            DeviceError: the connection is lost, or the cache folder cannot be written.
        """
        self._lock.acquire()  # who has it here knows that a holder there of the same name is a run that was cut off
        deadline, told = time.monotonic() + self._lock_wait_s, False
        while not (self._held and self._control.alive):
            rival = _HOLDING.get(self.id)
            client = client_name() if rival in (None, id(self)) else ""
            said = self._ask({"do": "lock", "device": "cpu", "client": client})
            self._held = said.get("held") is True
            if self._held:
                _HOLDING[self.id] = id(self)
                return
            if time.monotonic() > deadline:
                text = f"{self._address.target} is in use by another process; try again when it is done"
                raise DeviceBusy(text, device=self.id)
            if not told:
                _LOGGER.warning("%s is in use; waiting up to %g s", self._address.target, self._lock_wait_s)
                told = True
            time.sleep(_POLL_S)

    def meters(self) -> tuple[Meter, ...]:
        """The power of a Jetson's rails, where they make up a total."""
        if self._monitors is None:
            return ()
        if self._rails is None or not self._rails.alive:
            rail_meters(self._monitors, self._watch)
        return () if self._rails is None else (self._rails,)

    def _watch(self, note: str) -> Meter:
        assert self._monitors is not None
        self._rails = RemoteRails(self._address, self._monitors, note)
        return self._rails

    def meter_problems(self) -> Sequence[str]:
        """Why there is no meter."""
        return [NO_METER] if self._monitors is None else rail_problems(self._monitors)

    def start_worker(self, kind: str, runtime: str) -> Worker:
        """A process of the agent there, with a connection of its own."""
        return SshWorker(self._address, kind, runtime)

    def load_model(self, worker: Worker, number: int, artifact: Artifact, settings: Settings) -> Loaded:
        """Have a worker load an artifact that its machine already keeps."""
        try:
            with understood(self._address.target):
                return self._load(worker, number, artifact, settings)
        except ModelError:  # what it has found of the model is of no use any more
            with contextlib.suppress(DeviceError):
                worker.ask(Frame({"do": "close", "session": number}), timeout_s=self.silence_s)
            raise

    def _load(self, worker: Worker, number: int, artifact: Artifact, settings: Settings) -> Loaded:
        path = self._send(artifact)
        find = {"do": "find", "session": number, "path": path, "threads": settings.threads}
        found = worker.ask(Frame(find), timeout_s=self.silence_s).message
        shapes = {spec.name: spec.shape for spec in artifact.inputs}
        inputs = concrete([(str(name), sides, str(dtype)) for name, sides, dtype in found["inputs"]], shapes)
        for name, dtype in found["outputs"]:
            require_dtype(str(name), str(dtype))
        self._inputs[artifact.sha256, artifact.inputs] = inputs
        load = {"do": "load", "session": number, "shapes": [spec.shape for spec in inputs]}
        said = worker.ask(Frame(load, default_inputs(inputs)), timeout_s=self.silence_s).message
        load_ms, first_ms = float(found["load_ms"]) + float(said["load_ms"]), float(said["first_ms"])
        return Loaded(inputs, LoadReading(load_ms, first_ms))

    def measure_memory(self, worker: Worker, artifact: Artifact, settings: Settings) -> int:
        """Have a worker measure an artifact's peak memory in bytes; its inputs were found when it was opened."""
        inputs = self._inputs[artifact.sha256, artifact.inputs]
        message = {
            "path": self._send(artifact),
            "threads": settings.threads,
            "shapes": [spec.shape for spec in inputs],
        }
        said = worker.ask(Frame(message, default_inputs(inputs)), timeout_s=self.silence_s).message
        with understood(self._address.target):
            return int(said["bytes"])

    def close(self) -> None:
        """End the connections and let other users in; sessions that are still open are gone then."""
        self.restart()
        if self._rails is not None:
            self._rails.close()
        self._control.end()
        if self._held:
            _HOLDING.pop(self.id, None)
        self._held = False
        self._lock.release()

    def _host(self) -> Host:
        said = self._ask({"do": "files", "patterns": self._machine.patterns})
        with understood(self._address.target):
            files = {str(path): str(text) for path, text in said["files"].items()}
        return self._machine(Snapshot(files), self._hello.about)

    def _send(self, artifact: Artifact) -> str:
        """Make sure that the other machine keeps a model; returns its path there."""
        sha256 = artifact.sha256
        if sha256 not in self._sent:
            if self._ask({"do": "has", "sha256": sha256}).get("has") is not True:
                data = np.frombuffer(artifact.data, np.uint8)
                self._ask({"do": "put", "sha256": sha256}, {"model": data})
            self._sent.add(sha256)
        return f"{self._hello.cache}/models/{sha256}"

    def _ask(
        self, message: dict[str, Any], arrays: Mapping[str, Any] | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """What the machine itself answers."""
        if not self._control.alive:
            held, self._held = self._held, False
            self._control = SshWorker(self._address, "control")
            if held:
                self.hold()
        return ask(self._control, message, timeout_s or self.silence_s, arrays)


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
