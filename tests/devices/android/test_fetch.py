"""Google's program: fetched once from a server, known by its digest, and what goes wrong on the way."""

from __future__ import annotations

import hashlib
import logging
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest

from netdyno.base.errors import DeviceError, InputError
from netdyno.devices.android import fetch

pytestmark = pytest.mark.alone

PROGRAM = b"\x7fELF" + bytes(14) + (183).to_bytes(2, "little") + b"the rest"


class Place(BaseHTTPRequestHandler):
    """Where it is published."""

    content = PROGRAM
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200 if self.path.endswith("android_aarch64_benchmark_model") else 404)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Place]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Place.content, Place.asked = PROGRAM, []
    with socketserver.TCPServer(("127.0.0.1", 0), Place) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(fetch, "PUBLISHED", f"http://127.0.0.1:{server.server_address[1]}/latest/")
        yield Place
        server.shutdown()


def test_it_is_fetched_once_and_said_so(place: type[Place], caplog: pytest.LogCaptureFixture) -> None:
    assert fetch.cached("aarch64") is None
    with caplog.at_level(logging.WARNING):
        assert fetch.published("aarch64", fetch=True) == PROGRAM
    assert "fetching Google's benchmark_model, once, from http" in caplog.text
    place.content = PROGRAM + b" of another night"
    assert fetch.published("aarch64", fetch=True) == fetch.published("aarch64", fetch=False) == PROGRAM
    assert fetch.cached("aarch64") == PROGRAM
    assert len(place.asked) == 1


def test_one_that_has_changed_is_refused(place: type[Place]) -> None:
    fetch.published("aarch64", fetch=True)
    (path,) = (each for each in Path(fetch.cache_folder() / "android").iterdir() if not each.suffix)
    path.write_bytes(PROGRAM + b"!")
    with pytest.raises(DeviceError, match="is not what was fetched: its sha256 is another; remove it"):
        fetch.published("aarch64", fetch=True)
    Path(f"{path}.sha256").unlink()
    path.write_bytes(PROGRAM)
    with pytest.raises(DeviceError, match="is not what was fetched"):
        fetch.published("aarch64", fetch=True)
    path.unlink()
    assert hashlib.sha256(fetch.published("aarch64", fetch=True)).digest() == hashlib.sha256(PROGRAM).digest()


def test_what_is_not_to_be_had(place: type[Place], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="was not fetched yet, and may not be now; --runner FILE"):
        fetch.published("aarch64", fetch=False)
    with pytest.raises(DeviceError, match="no benchmark_model is published for Android on x86_64"):
        fetch.published("x86_64", fetch=True)
    place.content = b"<html>Sign in to this network</html>"
    with pytest.raises(DeviceError, match="not a program for aarch64; --runner FILE"):
        fetch.published("aarch64", fetch=True)
    assert fetch.cached("aarch64") is None, "nothing of it is kept"
    monkeypatch.setattr(fetch, "PUBLISHED", "http://127.0.0.1:1/")
    with pytest.raises(DeviceError, match=r"cannot be fetched: .*--runner FILE takes one of your own"):
        fetch.published("aarch64", fetch=True)


def test_one_of_the_user_s_own(tmp_path: Path) -> None:
    path = tmp_path / "benchmark_model"
    path.write_bytes(PROGRAM)
    assert fetch.given(path, "aarch64") == PROGRAM
    with pytest.raises(InputError, match="not a program for x86_64"):
        fetch.given(path, "x86_64")
    with pytest.raises(InputError, match="cannot be read"):
        fetch.given(tmp_path, "aarch64")
