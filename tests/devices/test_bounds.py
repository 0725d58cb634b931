"""Whatever a worker or another machine does: it ends within the budget plus five seconds, and takes what it may."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper

from netdyno.base.artifact import Artifact
from netdyno.base.deadline import within
from netdyno.base.errors import DeviceError, InputError, WorkerLost
from netdyno.devices import Settings
from netdyno.devices.cpu import CpuDevice
from netdyno.devices.ssh import ssh_device
from netdyno.devices.worker import Hung
from netdyno.profiler.measure import Method
from netdyno.profiler.model import profile_model
from netdyno.profiler.profile import profile_artifacts
from netdyno.profiler.profiling import Profiling

pytestmark = pytest.mark.alone

Model = Callable[..., Artifact]
BUDGET_S = 2.0
SPARE_S = 5.0


def hog(gigabytes: int = 12) -> Artifact:
    """A model of a few bytes that makes one tensor of gigabytes."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [250 * gigabytes, 1_000_000])
    nodes = [
        helper.make_node("Expand", ["x", "shape"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["y"], keepdims=1),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 1)) for name in "xy")
    graph = helper.make_graph(nodes, "hog", [x], [y], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return Artifact(model.SerializeToString(), "onnx", "hog")


USUAL_START_S = 1.0


def late_s() -> float:
    """Seconds by which a command ends later than usual because others use this machine too."""
    began = time.monotonic()
    code, _ = netdyno("profile", "ofa-mobilenetv3", "--threads", "1024")
    assert code == InputError.exit_code
    return max(time.monotonic() - began - USUAL_START_S, 0.0)


def tflite_hog() -> Artifact:
    """The same as a TFLite model."""
    types = schema.TensorType
    model, graph, kind, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
    shape = np.array([3000, 1_000_000], np.int32)
    model.version, model.subgraphs, model.operatorCodes, model.buffers = (
        3,
        [graph],
        [kind],
        [schema.BufferT() for _ in "ab"],
    )
    model.buffers[1].data = np.frombuffer(shape.tobytes(), np.uint8)
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [operator], [1], [2]
    for name, sides, dtype, buffer in (
        ("shape", [2], types.INT32, 1),
        ("x", [], types.FLOAT32, 0),
        ("y", shape, types.FLOAT32, 0),
    ):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, sides, dtype, buffer
        graph.tensors.append(tensor)
    kind.builtinCode = kind.deprecatedBuiltinCode = schema.BuiltinOperator.FILL
    operator.inputs, operator.outputs = [0, 1], [2]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.FillOptions, schema.FillOptionsT()
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return Artifact(bytes(builder.Output()), "tflite", "hog")


@contextmanager
def in_time(processes: Any, budget_s: float = BUDGET_S, *, command: bool = False) -> Iterator[None]:
    """A block, or one around a ``command``, that ends in time and leaves no process behind."""
    allowed_s = budget_s + SPARE_S + (late_s() if command else 0.0)
    began, before = time.monotonic(), processes.of(os.getpid())
    yield
    assert time.monotonic() - began < allowed_s
    processes.wait_until(lambda: not processes.of(os.getpid()) - before)


def stop(workers: set[int]) -> None:
    """Stop processes; a child that has weighed a model may be gone already."""
    for worker in workers:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGSTOP)


def is_worker(pid: int) -> bool:
    """True where a process runs a worker already, and is no copy of its parent that is about to."""
    with suppress(OSError):
        return b"netdyno.devices.agent" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def agents() -> dict[int, int]:
    """Processes that came over a connection, and their parents."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"netdyno agent" in (folder / "cmdline").read_bytes():
                found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def netdyno(*arguments: str) -> tuple[int, str]:
    """Exit code and error output of a command."""
    done = subprocess.run([sys.executable, "-m", "netdyno", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that these tests wait for in this process is only slow."""
    monkeypatch.setattr("netdyno.base.deadline.GRACE_S", 0.5)


class TestModels:
    def test_an_endless_one(self, processes: Any, model: Model, tmp_path: Path) -> None:
        (tmp_path / "endless.onnx").write_bytes(model("endless").data)
        with in_time(processes, command=True):
            code, said = netdyno("profile", str(tmp_path / "endless.onnx"), "--budget", "2s")
        assert code == DeviceError.exit_code
        assert "endless: the worker process was killed: it did not answer within the budget" in said
        assert said.count("\n") == 1

    def test_one_that_takes_too_much_memory(self, processes: Any, tmp_path: Path) -> None:
        (tmp_path / "hog.onnx").write_bytes(hog().data)
        with in_time(processes, command=True):
            limits = ("--budget", "2s", "--memory-limit", "1GB")
            code, said = netdyno("profile", str(tmp_path / "hog.onnx"), *limits)
        assert code == DeviceError.exit_code
        assert "hog: the worker process ran out of its memory limit of 1.0 GB; raise --memory-limit" in said

    def test_rows_say_so_and_others_are_measured(
        self, processes: Any, model: Model, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("netdyno.base.deadline.GRACE_S", 1.5)
        models = {"endless": model("endless"), "hog": hog(), "add": model("add")}
        settings = Settings("onnxruntime", memory_limit_bytes=1_000_000_000)
        with in_time(processes, 5.0), CpuDevice() as device:
            rows = profile_artifacts(models, Profiling(device, settings, Method(5.0, memory=False))).networks
        assert rows["valid"].to_dict() == {"endless": 0, "hog": 0, "add": 1}
        assert rows["method"]["endless"].startswith("lost: endless: the worker process was killed: it did not answer")
        assert rows["method"]["hog"].startswith("lost: hog: ")
        assert "its memory limit of 1.0 GB" in rows["method"]["hog"]

    @pytest.mark.parametrize("artifact", [hog(), tflite_hog()], ids=["onnx", "tflite"])
    def test_a_limit_is_for_each_way_of_running(self, model: Model, artifact: Artifact) -> None:
        settings = Settings(memory_limit_bytes=200_000_000)
        with CpuDevice() as device:
            runtime = device.runtime_for(artifact, settings)
            for ask in (
                lambda: device.open(artifact, settings),
                lambda: device.peak_memory_bytes(artifact, runtime, settings),
                lambda: device.profile_operators(artifact, settings, 1),
            ):
                with pytest.raises(WorkerLost, match=r"limit of 200\.0 MB; raise --memory-limit"):
                    ask()
            with device.open(model("add"), settings) as session:
                assert session.peak_memory_bytes() < 100_000_000

    @pytest.mark.parametrize("limit", [1, 63_999_999, -1])
    def test_limits_that_no_runtime_fits_into(self, limit: int) -> None:
        with pytest.raises(InputError, match="memory limit must be at least 64"):
            Settings(memory_limit_bytes=limit)


@pytest.mark.usefixtures("impatient")
class TestStopped:
    """A stopped process answers nothing, and notices nothing: not even that it should end."""

    @pytest.mark.parametrize("what", ["run", "memory", "open"])
    def test_a_worker(self, processes: Any, model: Model, what: str) -> None:
        with in_time(processes), CpuDevice() as device:
            session = device.open(model("add"))
            session.peak_memory_bytes()
            stop(processes.of(os.getpid()))
            asked = {
                "run": session.run,
                "memory": session.peak_memory_bytes,
                "open": lambda: device.open(model("add")),
            }
            with within(0.5), pytest.raises(WorkerLost, match="did not answer within the budget"):
                asked[what]()
            device.restart()
            device.open(model("add")).run()

    def test_amid_a_profile(self, processes: Any, model: Model, tmp_path: Path) -> None:
        (tmp_path / "add.onnx").write_bytes(model("add").data)
        command = [sys.executable, "-m", "netdyno", "profile", str(tmp_path / "add.onnx"), "--budget", "2s"]
        with in_time(processes, command=True), subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as parent:
            processes.wait_until(lambda: any(map(is_worker, processes.of(parent.pid))))
            stop(processes.of(parent.pid))
            _, said = parent.communicate()
        assert parent.returncode == DeviceError.exit_code, said
        assert "did not answer within the budget" in said

    def test_what_is_closed(self, processes: Any, model: Model) -> None:
        with in_time(processes), CpuDevice() as device:
            session = device.open(model("add"))
            stop(processes.of(os.getpid()))
            with within(0.5):
                session.close()
                device.close()

    def test_on_another_machine(self, processes: Any, ssh_server: Any, model: Model) -> None:
        with in_time(processes), ssh_device(ssh_server.address()) as device:
            session = device.open(model("add"))
            before = agents()
            (worker,) = [pid for pid, parent in before.items() if parent in before]
            stop({worker})
            with within(0.5), pytest.raises(DeviceError, match="did not answer within the budget"):
                session.run()
            processes.wait_until(lambda: not processes.lives(worker))
            device.open(model("add")).run()
        processes.wait_until(lambda: not agents())

    def test_is_not_waited_for_twice(self, processes: Any, model: Model) -> None:
        with CpuDevice(silence_s=1.0) as device, pytest.raises(Hung, match="did not answer for 1 s"):
            profile_model(model("endless"), device, Settings(), Method())

    def test_ctrl_c(self, processes: Any, model: Model) -> None:
        with in_time(processes), CpuDevice() as device:
            session = device.open(model("add"))
            (worker,) = processes.of(os.getpid())
            os.kill(worker, signal.SIGSTOP)
            timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                session.run()
            assert not session.worker.alive


class TestThreads:
    def test_no_more_than_there_are(self, processes: Any, model: Model, tmp_path: Path) -> None:
        (tmp_path / "add.onnx").write_bytes(model("add").data)
        for target in (str(tmp_path / "add.onnx"), "ofa-mobilenetv3"):
            code, said = netdyno("profile", target, "--threads", "1024")
            assert (code, said.count("\n")) == (InputError.exit_code, 1), said
            assert "cpu: 1024 threads, where no more than" in said

    def test_those_that_this_process_may_use(self, processes: Any, model: Model) -> None:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            with CpuDevice() as device, in_time(processes):
                for refuse in (device.check, lambda settings: device.open(model("add"), settings)):
                    with pytest.raises(InputError, match="2 threads, where no more than 1 CPUs"):
                        refuse(Settings(threads=2))
        finally:
            os.sched_setaffinity(0, before)

    def test_those_of_another_machine(self, ssh_server: Any) -> None:
        with ssh_device(ssh_server.address()) as device, pytest.raises(InputError, match="1024 threads"):
            device.check(Settings(threads=1024))


PEER = """#!{python}
import json, os, struct, sys, threading, time
def swallow():
    while os.read(0, 1 << 20):
        pass
threading.Thread(target=swallow, daemon=True).start()
def frame(message, arrays=()):
    header = json.dumps({{"message": message, "arrays": list(arrays)}}).encode()
    return b"NDY1" + struct.pack("<I", len(header)) + header
def write(data):
    while data:
        data = data[os.write(1, data):]
hello = frame({{"about": {{"architecture": "x", "kernel": "6", "usable_cpus": 2}}, "versions": {{"onnxruntime": "1"}},
               "cache": "/c"}})
{does}
"""
LARGE = """
write(frame({}, [{"name": "a", "dtype": "uint8", "shape": [8 << 30]}]))
while True:
    write(bytes(1 << 20))
"""
MANY = """
write(frame({}, [{"name": str(i), "dtype": "float64", "shape": [1 << 20]} for i in range(1000)]))
while True:
    write(bytes(1 << 20))
"""
SLOW = """
for byte in hello:
    write(bytes([byte]))
    time.sleep(0.5)
"""
NOISY = """
line = b"x" * 65535 + b"\\n"
for _ in range(500):
    os.write(2, line)
os.write(2, b"ssh: the end of it\\n")
sys.exit(255)
"""
SILENT = "time.sleep(60)"
LATER = """
write(hello)
time.sleep(60)
"""


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program where ``ssh`` is looked for: another machine that is not what it should be."""

    def install(does: str) -> None:
        program = tmp_path / "ssh"
        program.write_text(PEER.format(python=sys.executable, does=does))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return install


@pytest.mark.usefixtures("impatient")
class TestHostilePeer:
    @pytest.mark.parametrize(
        ("does", "says"),
        [
            (LARGE, r"board: the worker sent an answer of 8\.6 GB, where at most 0 B fit"),
            (MANY, r"board: the worker sent an answer of 8\.4 GB, where at most 0 B fit"),
            (SLOW, "board: did not answer within the budget"),
            (SILENT, "board: did not answer within the budget"),
            (NOISY, "board: the end of it"),
        ],
        ids=["large", "many", "slow", "silent", "noisy"],
    )
    def test_what_it_answers(self, processes: Any, peer: Callable[[str], None], does: str, says: str) -> None:
        peer(does)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with in_time(processes), within(BUDGET_S), pytest.raises(DeviceError, match=says):
            ssh_device("ssh://board/cpu", lock_wait_s=0.0)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB

    def test_by_the_command(self, processes: Any, peer: Callable[[str], None], model: Model, tmp_path: Path) -> None:
        (tmp_path / "add.onnx").write_bytes(model("add").data)
        peer(LATER)
        with in_time(processes, command=True):
            command = ("profile", str(tmp_path / "add.onnx"), "--device", "ssh://board/cpu", "--budget", "2s")
            code, said = netdyno(*command)
        assert code == DeviceError.exit_code
        assert "board: did not answer within the budget" in said
        assert said.count("\n") == 1

    def test_outputs_are_as_large_as_they_may_be(self, monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
        monkeypatch.setattr("netdyno.devices.workers.OUTPUT_BYTES", 23)
        with CpuDevice() as device, device.open(model("add")) as session:
            assert session.time(3).shape == (3,)
            with pytest.raises(DeviceError, match="add: the worker sent an answer of 32 B, where at most 31 B fit"):
                session.run()
        monkeypatch.setattr("netdyno.devices.workers.OUTPUT_BYTES", 24)
        with CpuDevice() as device, device.open(model("add")) as session:
            assert session.run(_zeros(session.inputs)).outputs["c"].nbytes == 24


def _zeros(inputs: Sequence[Any]) -> dict[str, Any]:
    return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in inputs}
