"""The runner as it is shipped is what its source makes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from netdyno.base.errors import DeviceError
from netdyno.devices.android import runtime
from netdyno.devices.android.build_runner import build
from netdyno.devices.android.process import MOST_MODELS, MOST_TOGETHER, SILENCE_S

HERE = Path(runtime.__file__).parent / "runner"


@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
def test_it_is_built_byte_for_byte(machine: str) -> None:
    pytest.importorskip("ziglang", reason="ziglang is not installed: pip install 'netdyno[dev]'")
    built = build(machine)
    assert built == (HERE / f"runner-{machine}").read_bytes(), "run devices/android/build_runner.py"
    assert hashlib.sha256(built).hexdigest() in (HERE / "SHA256SUMS").read_text()
    assert len(built) < 20_000


def test_both_ends_agree() -> None:
    source = (HERE / "runner.c").read_text()
    assert f"TOGETHER = {MOST_TOGETHER}," in source
    assert f"MODELS = {MOST_MODELS}," in source
    (beat_s,) = re.findall(r"BEAT_S = (\d+)", source)
    assert 2 * int(beat_s) < SILENCE_S


def test_another_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert runtime.runner("x86_64")[:4] == b"\x7fELF"
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner/SHA256SUMS").write_text((HERE / "SHA256SUMS").read_text())
    (tmp_path / "runner/runner-x86_64").write_bytes(b"\x7fELF something else")
    monkeypatch.setattr(runtime, "files", lambda _: tmp_path)
    with pytest.raises(DeviceError, match="is not as it was built"):
        runtime.runner("x86_64")
