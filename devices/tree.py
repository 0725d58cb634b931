"""The files in which a Linux machine shows itself, on this machine or as read on another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path


class Tree(ABC):
    """Text files by absolute path, such as ``/proc/stat``."""

    @abstractmethod
    def text(self, path: str) -> str:
        """A file's text; empty where there is none or it may not be read."""

    @abstractmethod
    def glob(self, pattern: str) -> list[str]:
        """The sorted paths that match a pattern, in which ``*`` and ``?`` do not reach over a ``/``."""


class LocalTree(Tree):
    """This machine's own files; ``root`` is where ``/proc`` and ``/sys`` hang."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def text(self, path: str) -> str:
        """A file's text; empty where there is none or it may not be read."""
        try:
            return (self._root / path.lstrip("/")).read_text(errors="replace")
        except OSError:
            return ""

    def glob(self, pattern: str) -> list[str]:
        """The sorted paths that match a pattern."""
        found = self._root.glob(pattern.lstrip("/"))
        return sorted(f"/{path.relative_to(self._root).as_posix()}" for path in found)


class Snapshot(Tree):
    """Files as they were when they were read, by path."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def text(self, path: str) -> str:
        """A file's text; empty where it was not read."""
        return self._files.get(path, "")

    def glob(self, pattern: str) -> list[str]:
        """The sorted paths of files, and of their folders, that match a pattern."""
        wanted = pattern.split("/")
        found = {"/".join(parts[: len(wanted)]) for path in self._files if _match(parts := path.split("/"), wanted)}
        return sorted(found)


def _match(parts: list[str], wanted: Iterable[str]) -> bool:
    wanted = list(wanted)
    return len(parts) >= len(wanted) and all(map(fnmatchcase, parts, wanted))
