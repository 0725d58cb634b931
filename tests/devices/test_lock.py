from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from netdyno.base.errors import DeviceBusy, InputError
from netdyno.devices.lock import DeviceLock

pytestmark = pytest.mark.alone

TRY = (
    "import sys; from pathlib import Path; from netdyno.devices.lock import DeviceLock\n"
    "from netdyno.base.errors import DeviceBusy\n"
    "try: DeviceLock(sys.argv[1], wait_s=0, folder=Path(sys.argv[2])).acquire()\n"
    "except DeviceBusy as error: print(error)\n"
    "else: print('free')"
)


@pytest.fixture
def seen_by_others(tmp_path: Path, other_process: Callable[..., subprocess.Popen[str]]) -> Callable[[str], str]:
    def ask(device: str) -> str:
        return other_process(TRY, device, str(tmp_path)).communicate()[0]

    return ask


def test_until_the_last_release(tmp_path: Path, seen_by_others: Callable[[str], str]) -> None:
    one, two = DeviceLock("cpu", folder=tmp_path), DeviceLock("cpu", folder=tmp_path)
    for lock in (one, one, two):
        lock.acquire()
    assert "in use by process" in seen_by_others("cpu")
    assert seen_by_others("cuda:0") == "free\n"
    one.release()
    one.release()
    assert "in use by process" in seen_by_others("cpu")
    two.release()
    assert seen_by_others("cpu") == "free\n"


def test_a_forgotten_lock_is_let_go(tmp_path: Path, seen_by_others: Callable[[str], str]) -> None:
    DeviceLock("cpu", folder=tmp_path).acquire()
    gc.collect()
    assert seen_by_others("cpu") == "free\n"


def test_identifiers_do_not_leave_the_folder(tmp_path: Path) -> None:
    lock = DeviceLock("ssh://../../user@host/cpu", folder=tmp_path / "locks")
    lock.acquire()
    assert [path.parent for path in tmp_path.rglob("*.lock")] == [tmp_path / "locks"]
    lock.release()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"12 \n rm", b"9" * 100_000])
def test_a_strange_lock_file(tmp_path: Path, content: bytes) -> None:
    import fcntl

    path = tmp_path / "cpu.lock"
    path.write_bytes(content)
    with path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(DeviceBusy) as caught:
            DeviceLock("cpu", wait_s=0, folder=tmp_path).acquire()
        assert "\n" not in str(caught.value)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "cpu.lock").mkdir()
    with pytest.raises(InputError):
        DeviceLock("cpu", folder=tmp_path).acquire()
    (tmp_path / "file").touch()
    with pytest.raises(InputError):
        DeviceLock("cpu", folder=tmp_path / "file").acquire()
