"""The folder of what phones of another processor need: pip and dpkg-deb are real, what they are given is not."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest

from netdyno.devices.android import assemble_runtime, runtime
from netdyno.devices.android.assemble_runtime import main, other_sources

VERSION = importlib.metadata.version("ai-edge-litert")
LINUX = runtime.borrowed("aarch64")[1:]
APT = '#!/bin/sh\necho "$*" >>{log}\ncase "$*" in *\' download \'*) cp {folder}/*.deb . ;; esac\n'


def library(name: str, machine: int = 183) -> bytes:
    """The head of a library for aarch64, or another processor."""
    return b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + struct.pack("<H", machine) + name.encode()


class Servers:
    """What pip and apt get their files from."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.log = folder, folder / "bin", folder / "log"
        self.bin.mkdir()
        self.wheel({"ai_edge_litert/libLiteRt.so": library("libLiteRt.so"), "../evil": b"out"})
        self.package({f"lib/aarch64-linux-gnu/{name}": library(name) for name in LINUX[1:]})
        os.symlink("ld-2.36.so", self.root / "lib/aarch64-linux-gnu" / LINUX[0])
        (self.root / "lib/aarch64-linux-gnu/ld-2.36.so").write_bytes(library(LINUX[0]))
        self.program("apt-get", APT.format(log=self.log, folder=folder))

    @property
    def root(self) -> Path:
        """The one package before it is packed."""
        return self.folder / "root"

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def wheel(self, members: dict[str, bytes]) -> None:
        """A wheel as pip takes it."""
        about = f"ai_edge_litert-{VERSION}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: ai-edge-litert\nVersion: {VERSION}\n".encode()
        tags = b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-manylinux_2_27_aarch64\n"
        path = self.folder / f"ai_edge_litert-{VERSION}-py3-none-manylinux_2_27_aarch64.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {**members, f"{about}/METADATA": metadata, f"{about}/WHEEL": tags}.items():
                archive.writestr(name, data)
            archive.writestr(f"{about}/RECORD", "")

    def package(self, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(data)

    def pack(self) -> None:
        control = "Package: libc6\nVersion: 1\nArchitecture: arm64\nMaintainer: nobody\nDescription: none\n"
        self.package({"DEBIAN/control": control.encode()})
        subprocess.run(["dpkg-deb", "--build", self.root, self.folder / "libc6.deb"], check=True, capture_output=True)


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Servers:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb here: this is not Debian")
    servers = Servers(tmp_path)
    monkeypatch.setenv("PATH", f"{servers.bin}:{os.environ['PATH']}")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "apt/sources.list.d/debian.sources").write_text("Types: deb\n")
    monkeypatch.setattr(assemble_runtime, "_APT", tmp_path / "apt")
    monkeypatch.setenv(runtime.FOLDER, str(tmp_path / "runtime"))
    return servers


def fails(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    """The one line of a step that fails, and has left nothing."""
    assert main(words) == code
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.splitlines()) == 1
    return told.err


def test_a_folder_that_a_phone_can_be_served_from(servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    servers.pack()
    for _ in range(2):  # the second takes the place of the first
        assert main([]) == 0
    folder = servers.folder / "runtime"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: library(name) for name in runtime.borrowed("aarch64")
    }
    assert os.access(folder / LINUX[0], os.X_OK)
    assert set(runtime.runtime_files("aarch64")) == {"runner", *runtime.borrowed("aarch64")}
    told = capsys.readouterr().out.splitlines()[:9]
    digest = hashlib.sha256(library("libc.so.6")).hexdigest()
    assert [digest, "29", str(folder / "libc.so.6")] in [line.split() for line in told]
    asked = servers.log.read_text().splitlines()
    assert len(asked) == 4 and all("APT::Architecture=arm64 " in line for line in asked)
    assert asked[1].endswith("download libc6 libstdc++6 libgcc-s1")
    assert not (servers.folder / "evil").exists()


def test_another_folder_is_said_to_be_another(servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    servers.pack()
    assert main(["aarch64", str(servers.folder / "other")]) == 0
    assert "when NETDYNO_ANDROID_RUNTIME names it" in capsys.readouterr().out


def test_a_folder_of_somebody_else(servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    (servers.folder / "mine").mkdir()
    (servers.folder / "mine/thesis").touch()
    assert "'thesis', which would be lost" in fails(capsys, 2, "aarch64", str(servers.folder / "mine"))
    assert not servers.log.exists()


def test_a_system_without_apt(
    servers: Servers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble_runtime, "_APT", servers.folder / "nothing")
    told = fails(capsys, 2)
    for word in (*runtime.borrowed("aarch64"), "by hand", "libc6, libstdc++6, libgcc-s1 for arm64", "wheel"):
        assert word in told


def test_what_is_fetched_is_looked_at(servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    servers.pack()
    servers.wheel({"ai_edge_litert/libLiteRt.so": library("x86_64", 62)})
    assert "libLiteRt.so that was fetched is no library for aarch64" in fails(capsys, 3)
    servers.wheel({"ai_edge_litert/other.so": b""})
    assert f"ai-edge-litert=={VERSION} for aarch64: its wheel holds no" in fails(capsys, 3)
    assert not (servers.folder / "runtime").exists()


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../../../libc.so.6", "nowhere", "libc.so.6"])
def test_links_lead_nowhere_else(target: str, servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    path = servers.root / "lib/aarch64-linux-gnu/libc.so.6"
    path.unlink()
    os.symlink(target, path)
    servers.pack()
    assert "libc.so.6 is not in libc6, libstdc++6, libgcc-s1 for arm64" in fails(capsys, 3)


def test_nothing_is_to_be_had(
    servers: Servers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.program("apt-get", "#!/bin/sh\necho W: beware >&2\necho E: no network >&2\nexit 100\n")
    assert fails(capsys, 3) == "netdyno: apt-get failed: E: no network\n"
    monkeypatch.setenv("PIP_FIND_LINKS", str(servers.folder / "nothing"))
    assert "pip failed: " in fails(capsys, 3)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Types: deb\nArchitectures: amd64\nURIs: https://a/debian\n", "Types: deb\nURIs: https://a/debian\n"),
        ("deb [arch=amd64] http://a/debian b main\n", "deb  http://a/debian b main\n"),
        ("deb [arch=amd64 signed-by=/k] http://a b c\n", "deb [signed-by=/k] http://a b c\n"),
        ("URIs: http://de.archive.ubuntu.com/ubuntu/\n", "URIs: http://ports.ubuntu.com/ubuntu-ports/\n"),
        ("URIs: http://security.ubuntu.com/ubuntu\n", "URIs: http://ports.ubuntu.com/ubuntu-ports\n"),
    ],
)
def test_servers_of_another_processor(before: str, after: str) -> None:
    assert other_sources(before, "arm64") == after
