"""ONNX Runtime on its CUDA provider."""

from typing import Any, Dict, List, Sequence

from netdyno.devices.agent.cuda import Stream
from netdyno.devices.agent.models import OnnxRuntimeModel


class OnnxRuntimeCudaModel(OnnxRuntimeModel):
    """ONNX Runtime on a GPU; inputs and outputs stay there, and its kernels are timed on a stream of ours.

    FP32 is FP32: tensor cores would round the products to TF32. Operators that the provider does not have run on the
    CPU, as they would in an app.
    """

    provider = "CUDAExecutionProvider"
    memory = "cuda"

    def __init__(self, data: bytes, threads: int, cold: bool = False) -> None:
        self._cold = cold
        self._stream = Stream(0)
        self._before_bytes = self._stream.used_bytes()
        self.providers = [(self.provider, self.provider_options()), ("CPUExecutionProvider", {})]
        super().__init__(data, threads)
        if self.provider not in self.session.get_providers():
            raise ValueError("%s does not start here; CUDA or cuDNN may be missing" % self.provider)

    def provider_options(self) -> Dict[str, str]:
        """Memory as it is asked for, so that what is taken is what is needed."""
        stream = str(self._stream.handle)
        return {"user_compute_stream": stream, "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}

    def allocate(self, shapes: Sequence[Sequence[int]]) -> None:
        """Get ready for inputs of these shapes, in order."""
        for name, _ in self.results:
            self.binding.bind_output(name, self.memory)

    def feed(self, arrays: Dict[str, Any]) -> None:
        """Copy inputs to the GPU."""
        import onnxruntime

        for name, array in arrays.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array, self.memory, 0)
            self._fed[name] = value  # the binding points into it
            self.binding.bind_ortvalue_input(name, value)

    def outputs(self) -> Dict[str, Any]:
        """Copies of the last inference's outputs."""
        self.binding.synchronize_outputs()
        return super().outputs()

    def time_runs(self, repeat: int) -> List[int]:
        """Latency in ns of each of ``repeat`` inferences, by the GPU's own clock."""
        return self._stream.time_runs(self.run, repeat, self._cold)

    def device_bytes(self) -> int:
        """Memory of the GPU that is in use since; ONNX Runtime gives nothing back while it lives."""
        return self._stream.used_bytes() - self._before_bytes
