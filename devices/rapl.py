"""Energy of the processor packages from Linux' powercap tree (Intel RAPL; AMD shows the same tree)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from netdyno.base.errors import DeviceError, MeasurementInvalid
from netdyno.devices.meters import Meter

_UJ_PER_MJ = 1e3
_STANDSTILL_S = 0.1
"""Counters tick every millisecond; one that has not moved for this long is frozen (some virtual machines)."""
_LONGEST = 20
"""Digits of a counter of 64 bits."""
_MOST_WATTS = 10_000
"""More than any package draws: a counter that seems to have gained more was set back, it did not wrap."""


@dataclass
class _Domain:
    folder: Path
    range_uj: int
    last_uj: int
    moved_s: float


class RaplMeter(Meter):
    """The sum of the package domains, in mJ since this meter was made.

    A counter holds µJ and starts again from 0 at ``max_energy_range_uj``, which at full power takes minutes to
    hours: read more often than that. ``domains`` are the folders of the counters; ``clock`` gives seconds.

    Raises:
        DeviceError: a counter cannot be read.
    """

    name = "rapl"

    def __init__(self, domains: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._domains = [
            _Domain(folder, _read_uj(folder / "max_energy_range_uj"), _read_uj(folder / "energy_uj"), clock())
            for folder in domains
        ]
        self._total_uj = 0

    def read_mj(self) -> float:
        """Energy in mJ since this meter was made.

        Raises:
            MeasurementInvalid: a counter stands still or went backwards.
            DeviceError: a counter cannot be read any more.
        """
        self._total_uj += sum(self._gain_uj(domain) for domain in self._domains)
        return self._total_uj / _UJ_PER_MJ

    def _gain_uj(self, domain: _Domain) -> int:
        """Energy since the domain's counter was last seen to move."""
        now_uj, now_s = _read_uj(domain.folder / "energy_uj"), self._clock()
        elapsed_s = now_s - domain.moved_s
        gain_uj = now_uj - domain.last_uj
        if gain_uj == 0:
            if elapsed_s > _STANDSTILL_S:
                raise MeasurementInvalid(f"{domain.folder}: the energy counter stands still")
            return 0
        wrapped = gain_uj < 0
        gain_uj += domain.range_uj if wrapped else 0
        domain.last_uj, domain.moved_s = now_uj, now_s
        if not 0 < gain_uj <= _MOST_WATTS * 1e6 * max(elapsed_s, _STANDSTILL_S):
            raise MeasurementInvalid(f"{domain.folder}: the energy counter went backwards")
        return gain_uj


def rapl_meters(sys: Path = Path("/sys")) -> tuple[tuple[RaplMeter, ...], list[str]]:
    """The meters that can be read, at most one, and one line for each reason why there is not more."""
    tree = sys / "class/powercap"
    domains = [folder for folder in sorted(tree.glob("intel-rapl:*")) if folder.name.count(":") == 1]
    packages = [folder for folder in domains if _is_package(folder)]
    if not packages:
        return (), [f"{tree}: no RAPL package counters (virtual machine, old kernel, or not an x86 processor)"]
    readable, reasons = [], []
    for folder in packages:
        try:
            RaplMeter([folder])
            readable.append(folder)
        except DeviceError as error:
            reasons.append(str(error))
    # A sum without one of the sockets would look like a reading of the machine.
    return ((RaplMeter(readable),), reasons) if not reasons else ((), reasons)


def _is_package(folder: Path) -> bool:
    try:
        return (folder / "name").read_text(errors="replace").startswith("package")
    except OSError:
        return False


def _read_uj(path: Path) -> int:
    try:
        text = path.read_text(errors="replace").strip()
    except PermissionError as error:
        raise DeviceError(f"{path}: only root may read it; allow it with: sudo chmod a+r {path}") from error
    except OSError as error:
        raise DeviceError(f"{path}: cannot be read: {error.strerror}") from error
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST):
        raise DeviceError(f"{path}: not a counter: {text[:40]!r}")
    return int(text)
