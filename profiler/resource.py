"""Files of a table beside its rows: one CSV each, hostile until parsed."""

from __future__ import annotations

import gzip
import sys
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from netdyno.base.errors import InputError
from netdyno.base.files import is_there
from netdyno.base.rows import stream_rows

# Numbers are kept as such while a file is read, and equal texts once: rows of a file are many, its names few.
_STORES: dict[str, Callable[[], Any]] = {
    "string": list,
    "integer": partial(array, "q"),
    "number": partial(array, "d"),
}
_PARSERS: dict[str, Callable[[str], Any]] = {"string": sys.intern, "integer": int, "number": float}
_DTYPES = {"string": "str", "integer": "int64", "number": "float64"}


@dataclass(frozen=True)
class Resource:
    """A file that a table may have, compressed where its name ends in ``.gz``.

    ``fields`` holds each column's type (``string``, ``integer`` or ``number``) and description; ``fault`` says what
    of its lines cannot be, or nothing; ``absent`` what columns hold that older files lack.
    """

    path: str
    fields: Mapping[str, tuple[str, str]]
    fault: Callable[[pd.DataFrame], str]
    absent: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name without its endings."""
        return self.path.partition(".")[0]

    def frame(self, lines: list[Any]) -> pd.DataFrame:
        """Lines, each a sequence of all columns in order, as a frame."""
        return self._typed(pd.DataFrame(lines, columns=list(self.fields)))

    def _typed(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.astype({name: _DTYPES[kind] for name, (kind, _) in self.fields.items()})

    def content(self, frame: pd.DataFrame) -> bytes:
        """The file's content."""
        text = frame.to_csv(index=False, lineterminator="\n").encode()
        return gzip.compress(text, mtime=0) if self.path.endswith(".gz") else text

    def entry(self) -> dict[str, Any]:
        """The file's entry of the descriptor's resources."""
        packed = self.path.endswith(".gz")
        fields = [{"name": name, "type": kind, "description": told} for name, (kind, told) in self.fields.items()]
        entry = {"name": self.name, "path": self.path, "format": "csv", "encoding": "utf-8"}
        return entry | ({"compression": "gz"} if packed else {}) | {"schema": {"fields": fields}}

    def read(self, path: Path | None) -> pd.DataFrame:
        """Lines of the file of a table; none where there is no such file.

        Raises:
            InputError: a file that cannot be understood.
        """
        if path is None or not is_there(path):
            return self.frame([])
        columns: dict[str, Any] = {name: _STORES[kind]() for name, (kind, _) in self.fields.items()}
        parse = [(name, columns[name].append, _PARSERS[kind]) for name, (kind, _) in self.fields.items()]
        try:
            for row in stream_rows(path, [name for name in self.fields if name not in self.absent]):
                for name, append, parsed in parse:
                    append(parsed(row[name]) if name in row else self.absent[name])
            found = self._typed(pd.DataFrame({name: _values(column) for name, column in columns.items()}))
        except (ValueError, OverflowError) as error:
            raise InputError(f"{path}: not the {self.name} of a table: {error}") from error
        if fault := self.fault(found):
            raise InputError(f"{path}: not the {self.name} of a table: {fault}")
        return found


def _values(column: Any) -> Any:
    """A column as pandas takes it without a Python object a number."""
    return np.asarray(column) if isinstance(column, array) else column
