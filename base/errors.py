"""Every error that netdyno raises on purpose.

::

    NetdynoError                 exit code   carries device, layer, artifact
    ├── CheckFailed                  1       a check ran and its answer is no
    │   ├── VerificationError                outputs differ from the reference
    │   └── TableInvalid                     a table holds something that no measurement gives
    ├── InputError                   2       wrong usage or input: the user can mend it
    │   ├── UnknownName                      no space, device, runtime or format of that name
    │   ├── ModelError                       not a model, truncated, or one the runtime refuses
    │   └── MissingExtra                     an optional library is not installed
    ├── DeviceError                  3       the device could not be reached, or was lost
    │   ├── DeviceBusy                       another process holds it
    │   └── WorkerLost                       the process that runs the model died
    └── MeasurementInvalid           4       measured, but not to be trusted

Anything else that escapes is an internal error and ends the command with exit code 70.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NetdynoError(Exception):
    """The root of the tree; its message is one line that says what, where, and what to do.

    Names in it may come from anybody's file: what breaks a line or moves a terminal's cursor is not repeated.
    """

    exit_code = 70

    def __init__(
        self,
        message: str,
        *,
        device: str | None = None,
        layer: str | None = None,
        artifact: str | None = None,
    ) -> None:
        super().__init__(one_line(message))
        self.device = device
        self.layer = layer
        self.artifact = artifact

    def context(self) -> dict[str, str]:
        """What the error is about, without the empty fields."""
        fields = {"device": self.device, "layer": self.layer, "artifact": self.artifact}
        return {name: value for name, value in fields.items() if value is not None}


def printable(text: str) -> str:
    """The text with a replacement character for whatever breaks a line or moves a terminal's cursor."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "�" for letter in text)


def one_line(text: str) -> str:
    """The text in one line, printable, with single spaces."""
    return printable(" ".join(text.split()))


class CheckFailed(NetdynoError):
    """A check ran and its answer is no."""

    exit_code = 1


class VerificationError(CheckFailed):
    """A device's outputs differ from the reference."""


class TableInvalid(CheckFailed):
    """A lookup table holds something that no measurement gives."""


class InputError(NetdynoError):
    """Wrong usage or input, which the user can mend."""

    exit_code = 2


class UnknownName(InputError):
    """No space, device, runtime or format of that name."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")
        self.kind = kind
        self.name = name
        self.known = known


class ModelError(InputError):
    """Not a model, truncated, or one that the runtime refuses."""


class MissingExtra(InputError):
    """An optional library is not installed."""


class DeviceError(NetdynoError):
    """The device could not be reached, or was lost."""

    exit_code = 3


class DeviceBusy(DeviceError):
    """Another process holds the device."""


class WorkerLost(DeviceError):
    """The process that runs the model died."""


class MeasurementInvalid(NetdynoError):
    """Measured, but not to be trusted: throttled, too noisy, on a charger."""

    exit_code = 4
