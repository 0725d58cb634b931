"""Runs Android's daemon in a network and a mount of its own, and leads a socket in a file to it.

``python inside.py ADBD_ROOT SOCKET PROGRAMS [SYS]``: the daemon listens on all addresses without asking for a key, so
it never shares a network with anything; its ``/data`` is memory. Programs in PROGRAMS stand before the system's, the
folders in SYS in place of those of ``/sys``. It ends with its standard input.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

PORT = 5555


def main(root: Path, path: Path, programs: str, sys_folder: str = "") -> None:
    _loopback_up()
    for folder in Path(sys_folder).iterdir() if sys_folder else ():
        subprocess.run(["mount", "--bind", str(folder), f"/sys/{folder.name}"], check=True)
    Path("/data").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/data"], check=True)
    Path("/data/local/tmp").mkdir(parents=True)
    libraries = root / "usr/lib/x86_64-linux-gnu"
    environment = {
        **os.environ,
        "ADBD_PORT": str(PORT),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "TMPDIR": "/data/local/tmp",
    }
    loader = [libraries / "ld-linux-x86-64.so.2", "--library-path", f"{libraries}:{libraries}/android"]
    command = [*loader, root / "usr/lib/android-sdk/platform-tools/adbd"]
    daemon = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        print("ready", flush=True)
        sys.stdin.read()
    daemon.kill()


def _loopback_up() -> None:
    with socket.socket() as probe:
        fcntl.ioctl(probe, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running


def _serve(listener: socket.socket) -> None:
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_lead, args=(near,), daemon=True).start()


def _lead(near: socket.socket) -> None:
    try:
        far = socket.create_connection(("127.0.0.1", PORT), timeout=5)
    except OSError:
        near.close()
        return
    far.settimeout(None)
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for a, b in ((near, far), (far, near)):
        threading.Thread(target=_copy, args=(a, b), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # cut
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):  # the other thread was first
            end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
