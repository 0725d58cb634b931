"""Google's ``benchmark_model`` as a command: what this build of it understands, its arguments, and its answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from netdyno.base.errors import DeviceError, ModelError, WorkerLost
from netdyno.devices.android.benchmark_log import Log, Operators, parse_log, parse_operators
from netdyno.devices.android.benchmark_proto import parse_profile
from netdyno.devices.android.process import CRASHED
from netdyno.devices.android.transport import Transport
from netdyno.devices.worker import Crashed

LONGEST_S = 3600
"""For how long inferences go on at most; after 150 s it would stop by itself."""
SILENCE_S = 600.0
"""How long a call may take beyond what is expected of it."""
_START_S = 120.0
_WARM_UP = 3
_SIGNALLED = 128
_FLAG = re.compile(r"--([a-z]\w{1,60})", re.ASCII)
_DELEGATES = {"litert": "use_xnnpack", "litert-gpu": "use_gpu", "litert-nnapi": "use_nnapi"}
_FAILURES = ("error", "fail", "abort", "not found", "cannot", "invalid", "unsupported")


@dataclass(frozen=True)
class Feed:
    """Inputs of a model: the shape of each, and the file on the phone that holds it."""

    shapes: Sequence[Sequence[int]]
    files: Sequence[str]

    def flags(self) -> list[str]:
        """As flags; the tool takes any names for inputs, in the order that the model has them."""
        names = [f"i{number}" for number in range(len(self.files))]
        shapes = ":".join(",".join(map(str, shape)) for shape in self.shapes)
        files = ",".join(f"{name}:{file}" for name, file in zip(names, self.files, strict=True))
        if not names:
            return []
        return [
            f"--input_layer={','.join(names)}",
            f"--input_layer_shape={shapes}",
            f"--input_layer_value_files={files}",
        ]


@dataclass(frozen=True)
class Call:
    """How the program is called, but for how often: its flags, and the command that starts it, if any.

    ``writes`` is a file that it is to write.
    """

    flags: Sequence[str]
    prefix: Sequence[str] = ()
    silence_s: float = SILENCE_S
    writes: str = ""


class BenchmarkTool:
    """The program at ``path`` on a phone.

    There are two of that name: TFLite's, and the one of LiteRT's compiled models, which only warns of flags that it
    does not know; so each is asked first which ones it knows.

    Raises:
        DeviceError: the phone is lost, or it does not start there.
    """

    def __init__(self, transport: Transport, path: str) -> None:
        self._transport, self._path = transport, path
        done = transport.script(f"{shlex.quote(path)} --help 2>&1; true", timeout_s=_START_S)
        self.flags = frozenset(_FLAG.findall(done.out))
        if not {"graph", "num_runs"} <= self.flags:
            says = done.out.strip().splitlines() or ["nothing"]
            raise DeviceError(f"{transport.serial}: {path} is no benchmark_model: it says {says[-1][:100]!r}")

    @property
    def compiled(self) -> bool:
        """Whether it is that of LiteRT's compiled models."""
        return "use_npu" in self.flags

    @property
    def feeds(self) -> bool:
        """Whether it takes inputs and gives outputs."""
        return {"input_layer_value_files", "output_filepath"} <= self.flags

    @property
    def shapes(self) -> bool:
        """Whether it can be told the shapes of inputs."""
        return {"input_layer", "input_layer_shape"} <= self.flags

    def delegate(self, runtime: str) -> str:
        """The flag that has a runtime's delegate run a model.

        Raises:
            DeviceError: this build has none.
        """
        flag = "use_cpu" if self.compiled and runtime == "litert" else _DELEGATES[runtime]
        if flag not in self.flags and runtime != "litert":
            raise DeviceError(f"{self._transport.serial}: this benchmark_model has no --{flag} for {runtime}")
        return f"--{flag}=true"

    def run(self, repeat: int, call: Call) -> tuple[Log, str]:
        """Run a model, and read what it tells; also as text.

        Raises:
            ModelError: it fails, in its own words.
            Crashed: it crashed.
            WorkerLost: it was killed.
            DeviceError: the phone is lost, or it tells nothing of ``repeat`` inferences.
        """
        told = [f"--num_runs={repeat}", "--min_secs=0", f"--max_secs={LONGEST_S}"]
        told += [f"--warmup_runs={_WARM_UP}", "--warmup_min_secs=0", *call.flags]
        known = [flag for flag in told if flag[2:].partition("=")[0] in self.flags]
        command = shlex.join([*call.prefix, self._path, *known])
        # What an earlier call has written must not be taken for this one's.
        before = f"rm -f {shlex.quote(call.writes)}; " if call.writes else ""
        done = self._transport.script(f"{before}{command} 2>&1", _START_S + call.silence_s)
        if done.code in CRASHED:
            raise Crashed(f"benchmark_model crashed (exit code {done.code})")
        if done.code > _SIGNALLED:  # it need not be the model's fault: the system ends what takes much memory
            raise WorkerLost(f"benchmark_model was killed (exit code {done.code})")
        if done.code:
            raise ModelError(f"benchmark_model: {_reason(done.out)}")
        try:
            log = parse_log(done.out)
        except ValueError as error:
            raise DeviceError(f"{self._transport.serial}: benchmark_model: {error}") from error
        if log.summary is None:
            raise ModelError(f"benchmark_model tells of no inference: {_reason(done.out)}")
        if log.summary.count is not None and log.summary.count < repeat:
            text = f"benchmark_model ran {log.summary.count} times, not {repeat}"
            raise DeviceError(f"{self._transport.serial}: {text}")
        return log, done.out

    def operators(self, repeat: int, call: Call) -> Operators:
        """Run a model with its profiler: as protobuf, else as CSV, else as the text that the oldest builds print.

        Raises:
            ModelError: it fails, or has no profiler.
            DeviceError: the phone is lost, or it tells something else.
        """
        file, profiled = call.writes, [*call.flags, "--enable_op_profiling=true"]
        if "enable_op_profiling" not in self.flags:
            raise ModelError("this benchmark_model has no profiler of operators")
        try:
            if "op_profiling_output_mode" in self.flags:
                written = ["--op_profiling_output_mode=proto", f"--op_profiling_output_file={file}"]
                self.run(repeat, replace(call, flags=[*profiled, *written]))
                return parse_profile(self._transport.pull(file))
            if "profiling_output_csv_file" in self.flags:
                self.run(repeat, replace(call, flags=[*profiled, f"--profiling_output_csv_file={file}"]))
                return parse_operators(self._transport.pull(file).decode(errors="replace"))
            return parse_operators(self.run(repeat, replace(call, flags=profiled))[1])
        except ValueError as error:
            raise DeviceError(f"{self._transport.serial}: benchmark_model's profile: {error}") from error


def _reason(said: str) -> str:
    """The last line of a log that sounds like a reason, else its last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it says nothing"]
    telling = (line for line in reversed(lines) if any(word in line.lower() for word in _FAILURES))
    return next(telling, lines[-1])[:200]
