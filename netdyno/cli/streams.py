"""Standard streams that take any text, whatever their encoding, and say in our words when they cannot be written."""

from __future__ import annotations

import codecs
import errno
import io
import os
import signal
import sys

from netdyno.base.errors import InputError

SPELL = "netdyno.spell"
_ASCII = {
    **{"µ": "u", "×": "x", "·": "*", "…": "...", "–": "-", "—": "-", "−": "-", "→": "->", "≤": "<=", "≥": ">="},
    **{
        "±": "+-",
        "°": " deg ",
        "²": "2",
        "³": "3",
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "\N{REPLACEMENT CHARACTER}": "?",
    },
    **dict(zip("▁▂▃▄▅▆▇█", "_.,-~+*#", strict=True)),
}


def prepare_streams() -> None:
    """Replace this process's standard output and standard error; closed ones are told from open ones.

    A closed descriptor is taken by the null device, lest the next file that is opened gets its number.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # it gets the lowest free number, this one
    codecs.register_error(SPELL, _spell)
    sys.stdout = _Output(1, "utf-8" if sys.stdout is None else sys.stdout.encoding)
    sys.stderr = _Prose(2, "utf-8" if sys.stderr is None else sys.stderr.encoding)


class _Output(io.TextIOWrapper):
    """Standard output.

    Raises:
        InputError: it is closed, or its disk is full.
        SystemExit: nobody reads on (`netdyno … | head`), which ends a command quietly, as other Unix tools do.
    """

    def __init__(self, number: int, encoding: str) -> None:
        super().__init__(_writer(number), encoding, SPELL, line_buffering=os.isatty(number))

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        _silence(self.fileno())
        if error.errno == errno.EPIPE:
            sys.exit(128 + signal.SIGPIPE)
        why = "it is closed" if error.errno == errno.EBADF else error.strerror
        raise InputError(f"standard output cannot be written: {why}") from error


class _Prose(io.TextIOWrapper):
    """Standard error; where it cannot be written, the exit code has to say all."""

    def __init__(self, number: int, encoding: str) -> None:
        super().__init__(_writer(number), encoding, SPELL, line_buffering=True)

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            _silence(self.fileno())
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            _silence(self.fileno())


def _writer(number: int) -> io.BufferedWriter:
    return io.BufferedWriter(io.FileIO(number, "wb", closefd=False))


def _silence(number: int) -> None:
    """Let what is still buffered, and all that follows, go nowhere: the interpreter flushes once more as it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Characters that an encoding lacks, as others that say the same, else as escapes (which JSON reads)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(
        _ASCII.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in lacking
    ), error.end
