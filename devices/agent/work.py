"""The models that a worker keeps."""

import json
import struct
from typing import Any, Dict, Optional, Tuple

from netdyno.devices.agent.frames import Message, Raw
from netdyno.devices.agent.models import Encoded, clock_ns, runtime_class

MODEL = ""
"""The array that is the model, beside those of its inputs, which have names."""
TEXT = 8
"""ONNX's number of texts."""


class Work:
    """The loaded models of one runtime, by session number."""

    def __init__(self, runtime: str, place: str) -> None:
        self._make = runtime_class(runtime, place)
        self._models: Dict[int, Any] = {}

    def find(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Load a model; returns its inputs and outputs as the runtime tells them."""
        data = model_source(self._make, message, arrays)
        start = clock_ns()
        model = self._make(data, message["threads"], **message["options"])
        self._models[message["session"]] = model
        return {"inputs": model.found, "outputs": model.results, "load_ms": (clock_ns() - start) / 1e6}

    def load(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Get a model ready for inputs of these shapes, feed it, and run it once."""
        model = self._models[message["session"]]
        start = clock_ns()
        model.allocate(message["shapes"])
        allocated_ms = (clock_ns() - start) / 1e6
        model.feed(arrays_of(arrays, message.get("types")))
        return {"load_ms": allocated_ms, "first_ms": model.time_runs(1)[0] / 1e6}

    def run(self, message: Message, arrays: Dict[str, Raw]) -> Tuple[Message, Dict[str, Raw]]:
        """Run a model ``repeat`` times, with new inputs if the frame brings any."""
        model = self._models[message["session"]]
        if arrays:
            model.feed(arrays_of(arrays))
        latency_ns = model.time_runs(message["repeat"])
        wanted = model.outputs() if message.get("outputs", True) else {}
        outputs = {"output:" + name: _raw(value) for name, value in wanted.items()}
        outputs["latency_ns"] = ("int64", (len(latency_ns),), struct.pack("<%dq" % len(latency_ns), *latency_ns))
        return {}, outputs

    def work(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Run a model ``repeat`` times as fast as can be."""
        self._models[message["session"]].work(message["repeat"])
        return {}

    def operators(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Name and mean time in µs of each operator of a model, by its runtime's profiler."""
        return {"operators": self._models[message["session"]].operators(message["repeat"])}

    def close(self, message: Message, arrays: Dict[str, Raw]) -> Message:
        """Free a model."""
        model = self._models.pop(message["session"], None)
        if model is not None:
            model.close()
        return {}


def model_source(make: Any, message: Message, arrays: Dict[str, Raw]) -> Any:
    """A model that came with its request, or that is a file here; the array is taken out.

    It is the file's path where the class of models ``make`` opens files itself.
    """
    if MODEL in arrays:
        return arrays.pop(MODEL)[2]
    if make.opens_files:
        return message["path"]
    with open(message["path"], "rb") as file:
        return file.read()


def arrays_of(raw: Dict[str, Raw], types: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    """Arrays that have travelled, as NumPy's.

    ``types`` tells of each input that NumPy has no type for ONNX's number of its own; texts travel as JSON.
    """
    import numpy

    arrays: Dict[str, Any] = {}
    for name, (dtype, shape, data) in raw.items():
        code = (types or {}).get(name)
        if code == TEXT:
            told = json.loads(data.decode())
            arrays[name] = numpy.array(told["values"], object).reshape(told["shape"])
        else:
            array = numpy.frombuffer(data, dtype).reshape(shape)
            arrays[name] = array if code is None else Encoded(array, code)
    return arrays


def _raw(array: Any) -> Raw:
    return array.dtype.name, array.shape, array.tobytes()
