from __future__ import annotations

import subprocess
import sys
import time

SCRIPT = (
    "import time; from netdyno.base.clock import process_age_s as age; a = age(); time.sleep(0.5); print(a, age())"
)


def test_age_counts_from_the_start_of_the_process() -> None:
    began = time.monotonic()
    printed = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    took = time.monotonic() - began
    first, second = map(float, printed.split())
    assert 0 < first < second <= took + 0.02  # a tick is 10 ms
    assert second - first >= 0.48
