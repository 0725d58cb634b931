"""Run an artifact on a device and read its meters."""

from netdyno.devices.device import (
    Device,
    DeviceInfo,
    LoadReading,
    Samples,
    Session,
    Settings,
    open_device,
)
from netdyno.devices.meters import Meter

__all__ = ["Device", "DeviceInfo", "LoadReading", "Meter", "Samples", "Session", "Settings", "open_device"]
