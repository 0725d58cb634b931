"""Files of a table beside its rows: one CSV each, hostile until parsed."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from netdyno.base.errors import InputError
from netdyno.base.rows import read_rows

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
        dtypes = {name: _DTYPES[kind] for name, (kind, _) in self.fields.items()}
        return pd.DataFrame(lines, columns=list(self.fields)).astype(dtypes)

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
        """What is in the file of a table; no lines where there is no such file.

        Raises:
            InputError: a file that cannot be understood.
        """
        if path is None or not path.exists():
            return self.frame([])
        try:
            rows = read_rows(path, [name for name in self.fields if name not in self.absent])
            found = self.frame([[row.get(name, self.absent.get(name)) for name in self.fields] for row in rows])
        except (ValueError, OverflowError) as error:
            raise InputError(f"{path}: not the {self.name} of a table: {error}") from error
        if fault := self.fault(found):
            raise InputError(f"{path}: not the {self.name} of a table: {fault}")
        return found
