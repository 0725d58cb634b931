"""Google's ``benchmark_model`` on this machine: fetched once from where it is published, and known by its digest.

https://ai.google.dev/edge/litert/models/measurement names the place. It is a nightly build that changes: the one that
was fetched is kept, and one that has changed since is refused.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import urllib.request
from pathlib import Path

from netdyno.base.errors import DeviceError, InputError
from netdyno.base.files import cache_folder, make_folder, write_atomic
from netdyno.devices.android.runtime import ELF_MACHINES

_LOGGER = logging.getLogger("netdyno")
PUBLISHED = (
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/nightly/latest/"
)
NAMES = {"aarch64": "android_aarch64_benchmark_model"}
"""What is published, by processor."""
_TIMEOUT_S = 30
_LARGEST = 256 << 20


def published(machine: str, *, fetch: bool) -> bytes:
    """The published program for a processor, from the cache or, where ``fetch`` allows it, from its place.

    Raises:
        DeviceError: none is published, it cannot be had, or it changed since it was fetched.
    """
    other = "--runner FILE takes one of your own, --runner builtin netdyno's"
    if machine not in NAMES:
        raise DeviceError(f"no benchmark_model is published for Android on {machine}; {other}")
    path = cache_folder() / "android" / NAMES[machine]
    if path.exists():
        return _known(path)
    if not fetch:
        raise DeviceError(f"benchmark_model was not fetched yet, and may not be now; {other}")
    url = PUBLISHED + NAMES[machine]
    data = _download(url, other)
    if not _is_program(data, machine):  # the page that a network shows to whoever has not signed in
        raise DeviceError(f"{url}: not a program for {machine}; {other}")
    make_folder(path.parent)
    # The digest first: a file without one is not taken for the one that was fetched.
    write_atomic(_digest_path(path), f"{hashlib.sha256(data).hexdigest()}  {path.name}\n")
    write_atomic(path, data)
    return data


def cached(machine: str) -> bytes | None:
    """What was fetched before; None where nothing was.

    Raises:
        DeviceError: it changed since.
    """
    path = cache_folder() / "android" / NAMES.get(machine, "none")
    return _known(path) if path.exists() else None


def given(path: Path, machine: str) -> bytes:
    """A user's own program.

    Raises:
        InputError: it cannot be read, or is none for that processor.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not _is_program(data, machine):
        raise InputError(f"{path}: not a program for {machine}")
    return data


def _known(path: Path) -> bytes:
    try:
        data, expected = path.read_bytes(), _digest_path(path).read_text().split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        data, expected = b"", "unknown"
    if hashlib.sha256(data).hexdigest() != expected:
        raise DeviceError(f"{path} is not what was fetched: its sha256 is another; remove it to fetch it anew")
    return data


def _digest_path(path: Path) -> Path:
    return Path(f"{path}.sha256")


def _download(url: str, other: str) -> bytes:
    _LOGGER.warning("fetching Google's benchmark_model, once, from %s", url)
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 (a fixed https address)
            data: bytes = answer.read(_LARGEST + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DeviceError(f"{url}: cannot be fetched: {error}; {other}") from error
    return data


def _is_program(data: bytes, machine: str) -> bool:
    """Whether it is a program for that processor, or a script."""
    number = int.from_bytes(data[18:20], "little")
    return data.startswith(b"#!") or (
        len(data) <= _LARGEST and data[:4] == b"\x7fELF" and number == ELF_MACHINES[machine]
    )
