"""Which phone is meant, and the way to it: through a running adb server if it has it, else by ourselves."""

from __future__ import annotations

import logging

from netdyno.base.errors import DeviceError, MissingExtra
from netdyno.devices.android.direct import DirectTransport, tcp_address
from netdyno.devices.android.server import ServerTransport, server_devices
from netdyno.devices.android.transport import Transport

_LOGGER = logging.getLogger("netdyno")


def connect(serial: str) -> Transport:
    """The phone of a serial, or the only one where it is empty.

    Raises:
        DeviceError: there is none, more than one, or it does not let itself be used.
        MissingExtra: it is to be reached without a server, and the library for that is not installed.
    """
    known = server_devices()
    if known is not None and (serial in known or (not serial and known)):
        transport: Transport = _from_server(serial, dict(known))
    elif serial and tcp_address(serial) is None and known is not None:
        there = ", ".join(known) or "none"
        raise DeviceError(f"android:{serial}: no such phone; the adb server has {there}", device=f"android:{serial}")
    else:
        transport = _direct(serial)
    _LOGGER.info("%s: by %s", transport.serial, transport.way)
    return transport


def _from_server(serial: str, known: dict[str, str]) -> Transport:
    if not serial and len(known) > 1:
        raise DeviceError(f"which phone? android:SERIAL, where the serial is one of {', '.join(known)}")
    serial = serial or next(iter(known))
    return ServerTransport(serial, known[serial])


def _direct(serial: str) -> Transport:
    try:
        return DirectTransport(serial)
    except MissingExtra as error:
        raise DeviceError(f"android:{serial}: no adb server is running, and {error}") from error
