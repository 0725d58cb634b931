"""Put what phones of another processor need into a folder: ``python -m netdyno.devices.android.assemble_runtime``.

LiteRT's library is fetched by pip, in the version that is installed here; the libraries of Linux are fetched by apt,
from where this system has its own packages. Both check what they fetch.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from netdyno.base.errors import DeviceError, InputError, NetdynoError
from netdyno.base.files import write_atomic
from netdyno.base.folders import folder_atomic, require_replaceable
from netdyno.devices.android import runtime

_APT = Path("/etc/apt")
_LISTS = ("sources.list.d/debian.sources", "sources.list.d/ubuntu.sources", "sources.list")
"""Where Debian and Ubuntu name their own servers; other people's may not have the other processor."""
_ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}
_PACKAGES = ("libc6", "libstdc++6", "libgcc-s1")
_WHEEL = "ai-edge-litert"
_MEMBER = f"ai_edge_litert/{runtime.LIBRARY}"
_GLIBCS = range(17, 40)
"""Minor versions of the C library that a wheel may ask for; which one is up to who builds it."""
_MOST_BYTES = 1 << 28


def main(arguments: Sequence[str] | None = None) -> int:
    """Assemble the folder, and print what is in it; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m netdyno.devices.android.assemble_runtime",
        description="Fetch what phones of another processor than this machine's need to run netdyno's own runner.",
    )
    parser.add_argument("machine", nargs="?", default="aarch64", choices=sorted(_ARCHITECTURES))
    parser.add_argument("folder", nargs="?", type=Path, help="default: where netdyno looks for it")
    given = parser.parse_args(arguments)
    folder = given.folder or runtime.given_folder(given.machine)
    try:
        written = assemble(given.machine, folder)
    except NetdynoError as error:
        sys.stderr.write(f"netdyno: {error}\n")
        return error.exit_code
    for name, data in written.items():
        print(f"{hashlib.sha256(data).hexdigest()}  {len(data):>9}  {folder / name}")
    if folder.resolve() != runtime.given_folder(given.machine).resolve():
        print(f"netdyno looks there when {runtime.FOLDER} names it")
    return 0


def assemble(machine: str, folder: Path) -> Mapping[str, bytes]:
    """Fetch the files for ``aarch64`` or ``x86_64`` and make them a folder's content; returns them by name.

    Raises:
        DeviceError: they are not to be had, or are not what they should be.
        InputError: this system has no apt, or the folder cannot be replaced.
    """
    names = runtime.borrowed(machine)
    require_replaceable(folder, names)
    if not _has_apt():
        raise InputError(_by_hand(machine, folder))
    with tempfile.TemporaryDirectory() as temporary:
        found = {runtime.LIBRARY: _from_wheel(machine, Path(temporary))}
        found |= _from_packages(machine, Path(temporary), names[1:])
    for name, data in found.items():
        _require_library(machine, name, data)
    with folder_atomic(folder) as new:
        for name, data in found.items():
            write_atomic(new / name, data)
        (new / runtime.loader(machine)).chmod(0o755)  # it is a program, too
    return found


def _has_apt() -> bool:
    programs = all(shutil.which(program) for program in ("apt-get", "dpkg-deb"))
    return programs and any((_APT / name).is_file() for name in _LISTS)


def _by_hand(machine: str, folder: Path) -> str:
    first, *others = runtime.borrowed(machine)
    packages, architecture = ", ".join(_PACKAGES), _ARCHITECTURES[machine]
    text = f"only Debian and Ubuntu have what this needs; put into {folder} by hand: {first} of {_WHEEL}'s wheel for"
    return f"{text} {machine}, and {', '.join(others)} of Debian's {packages} for {architecture}"


def _from_wheel(machine: str, temporary: Path) -> bytes:
    """LiteRT's library, of the version that is installed here."""
    try:
        wanted = f"{_WHEEL}=={importlib.metadata.version(_WHEEL)}"
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(f"{_WHEEL} is not installed here; reinstall netdyno") from error
    folder = temporary / "wheel"
    options = ["--disable-pip-version-check", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    options += [f"--platform=manylinux_2_{minor}_{machine}" for minor in _GLIBCS]
    _run([sys.executable, "-m", "pip", "download", *options, wanted], temporary)
    try:
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(_MEMBER).file_size > _MOST_BYTES:
                raise DeviceError(f"{wheel.name}: {_MEMBER} is too large to be it")
            return archive.read(_MEMBER)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise DeviceError(f"{wanted} for {machine}: its wheel holds no {_MEMBER}") from error


def _from_packages(machine: str, temporary: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The loader and the libraries of Linux."""
    packages, root = temporary / "packages", temporary / "root"
    packages.mkdir()
    apt = ["apt-get", *_apt_options(_ARCHITECTURES[machine], temporary)]
    _run([*apt, "update"], packages)
    _run([*apt, "download", *_PACKAGES], packages)
    for package in sorted(packages.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(package), str(root)], packages)
    return {name: _unpacked(root, machine, name) for name in names}


def _apt_options(architecture: str, temporary: Path) -> list[str]:
    """Options for an apt of its own: the system's servers and keys, another processor, nothing installed."""
    sources = temporary / "sources"
    for folder in (sources, temporary / "state/lists/partial", temporary / "cache/archives/partial"):
        folder.mkdir(parents=True)
    for name in _LISTS:
        if (_APT / name).is_file():
            text = other_sources((_APT / name).read_text(errors="replace"), architecture)
            (sources / Path(name).name).write_text(text)
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": sources,
        "Dir::State": temporary / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": temporary / "cache",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "root",  # the folder is private, and nobody else's programs run
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
    }
    return ["--quiet=2", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]


def other_sources(text: str, architecture: str) -> str:
    """A system's list of servers, for another processor than its own."""
    text = re.sub(r"(?im)^architectures:.*\n?", "", text)
    text = re.sub(r"(?m)^(deb(?:-src)?\s+)\[([^]\n]*)\]", _without_architecture, text)
    if architecture == "arm64":  # Ubuntu has it on servers of its own
        text = re.sub(
            r"://[\w.-]*\b(?:archive|security)\.ubuntu\.com/ubuntu\b", "://ports.ubuntu.com/ubuntu-ports", text
        )
    return text


def _without_architecture(found: re.Match[str]) -> str:
    options = " ".join(word for word in found[2].split() if not word.startswith("arch"))
    return f"{found[1]}[{options}]" if options else found[1]


def _unpacked(root: Path, machine: str, name: str) -> bytes:
    """A file of the packages; links among them are followed, but not out of them."""
    for folder in (root / f"lib/{machine}-linux-gnu", root / f"usr/lib/{machine}-linux-gnu"):
        path = Path(os.path.realpath(folder / name))
        if path.is_relative_to(root.resolve()) and path.is_file():
            return path.read_bytes()
    raise DeviceError(f"{name} is not in {', '.join(_PACKAGES)} for {_ARCHITECTURES[machine]}")


def _require_library(machine: str, name: str, data: bytes) -> None:
    """Refuse what is no 64-bit ELF file for the processor."""
    if data[:5] != b"\x7fELF\x02" or data[18:20] != struct.pack("<H", runtime.ELF_MACHINES[machine]):
        raise DeviceError(f"{name} that was fetched is no library for {machine}")


def _run(command: Sequence[str], folder: Path) -> None:
    """Run a program to its end; the last line that it complains in is the error."""
    name = "pip" if command[0] == sys.executable else command[0]
    stdin = subprocess.DEVNULL
    try:
        done = subprocess.run(command, cwd=folder, stdin=stdin, capture_output=True, errors="replace", check=False)
    except OSError as error:
        raise DeviceError(f"{name} cannot be started: {error.strerror}") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise DeviceError(f"{name} failed: {said[-1][:300]}")


if __name__ == "__main__":
    sys.exit(main())
