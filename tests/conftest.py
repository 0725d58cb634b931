"""What tests of several floors share: reference data, a narrow space, and a cache of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netdyno.base.errors import InputError
from netdyno.nas.space import make_space
from netdyno.nas.spaces.ofa_mobilenetv3 import OfaMobileNetV3


@pytest.fixture(scope="session")
def refdata() -> Path:
    """Published measurements, which are not part of this repository."""
    folder = Path(os.environ.get("NETDYNO_REFDATA") or Path(__file__).parents[2] / "shared" / "refdata")
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}; $NETDYNO_REFDATA says where it is")
    return folder


@pytest.fixture(scope="session")
def narrow() -> OfaMobileNetV3:
    """A space that is small in every respect."""
    space = make_space("ofa-mobilenetv3", width=0.25, resolutions=[48, 56, 64], classes=10)
    assert isinstance(space, OfaMobileNetV3)
    return space


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_reaches_children() -> None:
    """A shell's background jobs ignore Ctrl-C, and what is ignored stays so in the processes that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Locks and caches of the tests are not those of whoever else uses this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def refuses() -> Callable[[Callable[[], object]], str]:
    """Runs what must raise InputError; returns its message, which must be one clear line."""

    def run(action: Callable[[], object]) -> str:
        with pytest.raises(InputError) as caught:
            action()
        message = str(caught.value)
        assert message.strip() and len(message.splitlines()) == 1, repr(message)
        return message

    return run


@pytest.fixture(scope="session")
def survives() -> Callable[[Callable[[], object]], None]:
    """Runs what may succeed, or raise InputError in one clear line, but nothing else."""

    def run(action: Callable[[], object]) -> None:
        try:
            action()
        except InputError as error:
            message = str(error)
            assert message.strip() and len(message.splitlines()) == 1, repr(message)

    return run
