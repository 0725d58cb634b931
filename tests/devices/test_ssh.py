"""Another machine's CPU, over a real OpenSSH server on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdyno.base.artifact import Artifact
from netdyno.base.errors import DeviceBusy, DeviceError, InputError, WorkerLost
from netdyno.devices import Settings, open_device
from netdyno.devices.cpu import CpuDevice
from netdyno.devices.ssh import SshDevice, ssh_device
from netdyno.devices.testing import Case, DeviceConformance

pytestmark = pytest.mark.alone

Model = Callable[..., Artifact]


@pytest.fixture(scope="class")
def device(ssh_server: Any) -> Iterator[SshDevice]:
    with ssh_device(ssh_server.address()) as device:
        yield device


class TestSshConformance(DeviceConformance):
    """The shipped suite, at the other end of a connection."""


class TestSsh:
    def test_the_same_as_here(self, device: SshDevice, cases: list[Case]) -> None:
        with CpuDevice() as here:
            assert device.info().name == here.info().name
            assert device.info().facts == here.info().facts
            assert device.formats == here.formats
            assert set(device.state()) == set(here.state())
        assert cases

    def test_nothing_tells_who_or_where(self, device: SshDevice, ssh_server: Any) -> None:
        text = json.dumps([device.info().id, device.info().facts, dict(device.state())])
        assert "127.0.0.1" not in text
        assert str(ssh_server.port) not in device.info().id

    def test_foreign_models(self, device: SshDevice, model: Model) -> None:
        with device.open(model("dynamic")) as session:
            assert session.inputs[0].shape == (1, 3)
        with pytest.raises(InputError, match="input"):
            device.open(model("dynamic-tflite", x=(4, 5)))
        x = np.array([[1, -1, 2]] * 4, np.float32)
        with device.open(model("dynamic", x=(4, 3))) as session:
            np.testing.assert_array_equal(session.run({"x": x}).outputs["y"], np.maximum(x, 0))
            assert session.peak_memory_bytes() > 0

    def test_models_travel_once_and_nothing_else_is_left(
        self, device: SshDevice, cases: list[Case], ssh_server: Any
    ) -> None:
        assert device.cache.endswith(str(ssh_server.cache))
        artifact = cases[0].artifact
        device.open(artifact).close()
        kept = ssh_server.cache / "models" / artifact.sha256
        assert kept.read_bytes() == artifact.data
        before = kept.stat().st_ino
        device.close()
        with ssh_device(ssh_server.address()) as again:
            again.open(artifact).close()
        assert kept.stat().st_ino == before
        assert {path.name for path in ssh_server.cache.parent.iterdir()} == {"netdyno"}
        assert {path.name for path in ssh_server.cache.iterdir()} <= {"models", "locks", "engines", "trtexec"}

    def test_a_spoiled_model_is_sent_again(self, device: SshDevice, cases: list[Case], ssh_server: Any) -> None:
        artifact = cases[0].artifact
        device.open(artifact).close()
        device.close()
        (ssh_server.cache / "models" / artifact.sha256).write_bytes(b"half")
        with ssh_device(ssh_server.address()) as again, again.open(artifact) as session:
            cases[0].check(session.run(cases[0].inputs), repeat=1)

    def test_a_model_that_kills_its_process(self, device: SshDevice, model: Model, ssh_server: Any) -> None:
        session = device.open(model("add"))
        command = ["watched", "onnxruntime", "cpu"]
        (worker,) = [pid for pid in _agents() if _command(pid)[-3:] == command and _children(pid) == []]
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerLost, match="was killed by SIGKILL"):
            session.run()
        device.open(model("add")).run()

    def test_one_user_at_a_time(self, device: SshDevice, cases: list[Case], ssh_server: Any) -> None:
        device.hold()
        with ssh_device(ssh_server.address(), lock_wait_s=0.6) as other, pytest.raises(DeviceBusy, match="in use"):
            other.open(cases[0].artifact)


def _agents() -> list[int]:
    return [
        int(p.name)
        for p in Path("/proc").iterdir()
        if p.name.isdigit() and "netdyno agent" in str(_command(int(p.name)))
    ]


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    except OSError:
        return []


def _children(pid: int) -> list[int]:
    stat = {p: Path(f"/proc/{p}/stat").read_text().rpartition(")")[2].split()[1] for p in _agents()}
    return [child for child, parent in stat.items() if parent == str(pid)]


def test_a_cut_connection_is_a_lost_device(ssh_server: Any, model: Model) -> None:
    """Even amid an inference, and the other machine keeps no process of ours."""
    with ssh_device(ssh_server.address()) as device:
        session = device.open(model("add"))
        timer = threading.Timer(0.5, ssh_server.kill)
        timer.start()
        with pytest.raises(DeviceError) as caught:
            session.run(repeat=10**9)
        assert not isinstance(caught.value, WorkerLost)
        assert "127.0.0.1" in str(caught.value)
        timer.join()
        with pytest.raises(DeviceError, match=r"127\.0\.0\.1: .*open it again"):
            session.run()
        with pytest.raises(DeviceError, match="Connection refused"):
            device.open(model("add"))
        ssh_server.start()
        device.restart()
        device.open(model("add")).run()
    for _ in range(50):
        if not _agents():
            return
        time.sleep(0.1)
    assert not _agents()


class TestWhatGoesWrong:
    def test_nobody_answers(self) -> None:
        with pytest.raises(DeviceError, match=r"nobody@127\.0\.0\.1: connect to host .* Connection refused"):
            open_device("ssh://nobody@127.0.0.1:1/cpu")

    @pytest.mark.parametrize(
        "identifier",
        [
            "ssh", "ssh://", "ssh://host", "ssh://host/", "ssh://-oProxyCommand=x/cpu", "ssh://h;x/cpu",
            "ssh://a b/cpu", "ssh://h/cpu?python=$(x)", "ssh://h/cpu?python=a b", "ssh://@h/cpu", "ssh://h:x/cpu", "ssh://h/toaster",
        ],
    )  # fmt: skip
    def test_addresses_that_are_none(self, identifier: str) -> None:
        with pytest.raises(InputError):
            open_device(identifier)

    def test_no_such_python(self, ssh_server: Any) -> None:
        with pytest.raises(DeviceError, match="no such Python there"):
            open_device(ssh_server.address(python="/no/such/python"))

    def test_a_python_without_runtimes(self, ssh_server: Any, tmp_path: Path) -> None:
        subprocess.run(["/usr/bin/env", "python3", "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
        with pytest.raises(DeviceError, match="has neither onnxruntime nor LiteRT"):
            open_device(ssh_server.address(python=str(tmp_path / "bare/bin/python")))

    def test_no_ssh(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(DeviceError, match="no ssh on this machine"):
            open_device("ssh://host/cpu")

    def test_a_start_that_hangs(self, ssh_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        hanging = tmp_path / "python"
        hanging.write_text("#!/bin/sh\nexec sleep 60\n")
        hanging.chmod(0o755)
        monkeypatch.setattr("netdyno.devices.ssh.device.CONNECT_S", 1.0)
        with pytest.raises(DeviceError, match=r"did not answer for 1 s; see whether `ssh .* true` returns"):
            open_device(ssh_server.address(python=str(hanging)))

    def test_a_changed_host_key(self, ssh_server: Any) -> None:
        known = ssh_server.folder / "known"
        before = known.read_text() if known.exists() else ""
        other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3ldVCbkRTiHwmYmSDtjVHx5tJ4TZP3vdDqxAlkWhdi"
        known.write_text(f"[127.0.0.1]:{ssh_server.port} {other}\n")
        try:
            with pytest.raises(DeviceError, match=r"Host key verification failed.*connect once by hand"):
                open_device(ssh_server.address())
        finally:
            known.write_text(before)

    def test_a_key_that_is_not_taken(self, ssh_server: Any) -> None:
        allowed = ssh_server.folder / "user.pub"
        text = allowed.read_text()
        allowed.write_text("")
        try:
            with pytest.raises(DeviceError, match=r"Permission denied.*none of your keys"):
                open_device(ssh_server.address())
        finally:
            allowed.write_text(text)

    def test_a_full_disk(self, ssh_server: Any, cases: list[Case]) -> None:
        models = ssh_server.cache / "models"
        shutil.rmtree(models, ignore_errors=True)
        models.mkdir(parents=True)
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(models)], check=False, capture_output=True
        )
        if mount.returncode:
            pytest.skip(f"no small disk can be made here: {mount.stderr.decode().strip()}")
        try:
            big = Artifact(cases[0].artifact.data + b"\0" * 10_000, cases[0].artifact.format, "big")
            with (
                ssh_device(ssh_server.address()) as device,
                pytest.raises(DeviceError, match="No space left on device"),
            ):
                device.open(big, Settings())
            assert list(models.iterdir()) == []
        finally:
            subprocess.run(["umount", str(models)], check=True)
