"""What ``tegrastats`` prints, with the moments at which it did."""

import os
import shutil
import subprocess
import threading
from typing import Any, Dict, List, Tuple

from netdyno.devices.agent.models import clock_ns

_PROGRAM = "tegrastats"
_WHERE = "/usr/bin/tegrastats"
_LONGEST_LINE = 4096
_MOST_LINES = 10000


class Lines:
    """The program's lines since they were last asked for; it ends with this process."""

    def __init__(self, interval_ms: int) -> None:
        program = shutil.which(_PROGRAM) or _WHERE
        if not os.access(program, os.X_OK):
            raise ValueError("there is no tegrastats here")
        self._lines: List[Tuple[int, str]] = []
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [program, "--interval", str(interval_ms)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        threading.Thread(target=self._read, daemon=True).start()

    def told(self) -> Dict[str, Any]:
        """Time in ns and text of each line since this was last asked; an end of the program is told too."""
        with self._lock:
            lines, self._lines = self._lines, []
        if not lines and self._process.poll() is not None:
            return {"failed": "tegrastats ended with exit code %d" % self._process.returncode}
        return {"lines": lines}

    def _read(self) -> None:
        stream: Any = self._process.stdout
        while True:
            line = stream.readline(_LONGEST_LINE + 1)
            if not line:
                return
            with self._lock:
                self._lines.append((clock_ns(), line.decode(errors="replace")))
                del self._lines[:-_MOST_LINES]
