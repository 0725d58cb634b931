"""ONNX Runtime on its CUDA provider."""

from typing import Any, Dict, List

from netdyno.devices.agent.cuda import Stream
from netdyno.devices.agent.models import OnnxRuntimeModel

_NO_WAITING = ("disable_synchronize_execution_providers", "1")


class OnnxRuntimeCudaModel(OnnxRuntimeModel):
    """ONNX Runtime on a GPU; inputs and outputs stay there, and its kernels are timed on a stream of ours.

    FP32 is FP32: tensor cores would round the products to TF32. Operators that the provider does not have run on the
    CPU, as they would in an app; the GPU waits for them within the time that is told.
    """

    provider = "CUDAExecutionProvider"
    memory = "cuda"

    def __init__(self, data: Any, threads: int, cold: bool = False, folder: str = "") -> None:
        import onnxruntime

        self._cold = cold
        self._stream = Stream(0)
        self._before_bytes = self._stream.used_bytes()
        self.providers = [(self.provider, self.provider_options()), ("CPUExecutionProvider", {})]
        super().__init__(data, threads, folder=folder)
        self.binding = self.session.io_binding()
        self._changing = False
        self.require_provider()
        self._options = onnxruntime.RunOptions()
        self._options.add_run_config_entry(*_NO_WAITING)

    def provider_options(self) -> Dict[str, str]:
        """Memory as it is asked for, so that what is taken is what is needed."""
        stream = str(self._stream.handle)
        return {"user_compute_stream": stream, "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}

    def require_provider(self) -> None:
        """Make sure that the session is what was asked for: ONNX Runtime falls back to other settings in silence.

        Raises:
            ValueError: it is not.
        """
        if self.provider not in self.session.get_providers():
            raise ValueError("%s does not start here; CUDA or cuDNN may be missing" % self.provider)
        taken = self.session.get_provider_options()[self.provider]
        for name, value in self.provider_options().items():
            if taken.get(name) != value:
                raise ValueError("this ONNX Runtime does not take %s=%s; 1.18 or newer does" % (name, value))

    def feed(self, arrays: Dict[str, Any]) -> None:
        """Copy inputs to the GPU."""
        import onnxruntime

        for name, array in arrays.items():
            if not hasattr(array, "dtype") or array.dtype.kind == "O":
                raise ValueError("input %r is of a type that this GPU cannot be fed" % name)
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array, self.memory, 0)
            self._fed[name] = value  # the binding points into it
            self.binding.bind_ortvalue_input(name, value)
        self._bind_outputs()

    def _bind_outputs(self) -> None:
        self.binding.clear_binding_outputs()
        for name, _ in self.results:
            self.binding.bind_output(name, self.memory)

    def run(self) -> None:
        """One inference, which may still be running when this returns.

        Outputs that were made once are taken again, which is the leanest call, unless the model then refuses: what
        changes its shape, or differs from what is declared, is bound anew from there on.
        """
        if self._changing:
            self._bind_outputs()
        try:
            self.session.run_with_iobinding(self.binding, self._options)
        except Exception:
            if self._changing:
                raise
            self._changing = True
            self.run()

    def outputs(self) -> Dict[str, Any]:
        """Copies of the last inference's outputs."""
        self._stream.wait()
        return dict(zip([name for name, _ in self.results], self.binding.copy_outputs_to_cpu()))

    def time_runs(self, repeat: int) -> List[int]:
        """Latency in ns of each of ``repeat`` inferences, by the GPU's own clock."""
        return self._stream.time_runs(self.run, repeat, self._cold)

    def work(self, repeat: int) -> None:
        """Run so often, as fast as can be, and be done when this returns."""
        super().work(repeat)
        self._stream.wait()

    def device_bytes(self) -> int:
        """Memory of the GPU that is in use since; ONNX Runtime gives nothing back while it lives.

        Raises:
            ValueError: there is less, since others have given some back.
        """
        self._stream.wait()
        taken = self._stream.used_bytes() - self._before_bytes
        if taken < 0:
            raise ValueError("other programs have freed memory of the GPU meanwhile")
        return taken
