"""Phones that lie: whatever they say, an error in one line, in time, or what is right all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netdyno.cli.main import run
from netdyno.devices.android.device import AndroidDevice
from netdyno.devices.android.direct import DirectTransport
from netdyno.devices.android.find import connect
from netdyno.devices.android.transport import Transport

from .conftest import Adb, one_clear_line, serves, within
from .double import Double

pytestmark = pytest.mark.alone

pytest.importorskip("adb_shell", reason="adb-shell is not installed: pip install 'netdyno[android]'")

Make = Callable[..., Double]


def no_file(transport: Transport) -> None:
    """Whatever is done with a file fails, and not all of what the phone says is repeated."""
    for action in (lambda: transport.pull("/data/x"), lambda: transport.push(b"x", "/data/x")):
        with within(20), one_clear_line("/data/x"):
            action()


def endless(transport: Transport) -> None:
    """Commands that write for ever, whether much or little, end all the same."""
    for command in ("yes", "while echo x; do sleep 0.1; done"):
        with within(15), one_clear_line("did not answer|does not stop"):
            transport.script(command, timeout_s=1)


@pytest.mark.usefixtures("impatient")
class TestDirect:
    """Without a server between."""

    @pytest.mark.parametrize("how", ["checksum", "length", "command", "cut", "drip"])
    @pytest.mark.parametrize("command", [b"CNXN", b"AUTH"])
    def test_greetings(self, make: Make, command: bytes, how: str) -> None:
        double = make(asks=command == b"AUTH", spoils=(command, how))
        with within(15), one_clear_line(double.serial):
            DirectTransport(double.serial, accept_s=1)

    @pytest.mark.parametrize("token", [(1, 0), (1, 19), (1, 300), (1, 1 << 20), (7, 20), (7, 1 << 20), (1, 1 << 21)])
    def test_tokens(self, make: Make, token: tuple[int, int]) -> None:
        double = make(token=token)
        with within(15), one_clear_line(double.serial):
            DirectTransport(double.serial, accept_s=1)

    @pytest.mark.parametrize("how", ["length", "command", "cut", pytest.param("drip", marks=pytest.mark.slow)])
    @pytest.mark.parametrize("command", [b"OKAY", b"WRTE"])
    def test_answers(self, make: Make, command: bytes, how: str) -> None:
        double = make(asks=False, spoils=(command, how))
        with DirectTransport(double.serial) as transport:
            for action in (lambda: transport.size("/data/x"), lambda: transport.script("echo x", timeout_s=1)):
                with within(15), one_clear_line(double.serial):
                    action()

    def test_an_answer_of_another_checksum(self, make: Make) -> None:
        double = make(asks=False, spoils=(b"WRTE", "checksum"))
        with DirectTransport(double.serial) as transport, one_clear_line("checksum"):
            transport.script("echo x", timeout_s=1)

    def test_magic_is_not_looked_at(self, make: Make) -> None:
        with DirectTransport(make(asks=False, spoils=(b"CNXN", "magic")).serial) as transport:
            serves(transport)

    @pytest.mark.parametrize("maxdata", [0, 1, 5000, 0xFFFFFFFF])
    def test_how_much_it_claims_to_take(self, make: Make, maxdata: int) -> None:
        with DirectTransport(make(asks=False, maxdata=maxdata).serial) as transport:
            serves(transport)

    def test_a_stream_that_nobody_opened(self, make: Make) -> None:
        with DirectTransport(make(asks=False, stream="foreign").serial) as transport:
            serves(transport)

    @pytest.mark.slow
    @pytest.mark.parametrize("stream", ["refuse", "mute", "flood", "flood foreign", "flood empty"])
    def test_streams(self, make: Make, stream: str) -> None:
        double = make(asks=False, stream=stream)
        with within(30), DirectTransport(double.serial) as transport:
            with one_clear_line(double.serial):
                transport.push(bytes(1_000_000), "/data/x")
            with one_clear_line(double.serial), transport.open("yes", 1) as channel:
                channel.send(b"x")
                while True:
                    channel.line()
            if stream != "mute":
                with one_clear_line(double.serial):
                    transport.script("echo x", timeout_s=1)

    @pytest.mark.parametrize("sync", ["fail", "unknown", "huge", "endless"])
    def test_lies_about_files(self, make: Make, sync: str) -> None:
        with DirectTransport(make(asks=False, sync=sync).serial) as transport:
            no_file(transport)

    def test_a_command_that_does_not_stop(self, make: Make) -> None:
        with DirectTransport(make(asks=False).serial) as transport:
            endless(transport)

    def test_escapes(self, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
        """What would move a terminal's cursor is shown by neither names nor errors."""
        escape = "printf '\\033]0;owned\\007\\033[2J'"
        double = make(asks=False)
        double.program("getprop", f"echo '[ro.product.cpu.abi]: [x86_64]\n[ro.product.model]: ['$({escape})']'")
        for name in ("dumpsys", "uname", "nproc"):
            double.program(name, escape)
        with AndroidDevice(f"android:{double.serial}") as device:
            assert device.info().name.isprintable()
            with one_clear_line("trying"):
                device._transport.script(f"{escape} >&2; exit 1").check("trying")
        assert run(["doctor", "--device", f"android:{double.serial}"]) == 0
        assert "\033" not in "".join(capsys.readouterr())


class TestServer:
    """By a genuine adb server, which repeats what a phone says of files and commands."""

    @pytest.fixture(autouse=True)
    def _near(self, adb: Adb, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", adb.port)

    @pytest.mark.parametrize("sync", ["fail", "unknown", "huge", "endless"])
    def test_lies_about_files(self, adb: Adb, make: Make, sync: str) -> None:
        double = make(asks=False, sync=sync)
        adb.connect(double, "device")
        with connect(double.serial) as transport:
            no_file(transport)

    def test_a_command_that_does_not_stop(self, adb: Adb, make: Make) -> None:
        double = make(asks=False)
        adb.connect(double, "device")
        with connect(double.serial) as transport:
            endless(transport)
