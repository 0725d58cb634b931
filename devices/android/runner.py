"""What runs models on a phone: Google's ``benchmark_model``, or netdyno's own runner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact
from netdyno.base.errors import DeviceError
from netdyno.devices.android.cores import Cluster, choose_cores, pinned
from netdyno.devices.android.files import Files
from netdyno.devices.android.transport import Transport
from netdyno.devices.device import Settings
from netdyno.devices.operators import OperatorProfile
from netdyno.devices.worker import WorkerBase
from netdyno.devices.workers import Loaded


class PhoneWorker(WorkerBase):
    """What keeps models on a phone, or weighs them."""

    @abstractmethod
    def load(self, number: int, artifact: Artifact, settings: Settings) -> Loaded:
        """Load an artifact as the model of that number; raises as :meth:`WorkerDevice.load_model` does."""

    def run_all(self, turns: Sequence[tuple[int, int]], timeout_s: float) -> Iterator[NDArray[np.int64]]:
        """Latencies in ns of several models, by number and how often each runs, one after the other."""
        raise DeviceError("no models are kept here")

    @abstractmethod
    def peak_bytes(self, artifact: Artifact, settings: Settings) -> int:
        """Peak memory in bytes that an artifact takes; raises as :meth:`load` does."""


class PhoneRunner(ABC):
    """A program that runs models; ``machine`` is the phone's processor.

    ``formats`` and ``together`` are those of a device. ``note`` is what users are to know, told once.
    """

    formats: Mapping[str, str]
    together: int = 1
    note: str = ""

    def __init__(self, transport: Transport, machine: str, files: Files, clusters: Sequence[Cluster] = ()) -> None:
        self.transport, self.machine, self.files, self._clusters = transport, machine, files, clusters

    def prefix(self, settings: Settings) -> list[str]:
        """The command that starts the program on the cores of ``settings``.

        Raises:
            InputError: this phone has no such cores.
        """
        return pinned(choose_cores(settings.cores, self._clusters)) if settings.cores else []

    @abstractmethod
    def prepare(self) -> None:
        """Have what it takes on this machine.

        Raises:
            DeviceError: it is not to be had; the message says what would change that.
        """

    @abstractmethod
    def versions(self) -> Mapping[str, str]:
        """Versions and digests of what runs; none of what is not here yet."""

    @abstractmethod
    def start(self, kind: str, settings: Settings) -> PhoneWorker:
        """What keeps models (``work``) or weighs them (``memory``)."""

    @abstractmethod
    def profile_operators(self, artifact: Artifact, settings: Settings, inferences: int) -> OperatorProfile:
        """Times of operators; raises as :meth:`Device.profile_operators` does."""

    def unmetered(self, settings: Settings) -> str:
        """Why energy cannot be told of its work; empty if it can."""
        return ""
