"""What a device is to the rest of netdyno: it opens artifacts, and a session runs one of them.

A new back end subclasses :class:`Device` and :class:`Session`, registers under the entry point group
``netdyno.devices``, and passes :class:`netdyno.devices.testing.DeviceConformance`.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netdyno.base.artifact import Artifact, TensorSpec
from netdyno.base.closing import Closing
from netdyno.base.errors import InputError, ModelError, UnknownName
from netdyno.base.registry import Registry
from netdyno.base.units import format_bytes
from netdyno.devices.meters import Meter
from netdyno.devices.operators import OperatorProfile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from netdyno.devices.inputs import FedInput

LEAST_LIMIT_BYTES = 64_000_000
"""Bytes that runtimes take for any model: stacks of threads, and their allocators' first pieces."""
DEVICES = Registry("device", "netdyno.devices")


@dataclass(frozen=True)
class Settings:
    """How a device runs an artifact; an empty ``runtime`` means the device's default for its format.

    With ``cold_cache`` a GPU's L2 cache is emptied before each inference. ``cores`` are those of a phone that it may
    run on: ``fastest``, ``slowest``, or numbers such as ``4-7``; all where it is empty. ``memory_limit_bytes`` is
    what a model may take of the machine's memory, 0 three quarters of it; with a GPU, 0 is no limit.
    """

    runtime: str = ""
    threads: int = 1
    cold_cache: bool = False
    cores: str = ""
    memory_limit_bytes: int = 0

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"threads must be at least 1, not {self.threads}")
        if self.memory_limit_bytes and self.memory_limit_bytes < LEAST_LIMIT_BYTES:
            least = format_bytes(LEAST_LIMIT_BYTES)
            raise InputError(f"a memory limit must be at least {least}, not {format_bytes(self.memory_limit_bytes)}")


DEFAULT_SETTINGS = Settings()


@dataclass(frozen=True)
class DeviceInfo:
    """Facts of a device that belong to every reading: what it is, and the versions of what runs there.

    ``facts`` holds text and numbers for a table's conditions; nothing in it identifies a person or a unit.
    """

    id: str
    kind: str
    name: str
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadReading:
    """What it took to get a model ready: ``load_ms`` to load it, ``first_ms`` for its first inference."""

    load_ms: float
    first_ms: float


@dataclass(frozen=True)
class Samples:
    """Raw readings of one call: ``latency_ns (repeat,) int64`` in order, and the last inference's outputs."""

    latency_ns: NDArray[np.int64]
    outputs: Mapping[str, NDArray[np.generic]]


class Session(Closing):
    """One artifact loaded on a device, for exclusive use; a context manager."""

    inputs: tuple[TensorSpec, ...]
    load: LoadReading
    averaged: bool = False
    """Whether the runtime tells no single times, so that all of a call are alike: their median, or their mean."""

    @abstractmethod
    def run(self, inputs: Mapping[str, NDArray[np.generic]] | None = None, repeat: int = 1) -> Samples:
        """Run ``repeat`` times one after the other and time each.

        ``inputs`` maps every name to an array as the model has it (for TFLite that is NHWC); None keeps those
        of the call before, at first a fixed pseudo-random set.

        Raises:
            InputError: an input's name, shape or dtype is not the model's, or ``repeat`` is below 1.
            WorkerLost: the process that runs the model died; the session is gone, the device is not.
        """

    def time(self, repeat: int) -> NDArray[np.int64]:
        """Latency in ns of each of ``repeat`` inferences, as :meth:`run` without inputs and outputs."""
        return self.run(repeat=repeat).latency_ns

    def work(self, repeat: int) -> None:
        """Run ``repeat`` times as fast as can be, with nothing beside it: what energy is read of."""
        self.run(repeat=repeat)

    @abstractmethod
    def peak_memory_bytes(self) -> int:
        """Peak memory that loading and running the artifact adds to an otherwise idle process of the runtime.

        Raises:
            WorkerLost: the process that measures it died.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the artifact; a second call does nothing."""


class Device(Closing):
    """Something that runs artifacts, for one user at a time; a context manager."""

    id: str
    formats: Mapping[str, str]
    """Runtime names, the default of each format first, to the artifact format that each one runs."""
    together: int = 1
    """How many sessions :meth:`time_all` should be asked for at once: many where each question takes its time."""

    @abstractmethod
    def info(self) -> DeviceInfo:
        """Facts of the device and versions of its runtimes."""

    @abstractmethod
    def state(self) -> Mapping[str, str | int | float]:
        """What may change while measuring: clocks, governor, load, temperature; read before and after."""

    def faults(
        self, before: Mapping[str, str | int | float], after: Mapping[str, str | int | float]
    ) -> Sequence[str]:
        """Why readings taken between two states are not to be trusted, a few words each; none if they are."""
        return ()

    @abstractmethod
    def restart(self) -> None:
        """Run what is opened from now on in new processes; sessions that are open are gone."""

    def prepare(self) -> None:
        """Have what runs models at hand, before it is described or timed.

        Raises:
            DeviceError: it is not to be had; the message says what would change that.
        """

    def check(self, settings: Settings) -> None:
        """Refuse settings that the device does not have, before anything is opened with them.

        Raises:
            InputError: more threads than the CPUs that may be used there.
        """
        usable = self.info().facts.get("usable_cpus")
        if isinstance(usable, int) and settings.threads > usable:
            text = f"{self.id}: {settings.threads} threads, where no more than {usable} CPUs may be used"
            raise InputError(text, device=self.id)

    def start(self, settings: Settings) -> None:
        """Start what runs models under these settings, if they name a runtime; :meth:`open` would do so too.

        Raises:
            DeviceError: it does not start.
        """

    @abstractmethod
    def hold(self) -> None:
        """Keep other users out from now on; :meth:`open` does so too, :meth:`close` lets them in.

        Raises:
            DeviceBusy: another process holds it.
        """

    @abstractmethod
    def open(self, artifact: Artifact, settings: Settings = DEFAULT_SETTINGS) -> Session:
        """Load an artifact.

        Raises:
            ModelError: the runtime refuses it.
            UnknownName: no such runtime here.
            DeviceError: the device is busy, unreachable or lost.
        """

    def time_all(self, turns: Sequence[tuple[Session, int]]) -> Iterator[NDArray[np.int64]]:
        """Latencies in ns of several sessions, each as often as is said, in this order; see :meth:`Session.time`.

        Raises:
            ModelError: one is refused; it is the one after those that were yielded.
            WorkerLost: the process that runs them died, of any of them.
        """
        for session, repeat in turns:
            yield session.time(repeat)

    def profile_operators(self, artifact: Artifact, settings: Settings, inferences: int) -> OperatorProfile:
        """Times of each operator from the runtime's own profiler, and of whole inferences without it in between.

        Raises:
            ModelError: the runtime refuses the artifact, or has no profiler.
            WorkerLost: the process that runs the model died.
        """
        raise ModelError(f"{self.id}: no profiler of operators here", device=self.id, artifact=artifact.name)

    def inputs_of(self, artifact: Artifact) -> tuple[FedInput, ...]:
        """Default inputs of an artifact that was opened here, in words; nothing where they are not known."""
        return ()

    def meters(self) -> tuple[Meter, ...]:
        """The energy meters that can be read here and now."""
        return ()

    def unmetered(self, settings: Settings) -> str:
        """Why energy cannot be told of work under these settings, whatever the meter; empty if it can."""
        return ""

    def unfit(self) -> str:
        """Why a meter's readings would mean nothing now, as those of a battery on a charger; empty if not."""
        return ""

    def meter_problems(self) -> Sequence[str]:
        """Why there are not more meters, a line each."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """Let other users in; a second call does nothing."""

    def runtime_for(self, artifact: Artifact, settings: Settings) -> str:
        """The runtime that ``settings`` ask for, or the default for the artifact's format.

        Raises:
            UnknownName: no such runtime here.
            InputError: the runtime does not run this format.
        """
        for runtime, runs in self.formats.items():
            if settings.runtime in ("", runtime) and runs == artifact.format:
                return runtime
        if settings.runtime and settings.runtime not in self.formats:
            raise UnknownName("runtime", settings.runtime, self.formats)
        runtime = settings.runtime or "any runtime here"
        raise InputError(
            f"{self.id}: no way to run a .{artifact.format} model with {runtime}",
            device=self.id,
            artifact=artifact.name,
        )


def open_device(identifier: str, **options: Any) -> Device:
    """The device of an identifier such as ``cpu``, ``cuda:0``, ``android:SERIAL`` or ``ssh://user@host/cpu``.

    What stands before the first ``:`` is the registered name; the implementation parses the rest. ``options`` are its
    own: phones take ``runner`` and ``fetch``.

    Raises:
        UnknownName: no back end of that name.
        InputError: it has no such option.
        DeviceError: it cannot be reached.
    """
    name, _, _ = identifier.partition(":")
    make = DEVICES.load(name)
    for option in options:
        if option not in inspect.signature(make).parameters:
            raise InputError(f"{identifier}: there is no choice of {option} here")
    device: Device = make(identifier, **options)
    return device
