"""A phone that is none: Android's own daemon, which runs on Linux, with programs that say what a phone would.

``python tests/devices/android/phone.py`` starts one and says how netdyno reaches it, until its input ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

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
        self.flowing = threading.Event()
        """While it is not set, nothing gets through, either way."""
        self.flowing.set()
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
        told = {"getprop": PROPERTIES, "battery": BATTERY, "thermalservice": THERMAL, "deviceidle": "true"} | said
        self.program("getprop", f"cat <<'END'\n{told['getprop']}\nEND")
        services = "\n".join(f"{name}) cat <<'END'\n{told[name]}\nEND\n;;" for name in told if name != "getprop")
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

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self.flowing.wait()
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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        phone = Phone(Path(folder))
        phone.dress()
        print(f"android:{phone.serial}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()
        phone.close()


if __name__ == "__main__":
    main()
