"""What a phone needs to run models by netdyno's own runner: the runner, LiteRT's library, and the C library of Linux.

Phones bring another C library than the one that LiteRT's wheel is built for; so the loader of that one is pushed
beside it, and starts the runner. For phones of another processor than this machine's, the files come from a folder,
which ``assemble_runtime`` fills.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from netdyno.base.errors import DeviceError
from netdyno.base.files import cache_folder

MACHINES = {"arm64-v8a": "aarch64", "aarch64": "aarch64", "x86_64": "x86_64"}
"""Processors by the names that phones and kernels have for them."""
ELF_MACHINES = {"aarch64": 183, "x86_64": 62}
"""Numbers of processors in an ELF file's header."""
LIBRARY = "libLiteRt.so"
_LOADERS = {"aarch64": "ld-linux-aarch64.so.1", "x86_64": "ld-linux-x86-64.so.2"}
_LIBRARIES = (
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
    "libgcc_s.so.1",
)
FOLDER = "NETDYNO_ANDROID_RUNTIME"


def loader(machine: str) -> str:
    """The name of the program that starts others."""
    return _LOADERS[machine]


def borrowed(machine: str) -> tuple[str, ...]:
    """The names of what others make: LiteRT's library first, then the loader and the libraries of Linux."""
    return (LIBRARY, _LOADERS[machine], *_LIBRARIES)


def runtime_files(machine: str) -> Mapping[str, bytes]:
    """What has to be on the phone, by name.

    Raises:
        DeviceError: a file is not to be had here; the message says what fetches it.
    """
    found = {"runner": runner(machine)}
    for name in borrowed(machine):
        path = next((folder / name for folder in _folders(machine) if (folder / name).is_file()), None)
        if path is None:
            raise DeviceError(_missing(machine, name))
        found[name] = path.read_bytes()
    return found


def runner(machine: str) -> bytes:
    """Our own program, as it was built.

    Raises:
        DeviceError: it is not the one whose digest we know.
    """
    folder = files("netdyno.devices.android") / "runner"
    data = (folder / f"runner-{machine}").read_bytes()
    if (
        f"{hashlib.sha256(data).hexdigest()}  runner-{machine}"
        not in (folder / "SHA256SUMS").read_text().splitlines()
    ):
        raise DeviceError(f"runner-{machine} is not as it was built; reinstall netdyno")
    return data


def given_folder(machine: str) -> Path:
    """Where files for other processors than this machine's are looked for."""
    return Path(os.environ.get(FOLDER) or cache_folder() / "android" / machine)


def _folders(machine: str) -> list[Path]:
    folders = [given_folder(machine)]
    if machine == platform.machine():
        folders += [_wheel(), Path(f"/lib/{machine}-linux-gnu"), Path("/lib64"), Path("/usr/lib64"), Path("/usr/lib")]
    return folders


def _wheel() -> Path:
    """Where this machine's own LiteRT is."""
    import ai_edge_litert

    return Path(ai_edge_litert.__path__[0])


def _missing(machine: str, name: str) -> str:
    text = f"phones with {machine} need {name} in {given_folder(machine)}:"
    return f"{text} python -m netdyno.devices.android.assemble_runtime {machine} puts it there"
