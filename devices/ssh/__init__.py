"""Devices of another machine, over the system's own ``ssh``; nothing is installed there."""

from __future__ import annotations

from typing import Any

from netdyno.base.errors import UnknownName
from netdyno.devices.ssh.address import parse_address
from netdyno.devices.ssh.cuda import SshCuda
from netdyno.devices.ssh.device import SshDevice
from netdyno.devices.ssh.jetson import SshJetson

__all__ = ["SshDevice", "ssh_device"]

KINDS: dict[str, type[SshDevice]] = {"cpu": SshDevice, "jetson": SshJetson, "cuda": SshCuda}


def ssh_device(identifier: str, **options: Any) -> SshDevice:
    """The device of an identifier such as ``ssh://user@host:22/cuda:0?python=/opt/python3``.

    Raises:
        InputError: no such address.
        UnknownName: no device of that kind is reached so.
        DeviceError: the machine or the device cannot be reached.
    """
    address = parse_address(identifier)
    kind = "cuda" if address.of_gpu else address.device
    if kind not in KINDS:
        raise UnknownName("device of another machine", address.device, KINDS)
    return KINDS[kind](address, **options)
