"""Settings by name, as people write them, made into the dataclass that has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from netdyno.base.errors import InputError
from netdyno.nas.search import fits

T = TypeVar("T")


def make_settings(cls: type[T], options: Mapping[str, Any], owner: str, **fixed: Any) -> T:
    """A ``cls`` of these options; ``fixed`` are its settings that are not there to be chosen.

    Raises:
        InputError: an option that it does not have, not of its type, or that cannot be.
    """
    hints = {name: hint for name, hint in get_type_hints(cls).items() if name not in fixed}
    for name, value in options.items():
        if name not in hints:
            raise InputError(f"{owner} has no setting {name!r}; it has {', '.join(hints)}")
        if not fits(value, hints[name]):
            raise InputError(f"{owner}: {name} cannot be {value!r}")
    return cls(**options, **fixed)
