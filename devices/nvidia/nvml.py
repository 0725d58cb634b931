"""One NVIDIA GPU through NVML, the driver's own library; clocks and modes are read, never set.

GPUs are counted as ``nvidia-smi`` counts them, in the order of the PCI bus, among those that
``CUDA_VISIBLE_DEVICES`` leaves visible. CUDA itself counts the fastest first unless ``CUDA_DEVICE_ORDER`` is
``PCI_BUS_ID``; so what is to run on a GPU has to be told its UUID, never its number.

This module and those that it needs are also sent to other machines, to run under Python >= 3.8 there.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

from netdyno.base.closing import Closing
from netdyno.base.errors import DeviceError, InputError, MissingExtra

T = TypeVar("T")

PACKAGE = "nvidia-ml-py"
_THROTTLES = {
    "power_limit_ns": (74, "held back by its power limit"),
    "heat_ns": (75, "throttled by heat"),
    "heat_software_ns": (269, "slowed down by the driver for heat"),
    "heat_hardware_ns": (270, "slowed down by the hardware for heat"),
    "power_brake_ns": (271, "slowed down by the power brake"),
}
"""Time that the GPU spent so, by NVML's field."""
_FIXED = {"power_limit_w": "the power limit was changed"}
_WIDTHS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}


class Nvml(Closing):
    """The library, loaded and initialised; a context manager.

    Raises:
        MissingExtra: its Python package is not installed.
        DeviceError: there is no driver, or it does not answer.
    """

    def __init__(self) -> None:
        try:
            import pynvml
        except ImportError:
            text = f"NVIDIA GPUs need {PACKAGE}: pip install 'netdyno[nvidia]'"
            raise MissingExtra(text) from None
        self.library: ModuleType = pynvml
        self._open = False
        with self.errors("NVML"):
            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError_LibraryNotFound as error:
                raise DeviceError("no NVIDIA driver here: NVML, libnvidia-ml.so.1, is missing") from error
        self._open = True

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """NVML's errors as netdyno's own."""
        try:
            yield
        except (self.library.NVMLError, UnicodeError) as error:
            raise DeviceError(f"{what}: {error}") from error

    def visible(self) -> list[Any]:
        """Handles of the GPUs that CUDA programs of this process see, ``cuda:0`` first.

        As CUDA does, reading ``CUDA_VISIBLE_DEVICES`` ends at the first entry that names no GPU, or that is a number
        where the first was a UUID; a GPU named twice leaves none.

        Raises:
            DeviceError: the driver does not answer.
            InputError: an entry names a slice of a GPU (MIG).
        """
        with self.errors("NVML"):
            handles = [
                self.library.nvmlDeviceGetHandleByIndex(index) for index in range(self.library.nvmlDeviceGetCount())
            ]
            uuids = [_text(self.library.nvmlDeviceGetUUID(handle)) for handle in handles]
        wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
        if wanted is None:
            return handles
        indices = _visible(wanted, uuids)
        return [handles[index] for index in indices] if len(set(indices)) == len(indices) else []

    def close(self) -> None:
        """Let the library go; a second call does nothing."""
        if self._open:
            with contextlib.suppress(self.library.NVMLError):  # it is gone either way
                self.library.nvmlShutdown()
        self._open = False


class Gpu:
    """The GPU of an identifier such as ``cuda:0``; ``cuda`` alone is the first.

    Raises:
        InputError: no such identifier, or the GPU is cut into slices (MIG), of which no power can be told.
        DeviceError: no such GPU here, or the driver does not answer.
    """

    def __init__(self, nvml: Nvml, identifier: str = "cuda:0") -> None:
        kind, _, number = identifier.partition(":")
        if kind != "cuda" or not re.fullmatch(r"\d{0,4}", number, re.ASCII):
            raise InputError(f"no such device: {identifier!r}; NVIDIA GPUs are cuda:0, cuda:1, …", device=identifier)
        self.id = f"cuda:{int(number or 0)}"
        self._nvml = nvml
        handles = nvml.visible()
        if int(number or 0) >= len(handles):
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            hidden = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible!r})"
            raise DeviceError(f"{self.id}: {len(handles)} GPUs are visible{hidden}", device=self.id)
        self.handle = handles[int(number or 0)]
        if self._sliced():
            text = f"{self.id}: cut into slices (MIG), of which no power can be told; nvidia-smi -mig 0 ends that"
            raise InputError(text, device=self.id)

    def _sliced(self) -> bool:
        """Whether it is cut into slices; GPUs and drivers that cannot be do not know the question."""
        library = self._nvml.library
        try:
            with self._nvml.errors(self.id):
                return bool(library.nvmlDeviceGetMigMode(self.handle)[0])
        except DeviceError as error:
            code = getattr(error.__cause__, "value", None)
            if code in (library.NVML_ERROR_NOT_SUPPORTED, library.NVML_ERROR_FUNCTION_NOT_FOUND):
                return False
            raise

    @property
    def name(self) -> str:
        """The product's name."""
        return _text(self.require("nvmlDeviceGetName"))

    @property
    def uuid(self) -> str:
        """What CUDA calls exactly this GPU; it identifies a unit, and belongs into no table."""
        return _text(self.require("nvmlDeviceGetUUID"))

    def facts(self) -> dict[str, str | int | float]:
        """What does not change while the driver is loaded; what it does not tell is left out."""
        memory = self.ask("nvmlDeviceGetMemoryInfo")
        driver = _guarded(self._nvml, self._nvml.library.nvmlSystemGetDriverVersion)
        cuda = _guarded(self._nvml, self._nvml.library.nvmlSystemGetCudaDriverVersion)
        facts = {
            "gpu_memory_bytes": None if memory is None else int(memory.total),
            "driver": None if driver is None else _text(driver),
            "cuda": None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
        }
        return {name: value for name, value in facts.items() if value is not None}

    def state(self) -> dict[str, str | int | float]:
        """What may change while measuring; times grow, so it is their difference that matters."""
        library = self._nvml.library
        asked = {
            "clock_mhz": self.ask("nvmlDeviceGetClockInfo", library.NVML_CLOCK_SM),
            "memory_clock_mhz": self.ask("nvmlDeviceGetClockInfo", library.NVML_CLOCK_MEM),
            "temperature_c": self.ask("nvmlDeviceGetTemperature", library.NVML_TEMPERATURE_GPU),
            **{name: self.field(field) for name, (field, _) in _THROTTLES.items()},
        }
        limit_mw = self.ask("nvmlDeviceGetEnforcedPowerLimit")
        processes = self.ask("nvmlDeviceGetComputeRunningProcesses")
        asked["power_limit_w"] = None if limit_mw is None else limit_mw / 1e3
        asked["compute_processes"] = None if processes is None else len(processes)
        return {name: value for name, value in asked.items() if value is not None}

    def field(self, number: int, scope: int = 0) -> int | float | None:
        """The value of one of NVML's fields; None where this GPU or driver has none."""
        values = self.ask("nvmlDeviceGetFieldValues", [(number, scope)])
        if values is None or values[0].nvmlReturn != self._nvml.library.NVML_SUCCESS:
            return None
        member = _WIDTHS.get(values[0].valueType)
        return None if member is None else getattr(values[0].value, member)

    def require(self, function: str, *arguments: Any) -> Any:
        """What a function of NVML says of this GPU.

        Raises:
            DeviceError: it says nothing.
        """
        with self._nvml.errors(self.id):
            return getattr(self._nvml.library, function)(self.handle, *arguments)

    def ask(self, function: str, *arguments: Any) -> Any:
        """What a function of NVML says of this GPU; None where the GPU or the driver does not have it."""
        return _guarded(self._nvml, getattr(self._nvml.library, function), self.handle, *arguments)


def gpu_faults(before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[str]:
    """Why readings between two states of a GPU are not to be trusted; what it does not tell cannot speak."""
    told = set(before) & set(after)
    faults = [text for name, text in _FIXED.items() if name in told and before[name] != after[name]]
    return faults + [text for name, (_, text) in _THROTTLES.items() if name in told and after[name] > before[name]]


def _guarded(nvml: Nvml, function: Callable[..., T], *arguments: Any) -> T | None:
    """A function's answer; None where this driver or GPU has none to give. A lost GPU is an error."""
    library = nvml.library
    lost = (library.NVML_ERROR_GPU_IS_LOST, library.NVML_ERROR_UNINITIALIZED, library.NVML_ERROR_RESET_REQUIRED)
    try:
        return function(*arguments)
    except library.NVMLError as error:
        if error.value in lost:
            raise DeviceError(f"the GPU is lost: {error}") from error
        return None
    except UnicodeError:
        return None


def _visible(wanted: str, uuids: Sequence[str]) -> list[int]:
    """The indices that CUDA_VISIBLE_DEVICES means, by number or by the beginning of just one UUID."""
    by_uuid = wanted.strip().startswith("GPU-")
    indices = []
    for entry in wanted.split(","):
        index = _by_uuid(entry.strip(), uuids) if by_uuid else _by_number(entry.strip(), len(uuids))
        if index is None:
            break
        indices.append(index)
    return indices


def _by_uuid(entry: str, uuids: Sequence[str]) -> int | None:
    matching = [index for index, uuid in enumerate(uuids) if entry.startswith("GPU-") and uuid.startswith(entry)]
    return matching[0] if len(matching) == 1 else None


def _by_number(entry: str, count: int) -> int | None:
    """What C's strtoul makes of it."""
    if entry.startswith("MIG"):
        raise InputError(f"CUDA_VISIBLE_DEVICES names a slice of a GPU (MIG), of which no power can be told: {entry}")
    number = re.match(r"\+?(\d{1,4})(?!\d)", entry, re.ASCII)
    return int(number[1]) if number and int(number[1]) < count else None


def _text(answer: str | bytes) -> str:
    return answer if isinstance(answer, str) else answer.decode(errors="replace")
