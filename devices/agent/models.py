"""Models of the runtimes that a machine may have, and the loop that times them."""

import collections
import contextlib
import gc
import importlib
import time
from abc import ABC, abstractmethod
from typing import Any, Dict, List, Sequence, Tuple

Found = Sequence[Tuple[str, Sequence[Any], str]]
"""Inputs as a runtime tells them: name, dimensions (open ones are -1, None or a symbol's name), dtype."""


class DeviceLost(Exception):
    """What a runtime runs on is gone, or in a state that nothing but a new process can leave."""


class Model(ABC):
    """A model that a runtime has loaded; ``found`` are its inputs, ``results`` its outputs' names and dtypes."""

    library = ""
    opens_files = False
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
    """ONNX Runtime on its CPU provider; runs take and make what ``session.run`` does.

    ``data`` is the model, or the path of its file. With ``folder`` it is bytes whose external data lies under that
    folder. With ``profile`` the runtime times its operators, and writes a file whose name begins so; with ``graph``
    it writes the graph that it executes to that file, and the weights beside it.
    """

    library = "onnxruntime"
    opens_files = True
    providers: Sequence[Tuple[str, Dict[str, str]]] = (("CPUExecutionProvider", {}),)

    def __init__(self, data: Any, threads: int, profile: str = "", folder: str = "", graph: str = "") -> None:
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
        if folder:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
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
        self._fed: Dict[str, Any] = {}
        self._made: Any = ()

    def allocate(self, shapes: Sequence[Sequence[int]]) -> None:
        """Nothing: outputs are allocated as they are made, since what a model declares of them need not be true."""

    def feed(self, arrays: Dict[str, Any]) -> None:
        """Set inputs; the runtime points into the arrays, so they are kept."""
        self._fed.update(arrays)
        self.run: Any = self._runner()  # type: ignore[method-assign, unused-ignore]

    def _runner(self) -> Any:
        """The leanest call that takes these inputs."""
        import onnxruntime

        names = [name for name, _ in self.results]
        core = onnxruntime.capi.onnxruntime_pybind11_state
        plain = any(_is_text(array) for array in self._fed.values())  # the runtime makes no values of texts
        if plain or not hasattr(self.session, "run_with_ortvaluevector") or not hasattr(core, "OrtValueVector"):
            return lambda: self._keep(self.session.run(names, self._fed))
        values = core.OrtValueVector()
        self._values = [_value(onnxruntime, array) for array in self._fed.values()]
        for value in self._values:
            values.push_back(value._ortvalue)
        device = core.OrtDevice(core.OrtDevice.cpu(), core.OrtDevice.default_memory(), 0)
        options, fed, devices = onnxruntime.RunOptions(), list(self._fed), [device] * len(names)
        run, vector = self.session.run_with_ortvaluevector, core.OrtValueVector

        def run_with_values() -> None:
            self._made = made = vector()
            run(options, fed, values, names, made, devices)

        return run_with_values

    def _keep(self, made: Any) -> None:
        self._made = made

    def run(self) -> None:
        """One inference; :meth:`feed` puts the call in its place."""
        raise ValueError("a model runs once it is fed")

    def outputs(self) -> Dict[str, Any]:
        """Copies of the last inference's outputs.

        Raises:
            ValueError: one is no array.
        """
        return {name: _array(name, dtype, made) for (name, dtype), made in zip(self.results, self._made)}


class Encoded:
    """An input of a type that NumPy lacks: its elements as unsigned numbers, and ONNX's number of the type.

    Types of fewer bits than a byte are packed into the first bytes of an array of the whole shape.
    """

    def __init__(self, bits: Any, code: int) -> None:
        self.bits = bits
        self.code = code


def _value(onnxruntime: Any, array: Any) -> Any:
    if isinstance(array, Encoded):
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array.bits, array.code)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _is_text(array: Any) -> bool:
    return not isinstance(array, Encoded) and array.dtype.kind == "O"


def _array(name: str, dtype: str, made: Any) -> Any:
    """An output as an array; what is none in the runtime is none here."""
    try:
        array = made.numpy() if hasattr(made, "numpy") else made
        if array.dtype.name == dtype:
            return array
    except (AttributeError, RuntimeError):  # a list or a dictionary; or the runtime's own word for it
        pass
    raise ValueError("output %r is %s, which cannot be read" % (name, dtype))


def _onnx_dtype(kind: str) -> str:
    name = kind[len("tensor(") : -1] if kind.startswith("tensor(") else kind
    return {"float": "float32", "double": "float64"}.get(name, name)


class LiteRtModel(Model):
    """LiteRT's interpreter with XNNPACK, which it applies by itself; it verifies the flatbuffer before use.

    ``signature`` names the one that runs, whose names its tensors have; by default the main subgraph runs.
    """

    library = "ai_edge_litert.interpreter"

    def __init__(self, data: bytes, threads: int, signature: str = "") -> None:
        if data[4:8] != b"TFL3":
            raise ValueError("not a TFLite model: its identifier is missing")
        interpreter = importlib.import_module(litert_library())
        self._interpreter = interpreter.Interpreter(model_content=data, num_threads=threads)
        self._runner = self._signature_runner(signature) if signature else None
        self._inputs = self._details("input")
        self.found: Found = [(name, _sides(d), _litert_dtype(d)) for name, d in self._inputs.items()]
        self.results = [(name, _litert_dtype(d)) for name, d in self._details("output").items()]
        self._outputs: Dict[str, int] = {}

    def _signature_runner(self, name: str) -> Any:
        known = list(self._interpreter.get_signature_list())
        if name not in known:
            told = ", ".join(known) or "none"
            raise ValueError("it has no signature %r; its signatures: %s" % (name, told))
        return self._interpreter.get_signature_runner(name)

    def _details(self, side: str) -> Dict[str, Any]:
        """Details of inputs or outputs, by names that each occur once."""
        if self._runner is not None:
            return dict(getattr(self._runner, "get_%s_details" % side)())
        told = getattr(self._interpreter, "get_%s_details" % side)()
        return dict(zip(unique_names([detail["name"] for detail in told]), told))

    def allocate(self, shapes: Sequence[Sequence[int]]) -> None:
        """Get ready for inputs of these shapes, in order."""
        for shape, detail in zip(shapes, self._inputs.values()):
            if tuple(shape) != tuple(detail["shape"]):
                self._resize(detail["index"], shape)
        if self._runner is None:
            self._interpreter.allocate_tensors()
        else:
            self._runner._interpreter_wrapper.AllocateTensors(self._runner._subgraph_index)
        self._outputs = {name: detail["index"] for name, detail in self._details("output").items()}

    def _resize(self, index: int, shape: Sequence[int]) -> None:
        if self._runner is None:
            self._interpreter.resize_tensor_input(index, shape, strict=True)
            return
        import numpy

        sides, subgraph = numpy.array(shape, numpy.int32), self._runner._subgraph_index
        self._runner._interpreter_wrapper.ResizeInputTensor(index, sides, True, subgraph)

    def feed(self, arrays: Dict[str, Any]) -> None:
        """Set inputs; the interpreter keeps its own copy."""
        for name, array in arrays.items():
            index = self._inputs[name]["index"]
            if self._runner is None:
                self._interpreter.set_tensor(index, array)
            else:
                self._runner._interpreter_wrapper.SetTensor(index, array, self._runner._subgraph_index)

    def run(self) -> None:
        """One inference."""
        if self._runner is None:
            self._interpreter.invoke()
        else:
            self._runner._interpreter_wrapper.Invoke(self._runner._subgraph_index)

    def outputs(self) -> Dict[str, Any]:
        """Copies of the last inference's outputs."""
        subgraph = () if self._runner is None else (self._runner._subgraph_index,)
        return {name: self._interpreter.get_tensor(index, *subgraph) for name, index in self._outputs.items()}


def unique_names(names: Sequence[str]) -> List[str]:
    """The same names where each is one; what is empty or occurs twice gets its position, as in ``x#1``."""
    counted = collections.Counter(names)
    return [name if name and counted[name] == 1 else "%s#%d" % (name, at) for at, name in enumerate(names)]


def _sides(detail: Dict[str, Any]) -> List[Any]:
    """A TFLite input's dimensions, -1 where open; models without open ones may leave the signature empty."""
    signature = detail["shape_signature"]
    return [int(side) for side in (signature if len(signature) else detail["shape"])]


def _litert_dtype(detail: Dict[str, Any]) -> str:
    import numpy

    name: str = numpy.dtype(detail["dtype"]).name
    return "string" if name.startswith(("bytes", "str", "object")) else name


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
