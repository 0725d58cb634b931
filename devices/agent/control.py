"""What a machine answers about itself."""

import contextlib
import fcntl
import glob
import hashlib
import os
import platform
import signal
import sys
from typing import Any, Dict

from netdyno.devices.agent.cache import MOST_BYTES, cache_folder, prune, touch
from netdyno.devices.agent.energy import Counter, Often, Rails
from netdyno.devices.agent.frames import Message, Raw
from netdyno.devices.agent.lines import Lines
from netdyno.devices.agent.versions import cuda_versions, versions

LARGEST_FILE = 1 << 16
MOST_FILES = 4096
_LONGEST_TEXT = 300
_OLDEST_FOR_GPUS = (3, 8)


class Control:
    """This machine's files, the models that it keeps, and the right to use it."""

    def __init__(self) -> None:
        self._cache = cache_folder()
        self._root = os.environ.get("NETDYNO_ROOT", "")  # where /proc and /sys hang, if somebody has copied them
        self._lock = -1
        self._gpu: Any = None
        self._watched: Any = None
        self._lines: Any = None

    def hello(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """What this machine is and has."""
        try:
            usable = len(os.sched_getaffinity(0))
        except AttributeError:
            usable = os.cpu_count() or 1
        about = {"architecture": platform.machine(), "kernel": platform.release(), "usable_cpus": usable}
        return {"about": about, "versions": versions(), "cache": self._cache}

    def cuda(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """What runs models on a GPU here, by the runtime's name."""
        return {"versions": cuda_versions()}

    def files(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """The small text files whose paths match the patterns; what may not be read is left out."""
        found: Dict[str, str] = {}
        for pattern in message["patterns"]:
            for path in glob.glob(self._root + pattern):
                with contextlib.suppress(OSError), open(path, "rb") as file:
                    if len(found) < MOST_FILES:
                        found[path[len(self._root) :]] = file.read(LARGEST_FILE).decode(errors="replace")
        return {"files": found}

    def gpu(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """What an NVIDIA GPU here is; it is the one that is meant from now on."""
        if sys.version_info < _OLDEST_FOR_GPUS:
            text = "GPUs need Python %d.%d or newer there; name another with ?python="
            return {"failed": text % _OLDEST_FOR_GPUS}
        from netdyno.devices.agent.gpu import RemoteGpu

        try:
            self._gpu = RemoteGpu(message["identifier"])
        except Exception as error:
            return {"input" if type(error).__name__ == "InputError" else "failed": str(error)[:_LONGEST_TEXT]}
        return dict(self._gpu.describe())

    def gpu_state(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """What may change of it while measuring."""
        return dict(self._gpu.state())

    def watch(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Sum up energy from now on: of the GPU, or of rails, the product of whose files is their power in µW."""
        period_s = float(message["period_s"])
        if "rails" in message:
            self._watched = Rails([[self._root + path for path in files] for files in message["rails"]], period_s)
        else:
            self._watched = Often(self._gpu.read_mj, period_s) if self._gpu.sampled else Counter(self._gpu.read_mj)
        return {}

    def tegrastats(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Have it print from now on, if it is here."""
        try:
            self._lines = Lines(int(message["interval_ms"]))
        except (OSError, ValueError) as error:
            return {"failed": str(error)}
        return {}

    def lines(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """What it has printed since this was last asked."""
        return dict(self._lines.told())

    def energy(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """What has been drawn since then, in mJ."""
        if self._watched is None:
            raise ValueError("nothing is watched")
        return dict(self._watched.told())

    def has(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Whether a model of this digest is kept here, whole."""
        try:
            path = self._model(message["sha256"])
            touch(path)
            with open(path, "rb") as file:
                return {"has": hashlib.sha256(file.read()).hexdigest() == message["sha256"]}
        except OSError:
            return {"has": False}

    def put(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Keep a model, whole or not at all."""
        _, _, data = arrays["model"]
        path = self._model(message["sha256"])
        part = path + "." + str(os.getpid())
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            prune(os.path.dirname(path), MOST_BYTES - len(data))
            with open(part, "wb") as file:
                file.write(data)
            os.replace(part, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.remove(part)
            return {"failed": "%s: cannot be written: %s" % (self._cache, error.strerror)}
        return {}

    def lock(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Take the right to use a device until this process ends; the kernel gives it back.

        A connection that was cut without a word may leave a process behind that still has it. Who asks under the same
        name has made sure that it is no other run of theirs; it is ended then.
        """
        if self._lock >= 0:
            return {"held": True}
        try:
            os.makedirs(os.path.join(self._cache, "locks"), exist_ok=True)
            path = os.path.join(self._cache, "locks", os.path.basename(message["device"]) + ".lock")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            return {"failed": "%s: cannot be written: %s" % (self._cache, error.strerror)}
        holder = os.pread(descriptor, 100, 0).decode(errors="replace").split()
        if not _try_lock(descriptor):
            if len(holder) == 2 and holder[1] == message["client"] and holder[0].isdigit():
                with contextlib.suppress(OSError):
                    os.kill(int(holder[0]), signal.SIGKILL)
            os.close(descriptor)
            return {"held": False}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, ("%d %s" % (os.getpid(), message["client"])).encode(), 0)
        self._lock = descriptor
        return {"held": True}

    def _model(self, sha256: str) -> str:
        if len(sha256) != 64 or sha256.strip("0123456789abcdef"):
            raise ValueError("not a digest")
        return os.path.join(self._cache, "models", sha256)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
