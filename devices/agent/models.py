"""Models of the runtimes that a machine may have, and the loop that times them."""

import contextlib
import gc
import importlib
import time
from abc import ABC, abstractmethod
from typing import Any, Dict, List, Sequence, Tuple

Found = Sequence[Tuple[str, Sequence[Any], str]]
"""Inputs as a runtime tells them: name, dimensions (anything but a positive number is open), dtype."""


class DeviceLost(Exception):
    """What a runtime runs on is gone, or in a state that nothing but a new process can leave."""


class Model(ABC):
    """A model that a runtime has loaded; ``found`` are its inputs, ``results`` its outputs' names and dtypes."""

    library = ""
    found: Found = ()
    results: Sequence[Tuple[str, str]] = ()

    @abstractmethod
    def allocate(self, shapes: Sequence[Sequence[int]]) -> None:
        """Get ready for inputs of these shapes, in order."""

    @abstractmethod
    def feed(self, arrays: Dict[str, Any]) -> None:
        """Set inputs; they stay until the next call."""

    @abstractmethod
    def run(self) -> None:
        """One inference."""

    @abstractmethod
    def outputs(self) -> Dict[str, Any]:
        """Copies of the last inference's outputs."""

    def time_runs(self, repeat: int) -> List[int]:
        """Latency in ns of each of ``repeat`` inferences."""
        return time_runs(self.run, repeat)

    def work(self, repeat: int) -> None:
        """Run so often, as fast as can be, and be done when this returns."""
        for _ in range(repeat):
            self.run()

    def device_bytes(self) -> int:
        """Memory that it has taken of a device that has its own, at most until now."""
        raise ValueError("%s tells no memory of a device" % self.library)

    def close(self) -> None:  # noqa: B027 (most have nothing to free)
        """Free what does not go by itself."""


class OnnxRuntimeModel(Model):
    """ONNX Runtime on its CPU provider; inputs and outputs are bound once, which is its leanest call.

    With ``profile`` the runtime times its operators, and writes a file whose name begins so; with ``graph`` it writes
    the graph that it executes to that file, and the weights beside it.
    """

    library = "onnxruntime"
    providers: Sequence[Tuple[str, Dict[str, str]]] = (("CPUExecutionProvider", {}),)

    def __init__(self, data: bytes, threads: int, profile: str = "", graph: str = "") -> None:
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
        if graph:
            options.optimized_model_filepath = graph
            beside = "session.optimized_model_external_initializers_"
            options.add_session_config_entry(beside + "file_name", "weights.bin")
            options.add_session_config_entry(beside + "min_size_in_bytes", "1024")
        self.session = onnxruntime.InferenceSession(data, options, providers=list(self.providers))
        self.found: Found = [(i.name, list(i.shape), _onnx_dtype(i.type)) for i in self.session.get_inputs()]
        self.results = [(o.name, _onnx_dtype(o.type)) for o in self.session.get_outputs()]
        self.binding = self.session.io_binding()
        self._fed: Dict[str, Any] = {}

    def allocate(self, shapes: Sequence[Sequence[int]]) -> None:
        """Get ready for inputs of these shapes, in order."""
        for name, _ in self.results:
            self.binding.bind_output(name, "cpu")

    def feed(self, arrays: Dict[str, Any]) -> None:
        """Set inputs; the binding points into the arrays, so they are kept."""
        self._fed.update(arrays)
        for name, array in arrays.items():
            self.binding.bind_cpu_input(name, array)

    def run(self) -> None:
        """One inference."""
        self.session.run_with_iobinding(self.binding)

    def outputs(self) -> Dict[str, Any]:
        """Copies of the last inference's outputs."""
        return dict(zip([name for name, _ in self.results], self.binding.copy_outputs_to_cpu()))


def _onnx_dtype(kind: str) -> str:
    name = kind[len("tensor(") : -1] if kind.startswith("tensor(") else kind
    return {"float": "float32", "double": "float64"}.get(name, name)


class LiteRtModel(Model):
    """LiteRT's interpreter with XNNPACK, which it applies by itself; it verifies the flatbuffer before use."""

    library = "ai_edge_litert.interpreter"

    def __init__(self, data: bytes, threads: int) -> None:
        if data[4:8] != b"TFL3":
            raise ValueError("not a TFLite model: its identifier is missing")
        import numpy

        interpreter = importlib.import_module(litert_library())
        self._interpreter = interpreter.Interpreter(model_content=data, num_threads=threads)
        self._details = self._interpreter.get_input_details()
        self.found: Found = [(d["name"], _signature(d), numpy.dtype(d["dtype"]).name) for d in self._details]
        self.results = [(d["name"], numpy.dtype(d["dtype"]).name) for d in self._interpreter.get_output_details()]
        self._inputs = {d["name"]: d["index"] for d in self._details}
        self._outputs: Dict[str, int] = {}

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


_MODULES = {
    ("onnxruntime", "cpu"): ("models", "OnnxRuntimeModel"),
    ("litert", "cpu"): ("models", "LiteRtModel"),
    ("onnxruntime", "cuda"): ("onnxruntime_cuda", "OnnxRuntimeCudaModel"),
    ("onnxruntime-cuda", "cuda"): ("onnxruntime_cuda", "OnnxRuntimeCudaModel"),
    ("torch", "cuda"): ("torch_model", "TorchCudaModel"),
    ("torch", "cpu"): ("torch_model", "TorchModel"),
    ("tensorrt", "cuda"): ("tensorrt", "TensorRtModel"),
}
"""What runs a runtime's models, by where they run; it has another name where the CPU's has the plain one."""


def runtime_class(runtime: str, place: str) -> Any:
    """The class of a runtime's models on ``cpu`` or ``cuda``.

    Raises:
        KeyError: there is none.
    """
    module, name = _MODULES[runtime, place]
    return getattr(importlib.import_module("netdyno.devices.agent." + module), name)


def import_runtime(runtime: str, place: str) -> None:
    """Import what a runtime needs, so that no model's loading time holds it."""
    library = litert_library() if runtime == "litert" else runtime_class(runtime, place).library
    if library:
        importlib.import_module(library)


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
