"""A phone that is none: Android's own daemon, which runs on Linux, with programs that say what a phone would."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
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

ADBD = Path(os.environ.get("NETDYNO_ADBD", ".adbd")) / "root"


class Phone:
    """The daemon, behind a port of this machine that can be cut."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.supplies = folder / "sys/class/power_supply"
        self.meters = folder / "sys/bus/iio/devices"
        self.undress()
        self._socket = folder / "adbd.socket"
        self._process: subprocess.Popen[str] | None = None
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        self.start()

    def start(self) -> None:
        """Switch it on, as a daemon that is no child of the tests."""
        self._socket.unlink(missing_ok=True)
        inside = Path(__file__).with_name("inside.py")
        apart = ["setsid", "-f", "unshare", "-nmp", "--fork", "--mount-proc", "--kill-child"]
        command = [*apart, sys.executable, "-P", str(inside), str(ADBD.resolve()), str(self._socket)]
        self._process = subprocess.Popen(
            [*command, str(self.programs), str(self.supplies.parents[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self._process.wait()  # it has left a daemon behind, which is at the other end of its pipes

    def stop(self) -> None:
        """Switch it off."""
        if self._process is not None:
            self._process.communicate()
        self.cut()

    def cut(self) -> None:
        """Pull the cable."""
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def undress(self) -> None:
        """Take away its programs, power supplies and power meters."""
        for program in self.programs.iterdir():
            program.unlink()
        for folder in (self.supplies, self.meters):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)

    def dress(self, **said: str) -> None:
        """The programs of a phone that is well, or says otherwise."""
        told = {"getprop": PROPERTIES, "battery": BATTERY, "thermalservice": THERMAL} | said
        self.program("getprop", f"cat <<'END'\n{told['getprop']}\nEND")
        services = "\n".join(f"{name}) cat <<'END'\n{told[name]}\nEND\n;;" for name in ("battery", "thermalservice"))
        self.program("dumpsys", f'case "$1" in\n{services}\nesac')

    def program(self, name: str, text: str) -> None:
        """A program that the phone has: what it prints, by a shell script."""
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(str(self._socket))
            except OSError:
                near.close()
                continue
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(a, b), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Be gone."""
        self.stop()
        self._listener.close()


PROPERTIES = """[ro.product.manufacturer]: [Example]
[ro.product.model]: [Phone 1]
[ro.product.cpu.abi]: [x86_64]
[ro.build.version.release]: [14]
[ro.serialno]: [SECRET123]
[ro.soc.model]: [SOC 9]"""
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  level: 75
  scale: 100
  voltage: 4156
  temperature: 312
  technology: Li-ion"""
THERMAL = """IsStatusOverride: false
Thermal Status: 0
Cached temperatures:
	Temperature{mValue=99.0, mType=0, mName=CPU0, mStatus=0}
HAL Ready: true
Current temperatures from HAL:
	Temperature{mValue=41.5, mType=0, mName=CPU0, mStatus=0}
	Temperature{mValue=43.25, mType=0, mName=CPU1, mStatus=0}
	Temperature{mValue=33.1, mType=3, mName=skin, mStatus=0}
Current cooling devices from HAL:
	CoolingDevice{mValue=0, mType=2, mName=cpu}"""


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
