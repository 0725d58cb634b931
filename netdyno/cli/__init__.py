"""The command line, version 1."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from netdyno.cli.interrupts import INTERRUPTED, interrupts
from netdyno.cli.streams import prepare_streams


def main() -> NoReturn:
    """Run the command line of this process."""
    interrupts.listen()
    prepare_streams()
    from netdyno.cli.console import log_warnings  # what takes a moment to import, now that signals are handled
    from netdyno.cli.main import run

    log_warnings()
    code = run(sys.argv[1:])
    interrupts.finish(code)
    if code == INTERRUPTED:
        sys.stderr.flush()
        os._exit(code)  # an interrupt that crossed an exec() makes the interpreter end with a signal instead
    sys.exit(code)


__all__ = ["main"]
