"""Devices whose models run in processes of the agent, on this machine or at the other end of a connection."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact, Feeding, ModelFile, TensorSpec
from netdyno.base.errors import DeviceError, InputError
from netdyno.devices.agent.tensorrt import BUILD_S
from netdyno.devices.agent.work import MODEL
from netdyno.devices.device import LoadReading, Settings
from netdyno.devices.feeding import Fed, feed
from netdyno.devices.inputs import FedInput
from netdyno.devices.operators import OperatorProfile, OperatorTimes
from netdyno.devices.signature import signature
from netdyno.devices.wire import Frame
from netdyno.devices.worker import Worker, WorkerBase, python_worker
from netdyno.devices.workers import Loaded, WorkerDevice

AGENT = "netdyno.devices.agent.main"
CPU, CUDA = "cpu", "cuda"
_TENSORRT = "tensorrt"
LONGEST_US = 1e12
_NO_ANSWER = (
    AttributeError, IndexError, KeyError, MemoryError, OverflowError, RecursionError, TypeError, ValueError
)  # fmt: skip
"""What taking an answer apart makes of one that is none."""
MOST_BYTES = 1 << 50
_NO_SESSION = -1
_MARGIN_S = 60.0
_FILES = ("onnxruntime", "onnxruntime-cuda", "litert")
"""Runtimes whose models open files themselves."""

Key = tuple[str | ModelFile, tuple[TensorSpec, ...], Feeding]


def key_of(artifact: Artifact) -> Key:
    """Artifacts that are fed alike; a digest of gigabytes takes seconds, so files go by their names."""
    return artifact.file or artifact.sha256, artifact.inputs, artifact.feeding


class Connection(ABC):
    """A way to a machine; ``target`` is what messages call it."""

    target: str

    @abstractmethod
    def start(self, *arguments: str) -> Worker:
        """A process of the agent there."""


class LocalConnection(Connection):
    """The agent as a process of this Python."""

    target = "this machine"

    def start(self, *arguments: str) -> Worker:
        """A process of the agent here."""
        return python_worker(AGENT, *arguments, on_stdout=True)


@contextmanager
def understood(target: str) -> Iterator[None]:
    """Whatever is made of an answer, what cannot be is the other end's fault."""
    try:
        yield
    except _NO_ANSWER as error:
        raise DeviceError(f"{target}: answered with something that is no answer ({type(error).__name__})") from error


class AgentDevice(WorkerDevice):
    """A device behind a connection; a subclass says what runs there, and on what.

    ``places`` are the runtimes that do not run on the CPU, ``gpu`` the UUID of the GPU that they are to see.
    """

    places: Mapping[str, str] = {}
    gpu: str = ""

    def __init__(self, identifier: str, connection: Connection, silence_s: float) -> None:
        super().__init__(identifier, silence_s)
        self.connection = connection
        self._found: dict[Key, list[tuple[str, Any, str]]] = {}

    def start_worker(self, kind: str, runtime: str, settings: Settings) -> WorkerBase:
        """A process of the agent for a runtime."""
        if settings.cores:
            raise InputError(f"{self.id}: cores are chosen on phones only", device=self.id)
        limit = (f"limit={settings.memory_limit_bytes}",) if settings.memory_limit_bytes else ()
        gpu = (self.gpu,) if self.gpu else ()
        return self.connection.start(kind, runtime, self.places.get(runtime, CPU), *limit, *gpu)

    def start(self, settings: Settings) -> None:
        """Have a worker that has imported its runtime."""
        if not settings.runtime:
            return  # each model has that of its format
        self.hold()
        worker = self._worker("work", settings.runtime, settings)
        worker.ask(Frame({"do": "close", "session": _NO_SESSION}), timeout_s=self.silence_s)

    def load_model(self, worker: WorkerBase, number: int, artifact: Artifact, settings: Settings) -> Loaded:
        """Have a worker load an artifact."""
        try:
            with understood(self.connection.target):
                return self._load(worker, number, artifact, settings)
        except InputError:  # what it has found of the model is of no use any more
            with contextlib.suppress(DeviceError):
                worker.ask(Frame({"do": "close", "session": number}), timeout_s=self.silence_s)
            raise

    def measure_memory(self, worker: WorkerBase, artifact: Artifact, settings: Settings) -> int:
        """Have a worker measure an artifact's peak memory in bytes; open inputs were found when it was opened."""
        message, arrays = self._request(artifact, settings)
        about, inputs = self.fed(artifact, settings).on_wire()
        said = worker.ask(Frame(message | about, arrays | inputs), timeout_s=self.silence_s).message
        with understood(self.connection.target):
            taken = int(said["bytes"])
            if not 0 <= taken < MOST_BYTES:
                raise ValueError("memory that no machine has")
            return taken

    def profile_operators(self, artifact: Artifact, settings: Settings, inferences: int) -> OperatorProfile:
        """Times of each of an engine's layers from TensorRT's profiler; see :meth:`Device.profile_operators`.

        It tells only means, so each is that of all inferences of a call.
        """
        runtime = self.runtime_for(artifact, settings)
        if runtime != _TENSORRT:
            return super().profile_operators(artifact, settings, inferences)
        with self.open(artifact, settings) as session:
            said = session.ask({"do": "operators"}, inferences).message
            with understood(self.connection.target):
                told = [(str(name), float(mean_us)) for name, mean_us in said["operators"]]
                if not told or not all(0 <= mean_us < LONGEST_US for _, mean_us in told):
                    raise ValueError("times that nothing takes")
            whole_us = (session.time(inferences) / 1e3).tolist()
        operators = [OperatorTimes("layer", name, "TensorRT", latency_us=[mean_us]) for name, mean_us in told]
        return OperatorProfile(operators, whole_us)

    def unmetered(self, settings: Settings) -> str:
        """Why energy cannot be told of work under these settings."""
        if settings.runtime == _TENSORRT:
            return "each call of trtexec is mostly its start; choose another runtime"
        return "emptying the cache takes energy too; leave out --cold-cache" if settings.cold_cache else ""

    def fed(self, artifact: Artifact, settings: Settings) -> Fed:
        """Inputs that a model is fed; a foreign one that was not opened yet is opened for it."""
        found = self._found.get(key_of(artifact)) or [(own.name, own.shape, own.dtype) for own in artifact.inputs]
        if not found:
            self.open(artifact, settings).close()
            found = self._found[key_of(artifact)]
        return feed(artifact, found)

    def inputs_of(self, artifact: Artifact) -> tuple[FedInput, ...]:
        """Inputs that a model was fed when it was opened; see :meth:`Device.inputs_of`."""
        found = self._found.get(key_of(artifact))
        return () if found is None else feed(artifact, found).inputs

    def model(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What hands an artifact to a worker: its bytes, which travel with the request."""
        return {}, {MODEL: np.frombuffer(artifact.data, np.uint8)}

    def local_model(self, artifact: Artifact, runtime: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Message that hands an artifact to a process of this machine: its file's path, where it is a file.

        With links that lead out of its folder it is the model without its external data, and where that lies.
        """
        file = artifact.file
        if file is None or runtime not in _FILES:
            return {}, {MODEL: np.frombuffer(artifact.data, np.uint8)}
        if file.moved:
            return {"options": {"folder": "/"}}, {MODEL: np.frombuffer(file.moved, np.uint8)}
        return {"path": str(file.path)}, {}

    def _request(self, artifact: Artifact, settings: Settings) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        runtime = self.runtime_for(artifact, settings)
        if settings.cold_cache and (self.places.get(runtime, CPU) == CPU or runtime == _TENSORRT):
            where = "before each inference of trtexec" if runtime == _TENSORRT else "of a CPU"
            raise InputError(f"{self.id}: there is no way to empty the caches {where}", device=self.id)
        options: dict[str, Any] = {"cold": True} if settings.cold_cache else {}
        if runtime == _TENSORRT:  # which does not tell them itself
            options["signature"] = signature(artifact)
        if artifact.feeding.signature:
            if runtime != "litert":
                raise InputError("signatures are those of TFLite models on LiteRT")
            options["signature"] = artifact.feeding.signature
        local = isinstance(self.connection, LocalConnection)
        message, arrays = self.local_model(artifact, runtime) if local else self.model(artifact)
        options |= message.pop("options", {})
        return message | {"threads": settings.threads, "options": options}, arrays

    def _load(self, worker: WorkerBase, number: int, artifact: Artifact, settings: Settings) -> Loaded:
        message, arrays = self._request(artifact, settings)
        request = Frame(message | {"do": "find", "session": number}, arrays)
        found = worker.ask(request, timeout_s=self.silence_s).message
        described = [(str(name), sides, str(dtype)) for name, sides, dtype in found["inputs"]]
        fed = feed(artifact, described)
        self._found[key_of(artifact)] = described
        about, arrays = fed.on_wire()
        load = Frame({"do": "load", "session": number} | about, arrays)
        building = self.runtime_for(artifact, settings) == _TENSORRT
        timeout_s = max(self.silence_s, BUILD_S + _MARGIN_S) if building else self.silence_s
        said = worker.ask(load, timeout_s=timeout_s).message
        load_ms, first_ms = float(found["load_ms"]) + float(said["load_ms"]), float(said["first_ms"])
        return Loaded(fed.specs, LoadReading(load_ms, first_ms))
