"""Phones that ask for a key: by a double of a phone, which a genuine adb takes for one."""

from __future__ import annotations

import logging
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from netdyno.base.errors import InputError
from netdyno.cli.main import run
from netdyno.devices.android import find
from netdyno.devices.android.device import AndroidDevice
from netdyno.devices.android.direct import DirectTransport
from netdyno.devices.android.find import connect
from netdyno.devices.android.server import server_devices

from .conftest import Adb, one_clear_line, serves, within
from .double import Double
from .phone import BATTERY, PROPERTIES, THERMAL

pytestmark = pytest.mark.alone

pytest.importorskip("adb_shell", reason="adb-shell is not installed: pip install 'netdyno[android]'")

Make = Callable[..., Double]
ACCEPT = "accept the key on the phone's screen"
NETDYNO = str(Path(sys.executable).with_name("netdyno"))
PROFILE = ["profile", "ofa-mobilenetv3:width=0.25,resolutions=48,classes=10", "--metrics", "latency", "--device"]


def dressed(double: Double) -> Double:
    """With the programs of a phone that is well."""
    double.program("getprop", f"cat <<'END'\n{PROPERTIES}\nEND")
    double.program("dumpsys", f'[ "$1" = battery ] && cat <<"A" || cat <<"B"\n{BATTERY}\nA\n{THERMAL}\nB')
    return double


class TestDouble:
    """What the double is worth: a genuine adb, and the library by itself, take it for a phone."""

    @pytest.mark.parametrize("manner", ["asks for none", "knows the key", "learns it"])
    def test_a_genuine_adb(self, adb: Adb, make: Make, manner: str, tmp_path: Path) -> None:
        double = make(asks=manner != "asks for none", accepts_s=0.5 if manner == "learns it" else None)
        if manner == "knows the key":
            double.learn((adb.home / ".android/adbkey.pub").read_bytes())
        adb.connect(double, "device")
        assert adb.run("shell", "echo out; echo err >&2; pwd", phone=double).stdout == f"out\nerr\n{double.home}\n"
        data = os.urandom(3_000_000)
        (tmp_path / "here").write_bytes(data)
        (tmp_path / "here").chmod(0o755)
        assert adb.run("push", str(tmp_path / "here"), "/data/local/tmp/there/x", phone=double).returncode == 0
        assert (double.home / "there/x").read_bytes() == data
        assert stat.S_IMODE((double.home / "there/x").stat().st_mode) == 0o755
        assert adb.run("pull", "/data/local/tmp/there/x", str(tmp_path / "back"), phone=double).returncode == 0
        assert (tmp_path / "back").read_bytes() == data
        assert "does not exist" in adb.run("pull", "/data/none", str(tmp_path), phone=double).stdout
        failed = adb.run("push", str(tmp_path / "here"), "/data/local/tmp/there/x/y", phone=double)
        assert failed.returncode == 1 and "File exists" in failed.stdout + failed.stderr
        assert double.count("asked") == (manner == "learns it")
        assert double.count("verified") == (manner == "knows the key")

    def test_a_genuine_adb_again(self, adb: Adb, make: Make) -> None:
        """A key once learnt is asked for no more."""
        double = make(accepts_s=0.0)
        adb.connect(double, "device")
        adb.run("disconnect", double.serial)
        adb.connect(double, "device")
        assert (double.count("asked"), double.count("forged"), double.count("verified")) == (1, 1, 1)

    def test_another_key(self, adb: Adb, make: Make, tmp_path: Path) -> None:
        """A signature counts for its own key only."""
        from adb_shell.auth.keygen import keygen

        keygen(str(tmp_path / "other"))
        double = make()
        double.learn((tmp_path / "other.pub").read_bytes())
        adb.connect(double, "unauthorized")
        assert (double.count("asked"), double.count("forged"), double.count("verified")) == (1, 1, 0)

    @pytest.mark.parametrize("asks", [False, True])
    def test_the_library_by_itself(self, make: Make, asks: bool, tmp_path: Path) -> None:
        from adb_shell.adb_device import AdbDeviceTcp
        from adb_shell.auth.keygen import keygen
        from adb_shell.auth.sign_pythonrsa import PythonRSASigner

        keygen(str(tmp_path / "key"))
        double = make(asks=asks)
        double.learn((tmp_path / "key.pub").read_bytes())
        device = AdbDeviceTcp(*double.serial.split(":"))
        assert device.connect([PythonRSASigner.FromRSAKeyPath(str(tmp_path / "key"))])
        assert device.shell("echo $HOME") == f"{double.home}\n"
        device.push(str(tmp_path / "key"), "/data/local/tmp/key")
        device.pull("/data/local/tmp/key", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == (tmp_path / "key").read_bytes()
        device.close()
        assert double.count("verified") == asks


class TestKeys:
    def test_a_new_key(self, make: Make, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
        """The owner is told while there is time, and is not asked again."""
        double = make(accepts_s=1.5)
        with DirectTransport(double.serial) as transport:
            (said,) = caplog.records
            assert said.getMessage() == f"{double.serial}: {ACCEPT}"
            assert time.time() - said.created > 1, "it was said before the wait"
            serves(transport)
        assert stat.S_IMODE((tmp_path / "cache/netdyno/adbkey").stat().st_mode) == 0o600
        caplog.clear()
        with DirectTransport(double.serial) as transport:
            serves(transport)
        assert (double.count("asked"), double.count("verified"), caplog.records) == (1, 1, [])

    def test_a_phone_that_asks_for_none(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        with DirectTransport(make(asks=False).serial) as transport:
            serves(transport)
        assert caplog.records == []

    def test_a_device(self, make: Make) -> None:
        double = dressed(make(accepts_s=0.1))
        with AndroidDevice(f"android:{double.serial}") as device:
            assert device.info().name == "Example Phone 1"
            assert device.state()["thermal_status"] == 0

    def test_a_slow_radio(self, make: Make) -> None:
        """Messages are longer than what a buffer has room for at once."""
        with DirectTransport(make(asks=False, narrow=True).serial) as transport:
            serves(transport)

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("refuses", ["silence", "close", "token"])
    def test_a_key_that_is_refused(self, make: Make, refuses: str, caplog: pytest.LogCaptureFixture) -> None:
        double = make(refuses=refuses)
        with within(10), one_clear_line(f"does not know this machine's key; {ACCEPT}, then try again"):
            DirectTransport(double.serial, accept_s=1)
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert double.count("asked") == 1

    @pytest.mark.usefixtures("impatient")
    def test_silence(self, make: Make) -> None:
        with within(10), one_clear_line("did not answer for 1 s"):
            DirectTransport(make(silent=True).serial)

    def test_a_key_that_is_none(self, make: Make, tmp_path: Path) -> None:
        double = make(accepts_s=0.0)
        path = tmp_path / "cache/netdyno/adbkey"
        DirectTransport(double.serial).close()
        whole = path.read_text()
        for broken in ("", "nonsense", whole[:500], whole.replace("A", "B"), whole[:100] + whole[200:]):
            path.write_text(broken)
            with pytest.raises(InputError, match=f"{path}: is no key that can be used, remove it"):
                DirectTransport(double.serial)
        path.unlink()
        DirectTransport(double.serial).close()
        assert double.count("asked") == 2

    def test_three_at_once_make_one_key(self, make: Make, tmp_path: Path) -> None:
        code = "from netdyno.devices.android.direct import _signer; print(_signer().GetPublicKey().split()[0])"
        three = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(3)]
        assert len({process.communicate(timeout=60)[0] for process in three}) == 1
        assert {file.name for file in (tmp_path / "cache/netdyno").glob("adb*")} == {"adbkey", "adbkey.pub"}


class TestCommandLine:
    def test_a_new_key(self, make: Make) -> None:
        """Said on the terminal, and then a model really runs."""
        double = dressed(make(accepts_s=1.0))
        command = [NETDYNO, "doctor", "--device", f"android:{double.serial}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.stderr.splitlines()[0] == f"{double.serial}: {ACCEPT}"
        assert done.returncode == 0
        assert re.search(r"ok +runtime litert", done.stdout)
        assert "Example Phone 1" in done.stdout

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("manner", [{"refuses": "silence"}, {"refuses": "close"}, {"silent": True}])
    def test_one_line(
        self, make: Make, manner: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(find, "DirectTransport", partial(DirectTransport, accept_s=1))
        with within(10):
            assert run([*PROFILE, f"android:{make(**manner).serial}"]) == 3
        (line,) = capsys.readouterr().err.splitlines()
        assert "accept the key" in line

    def test_a_refusal_as_a_process(self, make: Make, tmp_path: Path) -> None:
        double = make(refuses="close")
        command = [NETDYNO, *PROFILE, f"android:{double.serial}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        told, failed = done.stderr.splitlines()
        assert (done.returncode, told) == (3, f"{double.serial}: {ACCEPT}")
        assert failed.startswith(f"netdyno: {double.serial}: does not know this machine's key")


class TestServer:
    """The same by a genuine adb server."""

    @pytest.fixture(autouse=True)
    def _near(self, adb: Adb, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", adb.port)

    def test_unauthorized(self, adb: Adb, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        double = make()
        adb.connect(double, "unauthorized")
        assert server_devices() == {double.serial: "unauthorized"}
        for serial in (double.serial, ""):
            with within(10), one_clear_line(rf"unauthorized \({ACCEPT}, then try again\)"):
                connect(serial)
        assert run([*PROFILE, "android"]) == 3
        assert ACCEPT in capsys.readouterr().err
        assert run(["devices"]) == 0
        assert f"android: {double.serial}: unauthorized ({ACCEPT}, then try again)" in capsys.readouterr().err

    def test_a_key_that_the_owner_accepts(self, adb: Adb, make: Make) -> None:
        double = make(accepts_s=1.0)
        adb.run("connect", double.serial)
        adb.connect(double, "device")
        with connect(double.serial) as transport:
            assert transport.way == "adb server"
            serves(transport)
