"""Ctrl-C, ``kill`` and a closed terminal: one line and exit code 130, whenever they come and however often."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

INTERRUPTED = 130
LINE = "netdyno: interrupted\n"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = "\r\x1b[K\x1b[?25h"
"""Clears the line and shows the cursor, which a progress bar hides."""


class Interrupts:
    """Handlers of a process's signals, which do what its phase asks for.

    Before a command runs, and once it is stopping, a signal ends the process at once: nothing has begun, or a user
    who asks twice does not want to wait. While a command runs, the first one raises KeyboardInterrupt, so that
    workers stop and half-written files go.
    """

    def __init__(self) -> None:
        self.asked = False
        """True once a signal has come: errors that follow are its consequences."""
        self._running = self._telling = False
        self._code: int | None = None

    def listen(self) -> None:
        """Handle the signals from now on, but for those that the parent has set to be ignored, as nohup does."""
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        sys.unraisablehook = self._recover

    def run(self) -> None:
        """A command begins."""
        self._running = True

    def tell(self) -> None:
        """The command has stopped and is about to say so: signals change nothing more."""
        self._telling = True

    def finish(self, code: int) -> None:
        """The command is done; a signal only shortens what the interpreter has left to do."""
        self._code = code

    def _handle(self, number: int, frame: object) -> None:
        if self._code is not None:
            os._exit(self._code)
        if self._telling:
            return
        if self._running and not self.asked:
            self.asked = True
            raise KeyboardInterrupt
        leave()

    def _recover(self, unraisable: Any) -> None:
        """Raise an interrupt again that came where exceptions are ignored, such as in a destructor."""
        if unraisable.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(unraisable)
        elif self.asked:
            from _thread import interrupt_main
            from threading import Timer

            self.asked = False
            Timer(0.05, interrupt_main).start()  # once this hook, where it would be ignored too, has returned


def leave() -> None:
    """End the process here and now, with the one line."""
    if os.isatty(2):
        os.write(2, _SHOW_CURSOR.encode())
    for number, text in ((2, LINE), (1, f'{{"error": {{"message": "interrupted", "exit_code": {INTERRUPTED}}}}}\n')):
        if number == 2 or "--json" in sys.argv:
            try:
                os.write(number, text.encode())
            except OSError:
                continue  # nobody listens; the exit code tells
    os._exit(INTERRUPTED)


interrupts = Interrupts()
