"""A browser for what only a browser can tell of a report, and images that are quickly there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

CHROMIUM = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr"),
    "--virtual-time-budget=20000",
]
WRAPPER = """<!doctype html><link rel="icon" href="data:,"><body><script>
const frame = document.createElement("iframe");
frame.width = WIDTH; frame.height = 900; frame.src = "report.html";
frame.onload = async () => {
  const inner = frame.contentDocument, plots = [...inner.querySelectorAll(".plot")];
  const points = plot => plot.querySelectorAll("svg.main-svg .points path, svg.main-svg .point path").length;
  for (let tries = 0; tries < 100 && !plots.every(points); tries++) await new Promise(done => setTimeout(done, 50));
  inner.querySelectorAll("details").forEach(details => details.open = true);
  const ink = plot => inner.defaultView.getComputedStyle(plot.querySelector(".xtitle")).fill;
  document.body.textContent = JSON.stringify({
    points: Object.fromEntries(plots.map(plot => [plot.id, points(plot)])),
    wide: plots.map(plot => plot.querySelector("svg.main-svg").getBoundingClientRect().right),
    scroll: inner.documentElement.scrollWidth,
    client: inner.documentElement.clientWidth,
    ink: plots.map(ink),
    page: inner.defaultView.getComputedStyle(inner.documentElement).color,
    hit: typeof frame.contentWindow.hit,
  });
};
document.body.append(frame);
</script>"""


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """The paths are kept instead."""

    def do_GET(self) -> None:
        self.server.paths.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A web server for a folder: its address, and the paths that are asked for."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as server:
        server.paths = paths = []  # type: ignore[attr-defined]
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", paths
        server.shutdown()


@pytest.fixture
def browse(tmp_path) -> Callable[[Path, int], tuple[dict[str, Any], list[str], list[str]]]:
    """What a browser makes of a report in a frame of that width, what it complains of, and what it asks for."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine (Debian package chromium)")
    return partial(_browse, chromium, tmp_path)


def _browse(chromium: str, scratch: Path, report: Path, width: int) -> tuple[dict[str, Any], list[str], list[str]]:
    (scratch / "report.html").write_bytes(report.read_bytes())
    (scratch / "wrapper.html").write_text(WRAPPER.replace("WIDTH", str(width)))
    with serve(scratch) as (address, paths):
        words = [
            chromium,
            *CHROMIUM,
            f"--user-data-dir={scratch / 'profile'}",
            "--dump-dom",
            f"{address}/wrapper.html",
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<body>(\{.*\})</body>", done.stdout)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(found[1]), [line for line in done.stderr.splitlines() if "CONSOLE" in line], paths


@pytest.fixture
def few_images(tmp_path: Path) -> str:
    """A data set of a few images in MNIST's format, as --data names it."""
    folder = tmp_path / "few"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for part, n in (("train", 60), ("t10k", 20)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        for name, values in (
            ("images-idx3", generator.integers(0, 256, (n, 28, 28), np.uint8)),
            ("labels-idx1", labels),
        ):
            head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
            (folder / f"{part}-{name}-ubyte").write_bytes(head + values.tobytes())
    return f"mnist:{folder}"
