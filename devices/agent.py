"""netdyno's other end: the one file that runs where a model is measured, with nothing but Python >= 3.6 there.

It is sent over the connection that it then talks on; nothing of it is written to that machine's disk. It uses what
is installed there: ONNX Runtime, LiteRT or TFLite. What is timed here is timed alike on this machine and on others:
the local workers take their models and their loop from this file.

Run as ``agent.py control`` (files, cache, lock), ``agent.py work RUNTIME`` (keeps models and times them) or
``agent.py memory RUNTIME``. Standard input and output carry frames as :mod:`netdyno.devices.wire` describes them.
"""

import contextlib
import ctypes
import fcntl
import gc
import glob
import hashlib
import importlib
import importlib.util
import json
import os
import platform
import select
import signal
import struct
import sys
import threading
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

MAGIC = b"NDY1"
MAX_HEADER_BYTES = 1 << 20
MAX_ARRAYS_BYTES = 1 << 33
LARGEST_FILE = 1 << 16
MOST_FILES = 4096
_LONGEST_TEXT = 300
_PREFIX = struct.Struct("<4sI")
_ITEM_BYTES = {"bool": 1, "float16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16}
_ITEM_BYTES.update({sign + "int" + str(bits): bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)})

Message = Dict[str, Any]
Raw = Tuple[str, Tuple[int, ...], bytes]
"""An array as it travels: dtype, shape and bytes."""


# Frames --------------------------------------------------------------------------------------------------------


class Gone(Exception):
    """The other end has closed the connection."""


def read_frame(descriptor: int) -> Tuple[Message, Dict[str, Raw]]:
    """The next frame's message and arrays.

    Raises:
        Gone: the other end has closed the connection.
        ValueError: what came is no frame.
    """
    magic, length = _PREFIX.unpack(_read(descriptor, _PREFIX.size))
    if magic != MAGIC or length > MAX_HEADER_BYTES:
        raise ValueError("not a frame")
    header = json.loads(_read(descriptor, length).decode())
    arrays = {}
    for entry in header["arrays"]:
        size = _ITEM_BYTES[entry["dtype"]]
        for side in entry["shape"]:
            size *= side
        if not 0 <= size <= MAX_ARRAYS_BYTES:
            raise ValueError("an array is too large")
        arrays[entry["name"]] = (entry["dtype"], tuple(entry["shape"]), _read(descriptor, size))
    return header["message"], arrays


def write_frame(descriptor: int, message: Message, arrays: Optional[Dict[str, Raw]] = None) -> None:
    """Write a frame."""
    arrays = arrays or {}
    entries = [{"name": name, "dtype": dtype, "shape": shape} for name, (dtype, shape, _) in arrays.items()]
    header = json.dumps({"message": message, "arrays": entries}).encode()
    for data in [_PREFIX.pack(MAGIC, len(header)) + header] + [data for _, _, data in arrays.values()]:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]


def _read(descriptor: int, length: int) -> bytes:
    parts = []
    while length:
        part = os.read(descriptor, min(length, 1 << 20))
        if not part:
            raise Gone
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


# Models --------------------------------------------------------------------------------------------------------

Found = List[Tuple[str, List[Any], str]]
"""Inputs as a runtime tells them: name, dimensions (anything but a positive number is open), dtype."""


class OnnxRuntimeModel:
    """ONNX Runtime on its CPU provider; inputs and outputs are bound once, which is its leanest call.

    With ``profile`` the runtime times its operators, and writes a file whose name begins so.
    """

    library = "onnxruntime"

    def __init__(self, data: bytes, threads: int, profile: str = "") -> None:
        import onnxruntime  # type: ignore[import-untyped, unused-ignore]

        onnxruntime.set_default_logger_severity(4)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Sessions take turns: without this, the idle threads of one would spin into the next one's time.
        with contextlib.suppress(Exception):  # not in old releases
            options.add_session_config_entry("session.force_spinning_stop", "1")
        if profile:
            options.enable_profiling = True
            options.profile_file_prefix = profile
        self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.found = [(i.name, list(i.shape), _onnx_dtype(i.type)) for i in self.session.get_inputs()]  # type: Found
        self.results = [(o.name, _onnx_dtype(o.type)) for o in self.session.get_outputs()]
        self._binding = self.session.io_binding()
        self._fed = {}  # type: Dict[str, Any]

    def allocate(self, shapes: Sequence[Sequence[int]]) -> None:
        """Get ready for inputs of these shapes, in order."""
        for name, _ in self.results:
            self._binding.bind_output(name, "cpu")

    def feed(self, arrays: Dict[str, Any]) -> None:
        """Set inputs; the binding points into the arrays, so they are kept."""
        self._fed.update(arrays)
        for name, array in arrays.items():
            self._binding.bind_cpu_input(name, array)

    def run(self) -> None:
        """One inference."""
        self.session.run_with_iobinding(self._binding)

    def outputs(self) -> Dict[str, Any]:
        """Copies of the last inference's outputs."""
        return dict(zip([name for name, _ in self.results], self._binding.copy_outputs_to_cpu()))


def _onnx_dtype(kind: str) -> str:
    name = kind[len("tensor(") : -1] if kind.startswith("tensor(") else kind
    return {"float": "float32", "double": "float64"}.get(name, name)


class LiteRtModel:
    """LiteRT's interpreter with XNNPACK, which it applies by itself; it verifies the flatbuffer before use."""

    library = "ai_edge_litert.interpreter"

    def __init__(self, data: bytes, threads: int) -> None:
        if data[4:8] != b"TFL3":
            raise ValueError("not a TFLite model: its identifier is missing")
        import numpy

        interpreter = importlib.import_module(litert_library())
        self._interpreter = interpreter.Interpreter(model_content=data, num_threads=threads)
        self._details = self._interpreter.get_input_details()
        self.found = [(d["name"], _signature(d), numpy.dtype(d["dtype"]).name) for d in self._details]  # type: Found
        self.results = [(d["name"], numpy.dtype(d["dtype"]).name) for d in self._interpreter.get_output_details()]
        self._inputs = {d["name"]: d["index"] for d in self._details}
        self._outputs = {}  # type: Dict[str, int]

    def allocate(self, shapes: Sequence[Sequence[int]]) -> None:
        """Get ready for inputs of these shapes, in order."""
        for shape, detail in zip(shapes, self._details):
            if tuple(shape) != tuple(detail["shape"]):
                self._interpreter.resize_tensor_input(detail["index"], shape, strict=True)
        self._interpreter.allocate_tensors()
        self._outputs = {d["name"]: d["index"] for d in self._interpreter.get_output_details()}

    def feed(self, arrays: Dict[str, Any]) -> None:
        """Set inputs; the interpreter keeps its own copy."""
        for name, array in arrays.items():
            self._interpreter.set_tensor(self._inputs[name], array)

    def run(self) -> None:
        """One inference."""
        self._interpreter.invoke()

    def outputs(self) -> Dict[str, Any]:
        """Copies of the last inference's outputs."""
        return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}


def _signature(detail: Dict[str, Any]) -> List[Any]:
    """A TFLite input's dimensions, -1 where open; models without open ones may leave the signature empty."""
    signature = detail["shape_signature"]
    return [int(side) for side in (signature if len(signature) else detail["shape"])]


LITERT_LIBRARIES = (LiteRtModel.library, "tflite_runtime.interpreter")


def litert_library() -> str:
    """The module of this machine's LiteRT, by its name of today or of before.

    Raises:
        ImportError: none is installed.
    """
    for name in LITERT_LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
            return name
    raise ImportError("neither ai-edge-litert nor tflite-runtime is installed")


RUNTIMES = {"onnxruntime": OnnxRuntimeModel, "litert": LiteRtModel}  # type: Dict[str, Any]

if hasattr(time, "perf_counter_ns"):
    clock_ns = time.perf_counter_ns
else:

    def clock_ns() -> int:
        """Python 3.6 tells seconds only; within a day of uptime that is still exact to 20 ps."""
        return int(time.perf_counter() * 1e9)


def time_runs(run: Any, repeat: int) -> List[int]:
    """Latency in ns of each of ``repeat`` calls in a tight loop, on the monotonic clock."""
    latency_ns = [0] * repeat
    clock = clock_ns
    gc.disable()
    try:
        for position in range(repeat):
            start = clock()
            run()
            latency_ns[position] = clock() - start
    finally:
        gc.enable()
    return latency_ns


# Memory --------------------------------------------------------------------------------------------------------

_MADV_POPULATE_READ = 22
_M_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD_BYTES = 128 * 1024


def settle_memory() -> None:
    """Make what comes later count: no hoarding of freed blocks, every page of the libraries in memory.

    glibc hoards blocks of a size once it has seen one freed. Kernels before 5.14 cannot fault in pages of code; there
    the reading also holds those that the model touches first.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
    with open("/proc/self/maps") as maps:
        lines = maps.read().splitlines()
    for line in lines:
        span, rights, _, _, inode = line.split()[:5]
        if inode != "0" and rights.startswith("r"):
            start, end = (int(side, 16) for side in span.split("-"))
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_POPULATE_READ)


def reset_high_water() -> None:
    """Let VmHWM start again from VmRSS; where that is forbidden, receiving the model may be the peak."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")


def status_bytes(field: str) -> int:
    """A size from ``/proc/self/status``."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no " + field)


# What is answered ----------------------------------------------------------------------------------------------


class Control:
    """This machine's files, the models that it keeps, and the right to use it."""

    def __init__(self) -> None:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        self._cache = os.path.join(home, "netdyno")
        self._root = os.environ.get("NETDYNO_ROOT", "")  # where /proc and /sys hang, if somebody has copied them
        self._lock = -1
        self._power = None  # type: Optional[Power]

    def hello(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """What this machine is and has."""
        try:
            usable = len(os.sched_getaffinity(0))
        except AttributeError:
            usable = os.cpu_count() or 1
        versions = {"python": platform.python_version()}
        for name, (module, package) in _PACKAGES.items():
            if importlib.util.find_spec(module) is not None:
                versions[name] = _version(module, package)
        versions = {name: version for name, version in versions.items() if version}
        about = {"architecture": platform.machine(), "kernel": platform.release(), "usable_cpus": usable}
        return {"about": about, "versions": versions, "cache": self._cache}

    def files(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """The small text files whose paths match the patterns; what may not be read is left out."""
        found = {}  # type: Dict[str, str]
        for pattern in message["patterns"]:
            for path in glob.glob(self._root + pattern):
                with contextlib.suppress(OSError), open(path, "rb") as file:
                    if len(found) < MOST_FILES:
                        found[path[len(self._root) :]] = file.read(LARGEST_FILE).decode(errors="replace")
        return {"files": found}

    def watch(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Sum up the power of rails from now on, each of which is the product of what its files hold, in µW."""
        rails = [[self._root + path for path in files] for files in message["rails"]]
        self._power = Power(rails, float(message["period_s"]))
        return {}

    def energy(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """What the rails have drawn since then, in mJ."""
        if self._power is None:
            raise ValueError("nothing is watched")
        if self._power.failed:
            return {"failed": self._power.failed}
        return {"mj": self._power.total_mj, "power_mw": self._power.now_mw}

    def has(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Whether a model of this digest is kept here, whole."""
        try:
            with open(self._model(message["sha256"]), "rb") as file:
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


class Power:
    """Power of some rails, read every ``period_s`` in a thread of its own, and summed up over time."""

    def __init__(self, rails: List[List[str]], period_s: float) -> None:
        self._rails = rails
        self._period_s = period_s
        self.failed = ""
        self.total_mj = 0.0
        self.now_mw = self._read_mw()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        last_ns = clock_ns()
        while not self.failed:
            time.sleep(self._period_s)
            try:
                now_mw, now_ns = self._read_mw(), clock_ns()
            except (OSError, ValueError) as error:
                self.failed = "the rails cannot be read any more: %s" % error
                return
            if now_ns - last_ns > 1e9:
                self.failed = "the rails were not read for %.1f s" % ((now_ns - last_ns) / 1e9)
                return
            self.total_mj += (self.now_mw + now_mw) / 2 * (now_ns - last_ns) / 1e9
            self.now_mw, last_ns = now_mw, now_ns

    def _read_mw(self) -> float:
        total_uw = 0
        for files in self._rails:
            product = 1
            for path in files:
                with open(path) as file:
                    product *= int(file.read(64))
            total_uw += product
        return total_uw / 1e3


_PACKAGES = {
    "numpy": ("numpy", "numpy"),
    "onnxruntime": ("onnxruntime", "onnxruntime"),
    "ai-edge-litert": ("ai_edge_litert", "ai-edge-litert"),
    "tflite-runtime": ("tflite_runtime", "tflite-runtime"),
}


def _version(module: str, package: str) -> str:
    """A package's version, empty where it is there but cannot be used."""
    try:
        from importlib import metadata  # Python 3.8

        return metadata.version(package)
    except Exception:
        with contextlib.suppress(Exception):
            return str(getattr(importlib.import_module(module), "__version__", "unknown"))
    return ""


class Work:
    """The loaded models of one runtime, by session number."""

    def __init__(self, runtime: str) -> None:
        self._make = RUNTIMES[runtime]
        self._models = {}  # type: Dict[int, Any]

    def find(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Load a model from the cache; returns its inputs and outputs as the runtime tells them."""
        with open(message["path"], "rb") as file:
            data = file.read()
        start = clock_ns()
        model = self._make(data, message["threads"])
        self._models[message["session"]] = model
        return {"inputs": model.found, "outputs": model.results, "load_ms": (clock_ns() - start) / 1e6}

    def load(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Get a model ready for inputs of these shapes, feed it, and run it once."""
        model = self._models[message["session"]]
        start = clock_ns()
        model.allocate(message["shapes"])
        allocated_ms = (clock_ns() - start) / 1e6
        model.feed(_arrays(arrays))
        return {"load_ms": allocated_ms, "first_ms": time_runs(model.run, 1)[0] / 1e6}

    def run(self, message: Message, arrays: Dict[str, Raw]) -> Tuple[Message, Dict[str, Raw]]:
        """Run a model ``repeat`` times, with new inputs if the frame brings any."""
        model = self._models[message["session"]]
        if arrays:
            model.feed(_arrays(arrays))
        latency_ns = time_runs(model.run, message["repeat"])
        outputs = {"output:" + name: _raw(value) for name, value in model.outputs().items()}
        outputs["latency_ns"] = ("int64", (len(latency_ns),), struct.pack("<%dq" % len(latency_ns), *latency_ns))
        return {}, outputs

    def close(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Free a model."""
        self._models.pop(message["session"], None)
        return {}


def peak(runtime: str, before: int, message: Message, arrays: Dict[str, Raw]) -> Message:
    """Peak memory over ``before`` that a model adds to this process, its file and inputs included."""
    reset_high_water()
    with open(message["path"], "rb") as file:
        data = file.read()
    model = RUNTIMES[runtime](data, message["threads"])
    model.allocate(message["shapes"])
    model.feed(_arrays(arrays))
    model.run()
    model.run()
    return {"bytes": status_bytes("VmHWM") - before}


def _arrays(raw: Dict[str, Raw]) -> Dict[str, Any]:
    import numpy

    return {name: numpy.frombuffer(data, dtype).reshape(shape) for name, (dtype, shape, data) in raw.items()}


def _raw(array: Any) -> Raw:
    return array.dtype.name, array.shape, array.tobytes()


# Processes -----------------------------------------------------------------------------------------------------


def serve(handlers: Any, source: int, sink: int) -> None:
    """Answer one request after the other until the other end is gone; what a runtime refuses is an answer too."""
    while True:
        try:
            message, arrays = read_frame(source)
        except Gone:
            return
        try:
            answer = getattr(handlers, message["do"])(message, arrays)
        except Exception as error:
            answer = {"refused": refusal(error)}
        del arrays
        write_frame(sink, *(answer if isinstance(answer, tuple) else (answer,)))


def refusal(error: BaseException) -> str:
    """An error of a runtime in one line, without ONNX Runtime's own prefix."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    if text.startswith("[ONNXRuntimeError] : "):
        text = text.split(" : ", 3)[-1]
    return text[:_LONGEST_TEXT]


def end_with(descriptor: int) -> None:
    """Leave when the other end is gone, even mid-inference."""

    def wait() -> None:
        poll = select.poll()
        poll.register(descriptor, 0x2000)  # POLLRDHUP, which Python names from 3.9 on
        poll.poll()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def work(runtime: str, sink: int) -> None:
    """Keep models of a runtime in a child, and say so if it dies."""
    child = os.fork()
    if child == 0:
        end_with(0)
        importlib.import_module(litert_library() if runtime == "litert" else RUNTIMES[runtime].library)
        serve(Work(runtime), 0, sink)
        os._exit(0)
    _tell_death(child, sink)


def memory(runtime: str, sink: int) -> None:
    """Read and answer each request in a forked child, so that every model is measured from the same clean state."""
    importlib.import_module(litert_library() if runtime == "litert" else RUNTIMES[runtime].library)
    importlib.import_module("numpy.random")  # what is loaded late would count as the model's
    while True:
        select.select([0], [], [])
        child = os.fork()
        if child == 0:
            _answer_peak(runtime, sink)
        status = _tell_death(child, sink)
        if status:
            return


_GONE = 3


def _answer_peak(runtime: str, sink: int) -> None:
    """Answer one request and leave."""
    end_with(0)
    settle_memory()
    before = status_bytes("VmRSS")
    try:
        message, arrays = read_frame(0)
    except Gone:
        os._exit(_GONE)
    try:
        answer = peak(runtime, before, message, arrays)
    except Exception as error:
        answer = {"refused": refusal(error)}
    write_frame(sink, answer)
    os._exit(0)


def _tell_death(child: int, sink: int) -> int:
    """Wait for a child, and tell an end that it did not choose: its signal, or minus its exit code."""
    _, status = os.waitpid(child, 0)
    died = os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)
    if died and died != -_GONE:
        with contextlib.suppress(OSError):
            write_frame(sink, {"died": died})
    return died


def main(kind: str, *arguments: str) -> None:
    """Be of one kind until the other end is gone. Only frames go to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sink = os.dup(1)
    os.dup2(2, 1)
    if kind == "control":
        serve(Control(), 0, sink)
    else:
        (runtime,) = arguments
        {"work": work, "memory": memory}[kind](runtime, sink)


if __name__ == "__main__":
    main(*sys.argv[1:])
