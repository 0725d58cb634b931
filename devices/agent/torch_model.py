"""PyTorch: an ONNX model, operator by operator, as PyTorch's own functions."""

import importlib
from typing import Any, Callable, Dict, List, Sequence, Tuple

from netdyno.devices.agent.cuda import Stream
from netdyno.devices.agent.models import Model

_WARM_UP = 3
_TOGETHER_NS = 1_000_000
"""How long one replay is to take while the GPU only works: long against what giving it takes."""
_MOST_TOGETHER = 64
_SIDES = 4
Run = Callable[[Dict[str, Any], Sequence[Any]], Any]
"""What an operator does: its attributes and inputs to its output."""


class TorchModel(Model):
    """PyTorch on the CPU."""

    library = "torch"
    place = "cpu"

    def __init__(self, data: bytes, threads: int, cold: bool = False) -> None:
        import onnx
        import torch

        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # FP32 is FP32
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
        self._torch = torch
        self._steps = [_step(node) for node in model.graph.node]
        self._weights = {w.name: self._tensor(onnx.numpy_helper.to_array(w)) for w in model.graph.initializer}
        dtypes = onnx.helper.tensor_dtype_to_np_dtype
        given = [value for value in model.graph.input if value.name not in self._weights]
        self.found = [
            (
                v.name,
                [s.dim_value if s.HasField("dim_value") else s.dim_param for s in v.type.tensor_type.shape.dim],
                dtypes(v.type.tensor_type.elem_type).name,
            )
            for v in given
        ]
        self.results = [(v.name, dtypes(v.type.tensor_type.elem_type).name) for v in model.graph.output]
        self.values: Dict[str, Any] = {}
        self._last = _last_uses(self._steps, [name for name, _ in self.results])

    def allocate(self, shapes: Sequence[Sequence[int]]) -> None:
        """Get ready for inputs of these shapes, in order."""
        for (name, _, dtype), shape in zip(self.found, shapes):
            empty = self._torch.zeros(list(shape), dtype=getattr(self._torch, dtype), device=self.place)
            self.values[name] = empty

    def feed(self, arrays: Dict[str, Any]) -> None:
        """Set inputs, in place."""
        for name, array in arrays.items():
            self.values[name].copy_(self._torch.from_numpy(array.copy()))

    def run(self) -> None:
        """One inference."""
        with self._torch.inference_mode():
            self.execute()

    def execute(self) -> None:
        """Every operator in turn; an activation is let go after its last use."""
        values = dict(self._weights)
        values.update({name: self.values[name] for name, _, _ in self.found})
        for position, (operator, attributes, inputs, output) in enumerate(self._steps):
            values[output] = operator(attributes, [values[name] if name else None for name in inputs])
            for name in self._last[position]:
                values.pop(name, None)
        self.values.update({name: values[name] for name, _ in self.results})

    def outputs(self) -> Dict[str, Any]:
        """Copies of the last inference's outputs."""
        return {name: self.values[name].cpu().numpy().copy() for name, _ in self.results}

    def _tensor(self, array: Any) -> Any:
        """A weight where it is used; shapes are asked for on the host."""
        tensor = self._torch.from_numpy(array.copy())
        return tensor if array.dtype.kind in "iu" and array.ndim <= 1 else tensor.to(self.place)


class TorchCudaModel(TorchModel):
    """PyTorch on a GPU: one inference is captured as a CUDA graph, and replayed as a whole.

    All graphs of a process share the memory of their activations: each is replayed alone, and its outputs are read
    before the next one.
    """

    place = "cuda"
    pool: Any = None

    def __init__(self, data: bytes, threads: int, cold: bool = False) -> None:
        import torch

        self._cold = cold
        self._side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._stream = Stream(self._side.cuda_stream)
        self._graph: Any = None
        self._many: Tuple[Any, int] = (None, 0)
        self._before_bytes = torch.cuda.memory_allocated()
        if TorchCudaModel.pool is None:
            TorchCudaModel.pool = torch.cuda.graph_pool_handle()
        super().__init__(data, threads)

    def allocate(self, shapes: Sequence[Sequence[int]]) -> None:
        """Get ready for inputs of these shapes, in order, and capture an inference.

        Its memory is told from the capture on: before it, libraries try algorithms that take more.
        """
        torch = self._torch
        super().allocate(shapes)
        torch.cuda.synchronize()
        with torch.inference_mode():
            with torch.cuda.stream(self._side):  # libraries choose their algorithms at first, which no graph may hold
                for _ in range(_WARM_UP):
                    self.execute()
            torch.cuda.synchronize()
            for name, _ in self.results:
                del self.values[name]
        torch.cuda.reset_peak_memory_stats()
        self._graph = self._captured(1)

    def feed(self, arrays: Dict[str, Any]) -> None:
        """Set inputs, in place."""
        super().feed(arrays)
        self._torch.cuda.synchronize()

    def run(self) -> None:
        """One inference, which may still be running when this returns."""
        with self._torch.cuda.stream(self._side):
            self._graph.replay()

    def outputs(self) -> Dict[str, Any]:
        """Copies of the last inference's outputs."""
        self._torch.cuda.synchronize()
        return super().outputs()

    def time_runs(self, repeat: int) -> List[int]:
        """Latency in ns of each of ``repeat`` replays, by the GPU's own clock."""
        with self._torch.cuda.stream(self._side):
            return self._stream.time_runs(self._graph.replay, repeat, self._cold)

    def work(self, repeat: int) -> None:
        """Run so often, as fast as can be, and be done when this returns.

        What is short is replayed many to a graph: as within a network, the GPU waits for no host between two of them,
        and draws what it draws when it is busy.
        """
        if not self._many[1]:
            self._many = self._together()
        graph, together = self._many
        with self._torch.cuda.stream(self._side):
            for _ in range(repeat // together):
                graph.replay()
            for _ in range(repeat % together):
                self._graph.replay()
        self._torch.cuda.synchronize()

    def device_bytes(self) -> int:
        """The most that PyTorch's allocator had given away at a time: weights, activations, workspaces."""
        return int(self._torch.cuda.max_memory_allocated() - self._before_bytes)

    def close(self) -> None:
        """Free the graphs and their memory."""
        self._graph, self._many = None, (None, 0)
        self.values.clear()

    def _together(self) -> Tuple[Any, int]:
        """A graph of so many inferences that it takes about a millisecond, and their number."""
        once_ns = min(self.time_runs(_WARM_UP))
        together = max(1, min(_TOGETHER_NS // once_ns, _MOST_TOGETHER))
        if together == 1:
            return self._graph, 1
        outputs = dict(self.values)
        graph = self._captured(together)
        self.values = outputs  # those of the single inference, which is the one that is asked for its outputs
        return graph, together

    def _captured(self, together: int) -> Any:
        """A graph of so many inferences, one after the other."""
        torch = self._torch
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph, pool=self.pool, stream=self._side):
            for _ in range(together):
                self.execute()
        torch.cuda.synchronize()
        return graph


def _last_uses(steps: Sequence[Any], kept: Sequence[str]) -> List[List[str]]:
    """The names that no operator reads after each one."""
    last: Dict[str, int] = {}
    for position, (_, _, inputs, output) in enumerate(steps):
        last[output] = position
        last.update({name: position for name in inputs if name})
    found: List[List[str]] = [[] for _ in steps]
    for name, position in last.items():
        if name not in kept:
            found[position].append(name)
    return found


def _step(node: Any) -> Any:
    import onnx

    operator = OPERATORS.get(node.op_type)
    if operator is None or len(node.output) != 1 or node.domain not in ("", "ai.onnx"):
        text = "its operator %s is not among those that netdyno translates to PyTorch; try another runtime"
        raise ValueError(text % node.op_type)
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return operator, attributes, list(node.input), node.output[0]


def _functional() -> Any:
    return importlib.import_module("torch.nn.functional")


def _pads(attributes: Dict[str, Any], x: Any, value: float = 0.0) -> Any:
    """An activation padded as ONNX says: all beginnings, then all ends."""
    automatic = attributes.get("auto_pad", b"NOTSET")
    if automatic not in (b"NOTSET", b"VALID"):
        raise ValueError("auto_pad %s is not translated to PyTorch" % automatic.decode(errors="replace"))
    pads = attributes.get("pads", [0] * _SIDES)
    if len(pads) != _SIDES:
        raise ValueError("only two-dimensional windows are translated to PyTorch")
    top, left, bottom, right = pads
    if not any(pads):
        return x
    return _functional().pad(x, (left, right, top, bottom), value=value)


def _conv(attributes: Dict[str, Any], inputs: Sequence[Any]) -> Any:
    x, weight = inputs[:2]
    bias = inputs[2] if len(inputs) > 2 else None
    pads = attributes.get("pads", [0] * _SIDES)
    even = len(pads) == _SIDES and pads[:2] == pads[2:]
    settings = {"stride": attributes.get("strides", [1, 1]), "dilation": attributes.get("dilations", [1, 1])}
    settings["groups"] = attributes.get("group", 1)
    if even and attributes.get("auto_pad", b"NOTSET") == b"NOTSET":
        return _functional().conv2d(x, weight, bias, padding=pads[:2], **settings)
    return _functional().conv2d(_pads(attributes, x), weight, bias, **settings)


def _gemm(attributes: Dict[str, Any], inputs: Sequence[Any]) -> Any:
    a, b = inputs[:2]
    a = a.t() if attributes.get("transA") else a
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    bias = inputs[2] if len(inputs) > 2 else None
    if bias is not None and alpha == beta == 1.0 and bias.dim() == 1:
        return _functional().linear(a, b if attributes.get("transB") else b.t(), bias)
    product = alpha * (a @ (b.t() if attributes.get("transB") else b))
    return product if bias is None else product + beta * bias


def _max_pool(attributes: Dict[str, Any], inputs: Sequence[Any]) -> Any:
    (x,) = inputs
    window, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    if attributes.get("ceil_mode") or any(step != 1 for step in attributes.get("dilations", [])):
        raise ValueError("MaxPool with ceil_mode or dilations is not translated to PyTorch")
    return _functional().max_pool2d(_pads(attributes, x, float("-inf")), window, strides)


def _average_pool(attributes: Dict[str, Any], inputs: Sequence[Any]) -> Any:
    (x,) = inputs
    pads = attributes.get("pads", [0] * _SIDES)
    if pads[:2] != pads[2:] or attributes.get("ceil_mode") or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ValueError("AveragePool with uneven padding or ceil_mode is not translated to PyTorch")
    counted = bool(attributes.get("count_include_pad"))
    window, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    return _functional().avg_pool2d(x, window, strides, pads[:2], count_include_pad=counted)


def _constant(attributes: Dict[str, Any], inputs: Sequence[Any]) -> Any:
    """A list of integers stays one: shapes are asked for on the host."""
    if "value_ints" in attributes:
        return list(attributes["value_ints"])
    if "value" in attributes:
        import onnx

        array = onnx.numpy_helper.to_array(attributes["value"])
        if array.dtype.kind == "i" and array.ndim == 1:
            return array.tolist()
    raise ValueError("only constant shapes are translated to PyTorch")


def _reshape(attributes: Dict[str, Any], inputs: Sequence[Any]) -> Any:
    x, shape = inputs
    sides = shape if isinstance(shape, list) else shape.tolist()
    if attributes.get("allowzero"):
        raise ValueError("Reshape with allowzero is not translated to PyTorch")
    return x.reshape([x.shape[axis] if side == 0 else side for axis, side in enumerate(sides)])


def _flatten(attributes: Dict[str, Any], inputs: Sequence[Any]) -> Any:
    (x,), axis = inputs, attributes.get("axis", 1)
    if axis != 1:
        raise ValueError("Flatten before axis %d is not translated to PyTorch" % axis)
    return x.flatten(1)


def _hard_sigmoid(attributes: Dict[str, Any], inputs: Sequence[Any]) -> Any:
    (x,) = inputs
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    if abs(alpha * 6 - 1) < 1e-6 and beta == 0.5:
        return _functional().hardsigmoid(x)
    return (alpha * x + beta).clamp(0, 1)


def _clip(attributes: Dict[str, Any], inputs: Sequence[Any]) -> Any:
    x, low, high = [*inputs, None, None][:3]
    if low is None and high is None:
        return x.clamp(attributes.get("min", float("-inf")), attributes.get("max", float("inf")))
    return x.clamp(low, high)


def _mean(attributes: Dict[str, Any], inputs: Sequence[Any]) -> Any:
    x = inputs[0]
    axes = attributes.get("axes") or (inputs[1] if len(inputs) > 1 else None)
    axes = axes if axes is None or isinstance(axes, list) else axes.tolist()
    return x.mean(dim=axes or list(range(x.dim())), keepdim=bool(attributes.get("keepdims", 1)))


def _batch_norm(attributes: Dict[str, Any], inputs: Sequence[Any]) -> Any:
    x, scale, shift, mean, variance = inputs
    return _functional().batch_norm(x, mean, variance, scale, shift, eps=attributes.get("epsilon", 1e-5))


def _plain(function: Callable[..., Any]) -> Run:
    return lambda attributes, inputs: function(*inputs)


OPERATORS: Dict[str, Run] = {
    "Add": _plain(lambda a, b: a + b),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda attributes, inputs: importlib.import_module("torch").cat(list(inputs), attributes["axis"]),
    "Constant": _constant,
    "Conv": _conv,
    "Div": _plain(lambda a, b: a / b),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda x: x.mean((2, 3), keepdim=True)),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(lambda x: _functional().hardswish(x)),
    "Identity": _plain(lambda x: x.clone()),
    "MatMul": _plain(lambda a, b: a @ b),
    "MaxPool": _max_pool,
    "Mul": _plain(lambda a, b: a * b),
    "ReduceMean": _mean,
    "Relu": _plain(lambda x: x.relu()),
    "Reshape": _reshape,
    "Sigmoid": _plain(lambda x: x.sigmoid()),
    "Softmax": lambda attributes, inputs: inputs[0].softmax(attributes.get("axis", -1)),
    "Sub": _plain(lambda a, b: a - b),
    "Transpose": lambda attributes, inputs: inputs[0].permute(*attributes["perm"]),
}
"""What is translated: all that netdyno's own graphs are made of, and what convolutional networks add to it."""
