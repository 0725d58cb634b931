"""Names to implementations, through entry points: our own and a third party's alike."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from netdyno.base.errors import MissingExtra, UnknownName


class Registry:
    """The implementations of one kind (``device``, ``space``, …), loaded when asked for.

    ``group`` is the entry point group; an entry's value is ``module:attribute``.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group

    @cached_property
    def _entries(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.group)}

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._entries)

    def load(self, name: str) -> Any:
        """The implementation of that name.

        Raises:
            UnknownName: nothing is registered under it; the message names the nearest that is.
            MissingExtra: a library that it needs is not installed.
        """
        if name not in self._entries:
            raise UnknownName(self.kind, name, self._entries)
        try:
            return self._entries[name].load()
        except ImportError as error:
            raise MissingExtra(f"{self.kind} {name!r} cannot be loaded: {error}") from error


def require(module: str, *, extra: str, purpose: str) -> Any:
    """Import an optional library, or say in one line what is missing and what installs it.

    Raises:
        MissingExtra: the library is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(f"{purpose} needs {module}: pip install 'netdyno[{extra}]' ({error})") from error
