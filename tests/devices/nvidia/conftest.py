"""A driver that is not there: NVML with scripted GPUs, compiled here, so that the real Python package runs."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netdyno.devices.nvidia import Nvml

NOT_SUPPORTED = 3


class Script(ctypes.Structure):
    """How one GPU behaves; as in stub.c."""

    _fields_ = [
        ("name", ctypes.c_char * 96),
        ("uuid", ctypes.c_char * 96),
        *((name, ctypes.c_double) for name in ("idle_w", "on_w", "period_s", "tick_s", "phase_s", "lag_s")),
        *((name, ctypes.c_double) for name in ("sense_s", "frozen_at_s", "throttle_at_s")),
        *((name, ctypes.c_int32) for name in ("throttle_field", "module_scope", "energy_code", "field_code")),
        *((name, ctypes.c_int32) for name in ("usage_code", "zero", "mig", "processes", "limit_mw")),
    ]


def make_script(index: int = 0, **changes: Any) -> Script:
    """A GPU that idles at 60 W, runs at 300 W, and tells it every 100 ms."""
    usual = {"name": b"Stub GPU", "uuid": f"GPU-{index:08x}-0000".encode(), "idle_w": 60.0, "on_w": 300.0}
    usual |= {"period_s": 0.1, "tick_s": 0.1, "sense_s": 0.025, "limit_mw": 400_000}
    return Script(**{**usual, **changes})


class Driver:
    """The stub's own entry points."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def install(self, *scripts: Script) -> None:
        """Have these GPUs, idle."""
        self._library.stub_devices(len(scripts))
        for index, each in enumerate(scripts):
            self._library.stub_script(index, ctypes.byref(each))

    def load(self, index: int) -> None:
        """Load a GPU from now on."""
        self._library.stub_load(index, ctypes.c_double(time.monotonic()))

    def remove(self) -> None:
        """Be without a driver."""
        self._library.stub_devices(-1)


@pytest.fixture(scope="session")
def stub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the scripted driver's libraries are, for a process that finds them by LD_LIBRARY_PATH."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here to make the scripted NVML with: apt install gcc libc6-dev")
    path = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("stub.c")
    options = ("-O1", "-Wall", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1")
    subprocess.run([compiler, *options, "-o", str(path), str(source), "-lm"], check=True)
    return path.parent


@pytest.fixture(scope="session")
def _library(stub_folder: Path) -> ctypes.CDLL:
    # A library of this name that is loaded already is the one that the package finds.
    return ctypes.CDLL(str(stub_folder / "libnvidia-ml.so.1"), mode=ctypes.RTLD_GLOBAL)


@pytest.fixture(scope="class")
def driver_of_class(_library: ctypes.CDLL) -> Iterator[Driver]:
    """The scripted driver for all tests of a class; there is none again afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        driver = Driver(_library)
        yield driver
        driver.remove()


@pytest.fixture
def driver(_library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """The scripted driver; there is none again afterwards."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    driver = Driver(_library)
    yield driver
    driver.remove()


@pytest.fixture
def nvml(driver: Driver) -> Iterator[Callable[..., Nvml]]:
    """NVML with the GPUs that it is called with."""
    opened: list[Nvml] = []

    def install(*scripts: Script) -> Nvml:
        driver.install(*scripts)
        opened.append(Nvml())
        return opened[-1]

    yield install
    for each in opened:
        each.close()


@pytest.fixture
def gpu_script() -> Callable[..., Script]:
    """Makes the script of a GPU; by default one that works well."""
    return make_script


@pytest.fixture(scope="session")
def script_of_class() -> Callable[..., Script]:
    """The same for fixtures of a class."""
    return make_script
