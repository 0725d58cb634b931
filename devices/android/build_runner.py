"""Build the runner, alike on every machine: ``python devices/android/build_runner.py``.

Needs ``ziglang`` (extra ``dev``), which brings a C compiler and the C libraries of both.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent / "runner"
TARGETS = {"aarch64": "aarch64-linux-gnu.2.28", "x86_64": "x86_64-linux-gnu.2.28"}
OPTIONS = ("-O2", "-s", "-Wall", "-Wno-strict-prototypes", "-Wno-deprecated-non-prototype", "-std=gnu11")


def build(machine: str) -> bytes:
    """The runner for ``aarch64`` or ``x86_64``."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "runner"
        compiler = (sys.executable, "-m", "ziglang", "cc", "-target", TARGETS[machine])
        # Relative names: where the repository is must not get into the file.
        command = [*compiler, *OPTIONS, "-o", str(out), "runner.c", "-ldl"]
        subprocess.run(command, check=True, cwd=HERE)
        return out.read_bytes()


def main() -> None:
    """Write both, and their digests."""
    digests = []
    for machine in TARGETS:
        data = build(machine)
        (HERE / f"runner-{machine}").write_bytes(data)
        digests.append(f"{hashlib.sha256(data).hexdigest()}  runner-{machine}\n")
        print(f"runner-{machine}: {len(data)} bytes", file=sys.stderr)
    (HERE / "SHA256SUMS").write_text("".join(digests))


if __name__ == "__main__":
    main()
