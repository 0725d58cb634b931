"""What tests of several floors share: reference data, a narrow space, a cache of their own, an SSH server."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from netdyno.base.errors import InputError
from netdyno.nas.space import make_space
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3

# How long an example takes is the machine's doing, and is no property of what is tested.
settings.register_profile("netdyno", deadline=None)
settings.load_profile("netdyno")


@pytest.fixture(scope="session")
def refdata() -> Path:
    """Published measurements, which are not part of this repository."""
    folder = Path(os.environ.get("NETDYNO_REFDATA") or Path(__file__).parents[2] / "shared" / "refdata")
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}; $NETDYNO_REFDATA says where it is")
    return folder


@pytest.fixture(scope="session")
def narrow() -> OfaMobileNetV3:
    """A space that is small in every respect."""
    space = make_space("ofa-mobilenetv3", width=0.25, resolutions=[48, 56, 64], classes=10)
    assert isinstance(space, OfaMobileNetV3)
    return space


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_reaches_children() -> None:
    """A shell's background jobs ignore Ctrl-C, and what is ignored stays so in the processes that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Locks and caches of the tests are not those of whoever else uses this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def refuses() -> Callable[[Callable[[], object]], str]:
    """Runs what must raise InputError; returns its message, which must be one clear line."""

    def run(action: Callable[[], object]) -> str:
        with pytest.raises(InputError) as caught:
            action()
        message = str(caught.value)
        assert message.strip() and len(message.splitlines()) == 1, repr(message)
        return message

    return run


@pytest.fixture(scope="session")
def survives() -> Callable[[Callable[[], object]], None]:
    """Runs what may succeed, or raise InputError in one clear line, but nothing else."""

    def run(action: Callable[[], object]) -> None:
        try:
            action()
        except InputError as error:
            message = str(error)
            assert message.strip() and len(message.splitlines()) == 1, repr(message)

    return run


class SshServer:
    """A real OpenSSH server on loopback, with keys, configuration and cache of its own.

    ``folder/bin`` holds the system's ``ssh`` with a configuration that knows the key of a user.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache/netdyno"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        for key in ("host", "user"):
            self.make_key(key)
        self._configure()
        self.start()

    def address(self, device: str = "cpu", python: str = sys.executable) -> str:
        """The identifier of a device of this server."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}/{device}?python={python}"

    def make_key(self, name: str) -> None:
        """A new pair of keys, in place of an old one."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)

    def start(self) -> None:
        """Serve, as a daemon that is no child of the tests, and wait until it answers."""
        subprocess.run([SSHD, "-f", f"{self.folder}/sshd_config", "-E", f"{self.folder}/log"], check=True)
        self._wait(lambda: self._answers() and (self.folder / "pid").exists())

    def kill(self) -> None:
        """Kill the server and all that it serves, as a power cut would."""
        server = int((self.folder / "pid").read_text())
        (self.folder / "pid").unlink()
        for pid in [*self._sessions(server), server]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._wait(lambda: not self._answers())

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _wait(self, condition: Callable[[], bool]) -> None:
        for _ in range(200):
            if condition():
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def _sessions(self, parent: int) -> list[int]:
        """The processes below the server."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found += [*self._sessions(int(entry.name)), int(entry.name)]
        return found

    def _configure(self) -> None:
        folder = self.folder
        Path("/run/sshd").mkdir(exist_ok=True)  # a compiled-in need of Debian's server
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\n"
            f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "MaxStartups 100\nAcceptEnv NETDYNO_ROOT LD_LIBRARY_PATH STUB_GPUS\n"
            f"SetEnv XDG_CACHE_HOME={folder}/cache HOME={folder}\n"  # no start-up file of the user's own shell
        )
        self.configure_client()
        (folder / "bin").mkdir()
        (folder / "bin/ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
        (folder / "bin/ssh").chmod(0o755)

    def configure_client(self, **environment: str) -> None:
        """What ``ssh`` is told; what it starts has this environment."""
        folder = self.folder
        (folder / "ssh_config").write_text(
            f"Host *\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {folder}/known\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking accept-new\n"
            + (f"  SetEnv {' '.join(f'{k}={v}' for k, v in environment.items())}\n" if environment else "")
        )


SSHD = "/usr/sbin/sshd"


@pytest.fixture(scope="session")
def _ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    if not Path(SSHD).exists() or shutil.which("ssh") is None:
        pytest.skip("no OpenSSH here: apt install openssh-server openssh-client")
    if os.geteuid() != 0:
        pytest.skip("OpenSSH's server is started by root only")
    server = SshServer(tmp_path_factory.mktemp("ssh"))
    yield server
    server.kill()


@pytest.fixture(scope="class")
def ssh_server(_ssh_server: SshServer) -> Iterator[SshServer]:
    """A real SSH server, and a PATH on which ``ssh`` knows its user's key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{_ssh_server.folder}/bin:{os.environ['PATH']}")
        yield _ssh_server
