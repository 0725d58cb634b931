"""A loop of a phone's shell that reads something whenever it is asked to."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass

from netdyno.base.closing import Closing
from netdyno.base.errors import DeviceError, MeasurementInvalid
from netdyno.devices.android.transport import Transport

_SILENCE_S = 10.0
_MOST_LINES = 5000


@dataclass(frozen=True)
class Answer:
    """What a loop has read: the phone's own time in s since it was started, and the text."""

    up_s: float
    text: str


class Loop(Closing):
    """Runs ``script`` in one shell each time that it is asked, so that no reading starts a connection or a shell.

    It is asked rather than left to print: between windows it takes nothing from the phone, and no old lines are left
    to be read in the next one.

    Raises:
        DeviceError: the phone is lost.
    """

    def __init__(self, transport: Transport, script: str) -> None:
        self._serial = transport.serial
        self._mark = f"netdyno-{secrets.token_hex(8)}"
        began = f'read -r up rest </proc/uptime; echo; echo "{self._mark} $up"'
        body = f"{{ {script}\n}} </dev/null\necho; echo {self._mark}"
        self._channel = transport.open(f"while read -r asked; do {began}\n{body}\ndone 2>/dev/null", _SILENCE_S)
        self.alive = True

    def ask(self) -> Answer:
        """Have it read once.

        Raises:
            MeasurementInvalid: it answers with something else.
            DeviceError: the phone is lost, or its shell has ended.
        """
        alive, self.alive = self.alive, False  # what is left of an answer that was not read would be the next one's
        if not alive:
            raise DeviceError(f"{self._serial}: the shell that reads energy is gone", device=self._serial)
        try:
            self._channel.send(b"\n")
            answer = self._answer(time.monotonic() + _SILENCE_S)
        except TimeoutError as error:
            raise DeviceError(f"{self._serial}: a reading does not end", device=self._serial) from error
        except EOFError as error:
            text = f"{self._serial}: the shell that reads energy has ended"
            raise DeviceError(text, device=self._serial) from error
        self.alive = True
        return answer

    def _answer(self, deadline_s: float) -> Answer:
        first, lines = self._channel.line(deadline_s), []
        found = re.fullmatch(rf"{self._mark} (\d{{1,12}}\.\d{{1,6}})", first, re.ASCII)
        if found is None:
            raise MeasurementInvalid(f"{self._serial}: tells no time, but {first[:60]!r}", device=self._serial)
        while (line := self._channel.line(deadline_s)) != self._mark:
            lines.append(line)
            if len(lines) > _MOST_LINES:
                raise DeviceError(f"{self._serial}: a reading does not end", device=self._serial)
        return Answer(float(found[1]), "\n".join(lines))

    def close(self) -> None:
        """End the shell; a second call does nothing."""
        self.alive = False
        self._channel.close()
