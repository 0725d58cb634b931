"""Commands and files on a phone, by both ways, through Android's own daemon."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.errors import DeviceError
from netdyno.devices.android.find import connect
from netdyno.devices.android.transport import FOLDER, Result, Transport, parse_result

pytestmark = pytest.mark.alone

NASTY = [
    "$(reboot).tflite",
    "a;touch /data/pwned",
    "`touch /data/pwned`",
    "a b  c",
    "line\nbreak",
    "'quoted\" \\ ",
    "-rf",
    "ümläut 电话",
    "x" * 240,
    "&& touch /data/pwned #",
]


def test_exit_code_and_both_outputs(transport: Transport) -> None:
    assert transport.script("echo out; echo err >&2; exit 3") == Result(3, "out\n", "err\n")
    assert transport.script("printf 'no newline'") == Result(0, "no newline", "")
    assert transport.script("true") == Result(0, "", "")
    assert transport.script("cat") == Result(0, "", ""), "nobody types"
    assert transport.shell("no such program").code == 127


@pytest.mark.parametrize("text", NASTY)
def test_arguments_reach_a_program_as_they_are(transport: Transport, text: str) -> None:
    """Nothing in them is executed."""
    assert transport.shell("printf", "%s", text) == Result(0, text, "")
    assert transport.size("/data/pwned") is None


@pytest.mark.parametrize("name", NASTY)
def test_files_of_any_name(transport: Transport, name: str) -> None:
    path = f"{FOLDER}/{name}"
    data = os.urandom(200_000)
    assert transport.size(path) is None
    transport.push(data, path)
    assert transport.size(path) == len(data)
    assert transport.pull(path) == data
    assert transport.shell("rm", path).code == 0
    assert transport.size(path) is None
    assert transport.size("/data/pwned") is None


def test_modes(transport: Transport) -> None:
    transport.push(b"#!/bin/sh\necho ran $1\n", f"{FOLDER}/run", mode=0o755)
    assert transport.shell(f"{FOLDER}/run", "$HOME").out == "ran $HOME\n"


def test_what_is_not_there(transport: Transport) -> None:
    with pytest.raises(DeviceError, match="nothing here"):
        transport.pull(f"{FOLDER}/nothing here")
    with pytest.raises(DeviceError, match="/proc/"):
        transport.push(b"x", "/proc/nothing/x")


def test_the_error_of_a_command(transport: Transport) -> None:
    with pytest.raises(DeviceError, match=r"listing: .*No such file"):
        transport.shell("ls", "/no/such").check("listing")
    assert transport.script("echo fine").check("x") == "fine\n"


def test_a_command_that_does_not_end(transport: Transport) -> None:
    with pytest.raises(DeviceError, match="did not answer for 1 s"):
        transport.script("sleep 30", timeout_s=1)


def test_nothing_is_left(transport: Transport) -> None:
    def listed() -> set[str]:
        return set(transport.script("ls -1 /data/local/tmp").out.split())

    before = listed()
    transport.script("echo; echo >&2; exit 1")
    assert len(listed() - before) == 1, "its own errors only"


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "amid"])
def test_a_pulled_cable(phone: Any, moment: str) -> None:
    pytest.importorskip("adb_shell", reason="adb-shell is not installed: pip install 'netdyno[android]'")
    with connect(phone.serial) as transport:
        transport.script("true")
        timer = threading.Timer(0 if moment == "before" else 0.5, phone.cut)
        timer.start()
        time.sleep(0.1)
        with pytest.raises(DeviceError):
            transport.script("sleep 3; echo late")
        timer.join()
    with connect(phone.serial) as transport:
        assert transport.script("echo back").out == "back\n"


def test_a_key_is_made_once_for_its_user_alone(phone: Any, tmp_path: Path) -> None:
    pytest.importorskip("adb_shell", reason="adb-shell is not installed: pip install 'netdyno[android]'")
    connect(phone.serial).close()
    key = tmp_path / "cache/netdyno/adbkey"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    made = key.read_bytes()
    connect(phone.serial).close()
    assert key.read_bytes() == made


def test_the_running_server_is_preferred(phone: Any, adb_server: None) -> None:
    with connect("") as only, connect(phone.serial) as named:
        assert (only.way, named.way) == ("adb server", "adb server")
        assert only.serial == named.serial == phone.serial
    with pytest.raises(DeviceError, match=r"android:\$\(touch pwned\): no such phone; the adb server has 127"):
        connect("$(touch pwned)")


@pytest.mark.parametrize("serial", ["127.0.0.1:1", "$(touch pwned)", "x" * 300, "a\nb", ""])
def test_phones_that_are_not_there(serial: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeviceError) as caught:
        connect(serial)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "pwned").exists()


@given(st.text(), st.text(), st.integers(0, 255))
def test_results_are_read_back(out: str, err: str, code: int) -> None:
    out, err = out.replace("\r", ""), err.replace("\r", "")
    assert parse_result(f"{out}\nM\n{err}\nM:{code}\n", "M", "s") == Result(code, out, err)


@given(st.text())
def test_other_answers_are_none(said: str) -> None:
    with pytest.raises(DeviceError, match="did not answer as one"):
        parse_result(said, "a mark that nobody guesses", "s")


def test_a_command_that_is_talked_to(transport: Transport) -> None:
    """Lines go in and come out, and nothing of what is sent comes back by itself."""
    with transport.open("while read x; do [ $x = end ] && exit; echo got:$x; done", 5) as channel:
        for word in ("one", "$(two)", "x" * 3000):
            channel.send(f"{word}\n".encode())
            assert channel.line() == f"got:{word}"
        channel.send(b"end\n")
        with pytest.raises(EOFError):
            channel.line()


def test_a_command_ends_with_its_channel(transport: Transport) -> None:
    with transport.open("echo $$; cat; sleep 0", 5) as channel:
        pid = int(channel.line())
        assert transport.script(f"kill -0 {pid}").code == 0
    for _ in range(50):
        if transport.script(f"kill -0 {pid}").code:
            return
        time.sleep(0.1)
    pytest.fail("it still runs")


def test_a_silent_command(transport: Transport) -> None:
    with transport.open("sleep 20", 1) as channel, pytest.raises(DeviceError, match="did not answer for 1 s"):
        channel.line()
