"""TensorRT through its own program, ``trtexec``, which every installation of it brings.

An engine is built once and kept in the cache. Each call is a process of its own, which loads the engine, warms up
for a fifth of a second, and runs as often as it is asked to; latency is its time on the GPU, by CUDA's events,
without the copies of inputs and outputs.
"""

import ctypes
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from typing import Any, Dict, List, Sequence, Tuple

from netdyno.devices.agent.cache import cache_folder, prune, touch
from netdyno.devices.agent.models import DeviceLost, Model
from netdyno.devices.agent.versions import trtexec, trtexec_version

BUILD_S = 1800
_RUN_S = 600
_LARGEST_REPORT = 1 << 30
_MIB = 1 << 20
_PR_SET_PDEATHSIG = 1
_FORBIDDEN = re.compile(r"[^\w./-]")
_OPTIONS = ("--noTF32",)


class TensorRtModel(Model):
    """TensorRT on a GPU; ``signature`` says what inputs and outputs the model has, since ``trtexec`` does not."""

    library = ""

    def __init__(self, data: bytes, threads: int, signature: Dict[str, Any]) -> None:
        self.found = [(name, sides, dtype) for name, sides, dtype in signature["inputs"]]
        self.results = [(name, dtype) for name, dtype in signature["outputs"]]
        for name in [name for name, _, _ in self.found] + [name for name, _ in self.results]:
            if _FORBIDDEN.search(name):
                raise ValueError("trtexec cannot be told of a tensor called %r" % name)
        self._data = data
        self._shapes: Dict[str, Sequence[int]] = {}
        self._engine = ""
        self._log = ""
        reports = _made(os.path.join(cache_folder(), "trtexec"))
        _remove_orphans(reports)
        self._folder = tempfile.mkdtemp(prefix="%d-" % os.getpid(), dir=reports)

    def allocate(self, shapes: Sequence[Sequence[int]]) -> None:
        """Build the engine for inputs of these shapes, or take the one that was built before."""
        self._shapes = {name: shape for (name, _, _), shape in zip(self.found, shapes)}
        about = [
            trtexec_version(),
            os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            sorted(self._shapes.items()),
            _OPTIONS,
        ]
        key = hashlib.sha256(self._data + json.dumps(about).encode()).hexdigest()
        self._engine = os.path.join(_made(os.path.join(cache_folder(), "engines")), key)
        if os.path.exists(self._engine):
            touch(self._engine)
            return
        prune(os.path.dirname(self._engine))
        model, part = os.path.join(self._folder, "model.onnx"), os.path.join(self._folder, "engine")
        with open(model, "wb") as file:
            file.write(self._data)
        arguments = ["--onnx=" + model, "--saveEngine=" + part, "--iterations=1", "--duration=0", "--warmUp=0"]
        self._call(arguments + list(_OPTIONS) + self._open_shapes(), BUILD_S)
        os.replace(part, self._engine)

    def feed(self, arrays: Dict[str, Any]) -> None:
        """Keep inputs as files, from which each call loads them."""
        for number, (name, _, _) in enumerate(self.found):
            if name in arrays:
                arrays[name].tofile(self._input(number))

    def run(self) -> None:
        """One inference."""
        self.time_runs(1)

    def time_runs(self, repeat: int) -> List[int]:
        """Latency in ns of each of ``repeat`` inferences, by the GPU's own clock."""
        times = os.path.join(self._folder, "times")
        self._log = self._run(repeat, ["--useCudaGraph", "--exportTimes=" + times])
        return parse_times(_report(times), repeat)

    def work(self, repeat: int) -> None:
        """Each call is mostly the start of a process."""
        raise ValueError("the energy of an inference cannot be told apart from that of starting trtexec")

    def outputs(self) -> Dict[str, Any]:
        """The outputs for the inputs that were fed last, of a call of their own: as text they are large."""
        outputs = os.path.join(self._folder, "outputs")
        self._run(1, ["--exportOutput=" + outputs])
        return parse_outputs(_report(outputs), self.results)

    def device_bytes(self) -> int:
        """Memory of the GPU that TensorRT said it manages for the engine and its activations, in whole MiB."""
        return parse_memory(self._log)

    def operators(self, repeat: int) -> List[Any]:
        """Name and mean time in µs of each of the engine's layers, by TensorRT's own profiler."""
        profile = os.path.join(self._folder, "profile")
        self._run(repeat, ["--exportProfile=" + profile])
        return parse_profile(_report(profile))

    def close(self) -> None:
        """Remove the inputs and the reports; the engine is kept."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _input(self, number: int) -> str:
        return os.path.join(self._folder, "input%d" % number)

    def _open_shapes(self) -> List[str]:
        """Shapes of inputs that the model leaves open; ``trtexec`` refuses them for others."""
        opened = [
            name for name, sides, _ in self.found if any(not isinstance(side, int) or side < 0 for side in sides)
        ]
        told = ["%s:%s" % (name, "x".join(map(str, self._shapes[name]))) for name in opened]
        return ["--shapes=" + ",".join(told)] if told else []

    def _run(self, repeat: int, options: List[str]) -> str:
        """Run the engine on the inputs that were fed, and return the log."""
        arguments = ["--loadEngine=" + self._engine, "--iterations=%d" % repeat, "--duration=0"]
        if self.found:
            given = ["%s:%s" % (name, self._input(number)) for number, (name, _, _) in enumerate(self.found)]
            arguments.append("--loadInputs=" + ",".join(given))
        return self._call(arguments + options + self._open_shapes(), _RUN_S)

    def _call(self, arguments: List[str], timeout_s: float) -> str:
        """What ``trtexec`` says.

        Raises:
            ValueError: it fails, in its own words.
            DeviceLost: it was killed.
        """
        command = [trtexec()] + arguments
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                preexec_fn=_die_with_parent,
            )
        except subprocess.TimeoutExpired:
            raise ValueError("trtexec did not end within %d s" % timeout_s)
        said = done.stdout.decode(errors="replace")
        if done.returncode:
            errors = [line.partition("[E] ")[2].strip() for line in said.splitlines() if "[E] " in line]
            text = "trtexec: " + (errors + ["ended with exit code %d" % done.returncode])[0]
            raise DeviceLost(text) if done.returncode < 0 else ValueError(text)
        return said


def _die_with_parent() -> None:
    """In the child: be killed when the worker is, which cannot clean up after itself then."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _remove_orphans(folder: str) -> None:
    """Remove what processes that are gone have left."""
    for name in os.listdir(folder):
        pid = name.partition("-")[0]
        if pid.isdigit() and not os.path.exists("/proc/" + pid):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def parse_times(text: str, repeat: int) -> List[int]:
    """Latency in ns of the last ``repeat`` inferences in what ``--exportTimes`` writes.

    Raises:
        ValueError: it is something else, or holds fewer.
    """
    entries = json.loads(text)
    if not isinstance(entries, list) or len(entries) < repeat:
        raise ValueError("trtexec told fewer times than it was to run")
    try:
        times_ms = [_compute_ms(entry) for entry in entries[-repeat:]]
    except (KeyError, TypeError):
        raise ValueError("trtexec told times in a form that is not known")
    if not all(0 <= time_ms < 1e9 for time_ms in times_ms):
        raise ValueError("trtexec told times that nothing takes")
    return [max(1, round(time_ms * 1e6)) for time_ms in times_ms]


def _compute_ms(entry: Any) -> float:
    """The difference as it is told, since the moments themselves have only six digits."""
    if "computeMs" in entry:
        return float(entry["computeMs"])
    return float(entry["endComputeMs"]) - float(entry["startComputeMs"])


def parse_outputs(text: str, results: Sequence[Any]) -> Dict[str, Any]:
    """The arrays in what ``--exportOutput`` writes, by name.

    Raises:
        ValueError: it is something else, or lacks an output.
    """
    import numpy

    entries = json.loads(text)
    try:
        told = {entry["name"]: entry for entry in entries}
        return {
            name: numpy.array(told[name]["values"], dtype).reshape(_sides(told[name]["dimensions"]))
            for name, dtype in results
        }
    except (KeyError, TypeError, OverflowError):
        raise ValueError("trtexec told outputs in a form that is not known")


def _sides(text: str) -> List[int]:
    """``1x3x224x224``; empty for a scalar."""
    return [int(side) for side in text.split("x") if side]


def parse_profile(text: str) -> List[Tuple[str, float]]:
    """Name and mean time in µs of each layer in what ``--exportProfile`` writes; its first entry only counts.

    Raises:
        ValueError: it is something else.
    """
    entries = json.loads(text)
    try:
        layers = [entry for entry in entries if "name" in entry]
        found = [(str(entry["name"]), float(entry["averageMs"]) * 1e3) for entry in layers]
    except (KeyError, TypeError):
        raise ValueError("trtexec told a profile in a form that is not known")
    if not found or not all(0 <= time_us < 1e12 for _, time_us in found):
        raise ValueError("trtexec told a profile without times")
    return found


_MEMORY = re.compile(r"\[MemUsageChange\] TensorRT-managed allocation in .*?now: CPU \d{1,9}, GPU (\d{1,9}) \(MiB\)")


def parse_memory(log: str) -> int:
    """Bytes of GPU memory that TensorRT manages in the end, as its log tells them.

    Raises:
        ValueError: it does not.
    """
    told = _MEMORY.findall(log)
    if not told:
        raise ValueError("trtexec did not tell its memory")
    return int(told[-1]) * _MIB


def _report(path: str) -> str:
    with open(path) as file:
        return file.read(_LARGEST_REPORT)


def _made(folder: str) -> str:
    os.makedirs(folder, exist_ok=True)
    return folder
