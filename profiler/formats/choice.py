"""Which of several tables in one file is meant."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from netdyno.base.errors import InputError, UnknownName

_SHOWN = 8


@dataclass(frozen=True)
class Choice:
    """A device, runtime and precision; what is empty need not be chosen where there is only one."""

    device: str = ""
    runtime: str = ""
    precision: str = ""

    def pick(self, path: Path, what: str, options: Collection[str], note: str = "") -> str:
        """The option that was chosen for ``what``, or the only one.

        Raises:
            UnknownName: the file has no such option.
            InputError: it has several, and none was chosen.
        """
        chosen: str = getattr(self, what)
        known = sorted(options)
        if chosen and chosen not in known:
            raise UnknownName(what, chosen, known)
        if not chosen and len(known) != 1:
            some = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
            raise InputError(f"{path}: holds {len(known)} of them, choose a {what}: {some or 'none'}{note}")
        return chosen or known[0]

    def forbid(self, path: Path) -> None:
        """Refuse a choice where the format holds one table only.

        Raises:
            InputError: something was chosen.
        """
        if self != Choice():
            raise InputError(f"{path}: this format holds one table, there is nothing to choose")
