"""Phones that are none, and ways to them: Android's own daemon, and a double of its protocol."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netdyno.base.errors import DeviceError
from netdyno.devices.android import direct
from netdyno.devices.android.direct import DirectTransport
from netdyno.devices.android.server import ServerTransport
from netdyno.devices.android.transport import FOLDER, Result, Transport

from .double import Double, Manner
from .phone import ADBD, Phone


@pytest.fixture(scope="session")
def _phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    if not (ADBD / "usr/lib/android-sdk/platform-tools/adbd").exists():
        pytest.skip("no adbd here: bash .ci/adbd .adbd")
    if os.geteuid() != 0:
        pytest.skip("a network of its own for adbd is made by root only")
    phone = Phone(tmp_path_factory.mktemp("phone"))
    yield phone
    phone.close()


@pytest.fixture
def phone(_phone: Phone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Phone]:
    """A phone that is switched on, and a cache in which no key is yet; no adb server is near."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    _phone.dress()
    yield _phone
    _phone.undress()


@pytest.fixture(scope="class")
def phone_of_class(_phone: Phone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    """The same for all tests of a class, but for the programs, which are a well phone's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("ANDROID_ADB_SERVER_PORT", "1")
        _phone.dress()
        yield _phone


@pytest.fixture
def adb_server(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Debian's adb as a server of its own, which has the phone."""
    adb = shutil.which("adb")
    if adb is None:
        pytest.skip("no adb here: apt install adb")
    for _ in range(3):  # somebody else may take a free port first
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = str(probe.getsockname()[1])
        command = [adb, "-P", port]
        if subprocess.run([*command, "start-server"], check=False, capture_output=True).returncode == 0:
            break
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
    subprocess.run([*command, "connect", phone.serial], check=True, capture_output=True)
    yield
    subprocess.run([*command, "kill-server"], check=True, capture_output=True)


@pytest.fixture(params=["direct", "server"])
def transport(request: pytest.FixtureRequest, phone: Phone) -> Iterator[Transport]:
    """Both ways to the phone."""
    if request.param == "direct":
        pytest.importorskip("adb_shell", reason="adb-shell is not installed: pip install 'netdyno[android]'")
        make: Callable[[], Any] = lambda: DirectTransport(phone.serial)  # noqa: E731
    else:
        request.getfixturevalue("adb_server")
        make = lambda: ServerTransport(phone.serial, "device")  # noqa: E731
    with make() as transport:
        yield transport


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Double]]:
    """Makes doubles of phones; no key is in the cache yet, and no adb server is near."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    made: list[Double] = []

    def double(**manner: Any) -> Double:
        made.append(Double(tmp_path / f"phone{len(made)}", Manner(**manner)))
        return made[-1]

    yield double
    for phone in made:
        phone.close()
        assert phone.count("broken protocol") == 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phones are not waited for as long as usual."""
    monkeypatch.setattr(direct, "_CONNECT_S", 1.0)
    monkeypatch.setattr(direct, "_FILE_S", 1.0)


class Adb:
    """Debian's adb with a server, a home and keys of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = str(probe.getsockname()[1])
        self.run("start-server")

    def run(self, *words: str, phone: Double | None = None) -> subprocess.CompletedProcess[str]:
        command = ["adb", "-P", self.port, *(["-s", phone.serial] if phone else []), *words]
        environment = {**os.environ, "HOME": str(self.home), "ADB_VENDOR_KEYS": ""}
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=30)

    def connect(self, phone: Double, state: str) -> None:
        """Connect to a phone, and wait until it is in a state."""
        self.run("connect", phone.serial)
        for _ in range(100):
            listed = self.run("devices").stdout
            if f"{phone.serial}\t{state}\n" in listed:
                return
            time.sleep(0.1)
        raise AssertionError(listed)


@pytest.fixture(scope="module")
def _adb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adb]:
    if shutil.which("adb") is None:
        pytest.skip("no adb here: apt install adb")
    adb = Adb(tmp_path_factory.mktemp("home"))
    yield adb
    adb.run("kill-server")


@pytest.fixture
def adb(_adb: Adb) -> Iterator[Adb]:
    """It has no phones yet."""
    yield _adb
    _adb.run("disconnect")


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What takes longer might as well hang."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


@contextmanager
def one_clear_line(match: str) -> Iterator[None]:
    with pytest.raises(DeviceError, match=match) as caught:
        yield
    message = str(caught.value)
    assert message.isprintable() and 10 < len(message) < 500, message


def serves(transport: Transport) -> None:
    """A connection that is good for all that phones are asked."""
    assert transport.script("echo out; echo err >&2; exit 3") == Result(3, "out\n", "err\n")
    data = os.urandom(1_500_000)
    transport.push(data, f"{FOLDER}/a file", 0o755)
    assert transport.size(f"{FOLDER}/a file") == len(data)
    assert transport.pull(f"{FOLDER}/a file") == data
    assert transport.size(f"{FOLDER}/none") is None
    with transport.open("read x; echo got:$x; cat", 5) as channel:
        channel.send(b"it\n")
        assert channel.line() == "got:it"
