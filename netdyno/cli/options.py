"""The types of options and arguments: each refuses, where it is parsed and in our words, what it does not allow."""

from __future__ import annotations

import math
import os
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from netdyno.base.errors import InputError, UnknownName
from netdyno.base.ranges import BATCH, Range


@dataclass(frozen=True)
class OptionType(ABC):
    """The type of an option's value; ``name`` stands for one in the help."""

    name: str

    @abstractmethod
    def parse(self, text: str) -> Any:
        """The value that the text stands for.

        Raises:
            InputError: this type does not allow it.
        """

    def __call__(self, text: Any) -> Any:
        """The same for typer, whose message names the option; defaults are values already."""
        if not isinstance(text, str):
            return text
        try:
            return self.parse(text)
        except InputError as error:
            raise typer.BadParameter(str(error)) from error


@dataclass(frozen=True)
class Whole(OptionType):
    """A whole number of a range."""

    range: Range

    def parse(self, text: str) -> int:
        """The number."""
        try:
            return self.range.check(int(text) if text.isascii() and len(text) < 80 else text)
        except ValueError:
            return self.range.check(repr(text))


@dataclass(frozen=True)
class Real(OptionType):
    """A number from ``low`` to ``high``."""

    low: float
    high: float

    def parse(self, text: str) -> float:
        """The number."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not self.low <= value <= self.high:
            raise InputError(f"a number from {self.low:g} to {self.high:g}, not {text!r}")
        return value


@dataclass(frozen=True)
class Choice(OptionType):
    """A known name; with ``more`` a colon and anything may follow it."""

    kind: str
    names: Callable[[], Iterable[str]]
    more: bool = False

    def parse(self, text: str) -> str:
        """The name as it is."""
        name = text.partition(":")[0] if self.more else text
        known = list(self.names())
        if name not in known:
            raise UnknownName(self.kind, name, known)
        return text


@dataclass(frozen=True)
class Choices(OptionType):
    """Known names with commas between, one at least, each once."""

    one: Choice

    def parse(self, text: str) -> list[str]:
        """The names."""
        names = [self.one.parse(part.strip()) for part in text.split(",")]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"{name} is named twice")
        return names


@dataclass(frozen=True)
class Form(OptionType):
    """Text of a form, a regular expression, and such that ``read`` takes it."""

    form: str
    example: str
    read: Callable[[str], Any] | None = None

    def parse(self, text: str) -> Any:
        """The value that is read, or the text as it is."""
        value = self.read(text) if self.read else text  # which says better what is wrong
        if not re.fullmatch(self.form, text, re.ASCII):
            raise InputError(f"not of this form: {text[:80]!r}; write {self.example}")
        return value


@dataclass(frozen=True)
class Input(OptionType):
    """The path of a file or folder that is there; ``noun`` says of what."""

    noun: str
    folder: bool = True
    file: bool = False

    def parse(self, text: str) -> Path:
        """The path."""
        mode = _mode(text)
        if mode is None:
            raise InputError(f"{text}: no {self.noun} here")
        if (stat.S_ISDIR(mode) and self.folder) or (stat.S_ISREG(mode) and self.file):
            return Path(text)
        wanted = [word for word, wants in (("a folder", self.folder), ("a file", self.file)) if wants]
        raise InputError(f"{text}: not {' or '.join(wanted)}")


@dataclass(frozen=True)
class Output(OptionType):
    """The path of a folder or file to write, which is not there yet or is one already."""

    file: bool = False

    def parse(self, text: str) -> Path:
        """The path."""
        mode, what = _mode(text), "file" if self.file else "folder"
        if mode is not None and not (stat.S_ISREG(mode) if self.file else stat.S_ISDIR(mode)):
            raise InputError(f"{text}: not a {what}; choose another name")
        path = Path(text)
        above = next((parent for parent in path.absolute().parents if _mode(str(parent)) is not None), Path("/"))
        if not above.is_dir():
            raise InputError(f"{text}: {above} is not a folder")
        if not os.access(path if mode is not None else above, os.W_OK):
            raise InputError(f"{text}: cannot be written: Permission denied")
        return path


def _mode(text: str) -> int | None:
    """The mode of what is at a path; None where nothing is."""
    if not text.strip():
        raise InputError("an empty path; name a file or folder")
    try:
        return os.stat(text).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{text[:80]}: no path: {getattr(error, 'strerror', None) or error}") from error


@dataclass(frozen=True)
class InputOr(Input):
    """A path as :class:`Input` has it, or a word, which with ``more`` is followed by a colon and settings."""

    word: str = ""
    more: bool = False

    def parse(self, text: str) -> Path:
        """The path, or the word as one."""
        from netdyno.nas.space import split_parameters

        if (text.partition(":")[0] if self.more else text) != self.word or os.path.exists(text):
            return super().parse(text)
        split_parameters(text)
        return Path(text)


def option(kind: OptionType, help: str, *names: str) -> Any:
    """An option of that type."""
    return typer.Option(*names, parser=kind, metavar=kind.name, help=help)


def argument(kind: OptionType, help: str, metavar: str | None = None) -> Any:
    """An argument of that type."""
    return typer.Argument(parser=kind, metavar=metavar, help=help)


def _duration(text: str) -> float:
    from netdyno.base.units import parse_duration

    return parse_duration(text)


def _bytes(text: str) -> int:
    from netdyno.base.units import parse_bytes

    return parse_bytes(text)


def _shape(text: str) -> str:
    from netdyno.base.units import parse_shape

    parse_shape(text)
    return text


def _limit(text: str) -> str:
    from netdyno.targets import split_constraint

    split_constraint(text)
    return text


def _writers() -> Iterable[str]:
    from netdyno.exporters.writers import WRITERS

    return WRITERS.names()


def _datasets() -> Iterable[str]:
    from netdyno.nas.data import DATASETS

    return DATASETS.names()


def _devices() -> Iterable[str]:
    from netdyno.devices.device import DEVICES

    return DEVICES.names()


def whole(range: Range) -> Whole:
    """The type of whole numbers of a range."""
    return Whole("N", range)


DURATION = Form("TIME", r"(?=.*[1-9])\s*[0-9.]+\s*[a-z]*\s*", "60s, 5min or 500ms", _duration)
BYTES = Form("SIZE", r"(?=.*[1-9])\s*[0-9.]+\s*[A-Za-z]*\s*", "4GB or 500MB", _bytes)
SHAPE = Form("NAME:1x3x224x224", r"(?s)..*([0-9]|:scalar)", "input:1x3x224x224", _shape)
DIMENSION = Form("SYMBOL=N", r"(?s).+=[0-9]{1,10}", "batch=1")
ASSIGNMENT = Form("NAME=VALUE", r"(?s).+=.*", "input=0.5, input=0..9 or input=values.npy")
LIMIT = Form("LIMIT", r"\s*[A-Za-z_]\w*\s*[<>]=.+", "latency_ms<=30 or accuracy>=75", _limit)
TEXT = Form("TEXT", r"(?s)(?=.*\S).{1,200}", "any text of at most 200 characters")
NAME = Form("NAME", r"[A-Za-z][\w.-]*", "a name of letters, digits, - and _")
SPACE = Form("SPACE", r"(?s)[A-Za-z].*", "ofa-mobilenetv3:width=0.25,resolutions=48/56/64")
GENES = Form("GENES", r"[0-9]{1,9}( +[0-9]{1,9})*", "'0 2 1 1', option indices")
DATA = Choice("DATA", "data set", _datasets, more=True)
DEVICE = Choice("DEVICE", "device", _devices, more=True)
FORMATS = Choices("FORMATS", Choice("FORMAT", "export format", _writers))
POINT = whole(Range("a position on a front", -(10**6), 10**6))
ROWS = whole(Range("a number of rows", 0, 10**6))
TABLE = Input("TABLE", "table")
RUN = Input("RUN", "run")
FOLDER = Output("FOLDER")
FILE = Output("FILE", file=True)
BATCH_SIZE = whole(BATCH)
