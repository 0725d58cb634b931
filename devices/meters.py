"""What energy is read from."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Meter(ABC):
    """A cumulative energy counter; power is its difference over time, never a sampled guess."""

    name: str

    @abstractmethod
    def read_mj(self) -> float:
        """Energy in mJ since an arbitrary moment, corrected for the counter's wrap.

        Raises:
            MeasurementInvalid: the counter stands still or went backwards.
            DeviceError: it cannot be read any more.
        """
