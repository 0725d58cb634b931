from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.base.artifact import Artifact
from netdyno.base.errors import DeviceBusy, InputError, ModelError, NetdynoError, WorkerLost
from netdyno.devices import Settings, open_device
from netdyno.devices.cpu import CpuDevice
from netdyno.devices.testing import Case, DeviceConformance

pytestmark = pytest.mark.alone

Model = Callable[..., Artifact]
Start = Callable[..., "subprocess.Popen[str]"]

FOREVER = 10**8


class TestCpuConformance(DeviceConformance):
    """The shipped suite, with the fixtures of conftest.py."""


class TestForeignModels:
    def test_open_dimension(self, device: CpuDevice, model: Model) -> None:
        for name in ("dynamic", "dynamic-tflite"):
            with device.open(model(name)) as session:
                assert session.inputs[0].shape == (1, 3)  # an open first dimension is 1 unless it is told

    def test_open_dimension_given(self, device: CpuDevice, model: Model) -> None:
        x = np.array([[1, -1, 2]] * 4, np.float32)
        with device.open(model("dynamic", x=(4, 3))) as session:
            np.testing.assert_array_equal(session.run({"x": x}).outputs["y"], np.maximum(x, 0))
        with device.open(model("dynamic-tflite", x=(4, 3))) as session:
            (y,) = session.run({"x": x}).outputs.values()
            np.testing.assert_allclose(y, [[6, 12]] * 4)

    @pytest.mark.parametrize("shapes", [{"x": (4, 5)}, {"x": (4,)}, {"z": (4, 3)}, {"x": (4, 3), "z": (1,)}])
    def test_contradicting_shapes(self, device: CpuDevice, model: Model, shapes: dict[str, Any]) -> None:
        for name in ("dynamic", "dynamic-tflite"):
            with pytest.raises(InputError, match="input"):
                device.open(model(name, **shapes))

    def test_token_ids(self, device: CpuDevice, model: Model) -> None:
        with device.open(model("embedding")) as session:
            assert session.inputs[0].dtype == "int64"
            assert np.isin(session.run().outputs["y"], np.arange(12)).all()
            y = session.run({"tokens": np.array([3, 0, 0, 0, 3])}).outputs["y"]
            np.testing.assert_array_equal(y[:, 0], [9, 0, 0, 0, 9])

    def test_values_that_the_model_refuses(self, device: CpuDevice, model: Model) -> None:
        with device.open(model("embedding")) as session:
            with pytest.raises(ModelError, match="cannot run it"):
                session.run({"tokens": np.array([99, 0, 0, 0, 0])})
            session.run({"tokens": np.zeros(5, np.int64)})

    def test_text_inputs(self, device: CpuDevice, model: Model) -> None:
        with device.open(model("texts")) as session:
            assert session.time(2).shape == (2,)
            with pytest.raises(ModelError, match="cannot be read"):
                session.run()

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sampled_from(["add", "embedding", "linear-tflite", "dynamic-tflite"]), st.data())
    def test_damaged_models(self, device: CpuDevice, model: Model, name: str, data: st.DataObject) -> None:
        artifact = model(name)
        content = bytearray(artifact.data)
        positions = st.integers(0, len(content) - 1)
        for position, value in data.draw(st.dictionaries(positions, st.integers(0, 255), max_size=8)).items():
            content[position] = value
        try:
            with device.open(replace(artifact, data=bytes(content), inputs=())) as session:
                session.run(repeat=2)
        except NetdynoError as error:
            assert "\n" not in str(error)  # noqa: PT017 (some damage does no harm)


def test_threads(device: CpuDevice, cases: list[Case]) -> None:
    for case in cases:
        with device.open(case.artifact, Settings(threads=2)) as session:
            case.check(session.run(case.inputs, repeat=3), repeat=3)


def test_is_registered() -> None:
    with open_device("cpu") as device:
        assert isinstance(device, CpuDevice)


@pytest.mark.parametrize("identifier", ["cpu:0", "CPU", ""])
def test_wrong_identifier(identifier: str) -> None:
    with pytest.raises(InputError):
        CpuDevice(identifier)


class TestMemory:
    def test_weights_count(self, device: CpuDevice, model: Model) -> None:
        with device.open(model("heavy")) as session:
            assert session.peak_memory_bytes() >= 40_000_000

    def test_repeats_agree(self, device: CpuDevice, model: Model) -> None:
        with device.open(model("heavy")) as heavy, device.open(model("add")) as light:
            first, before = heavy.peak_memory_bytes(), light.peak_memory_bytes()
            assert heavy.peak_memory_bytes() == pytest.approx(first, rel=0.03)
            # What was measured in between leaves no trace.
            assert light.peak_memory_bytes() == pytest.approx(before, abs=500_000)
            assert light.peak_memory_bytes() < 10_000_000


class TestLostWorkers:
    def test_killed_while_running(self, processes: Any, cases: list[Case]) -> None:
        case = cases[0]
        with CpuDevice(silence_s=60.0) as device, ThreadPoolExecutor() as pool:
            session, bystander = device.open(case.artifact), device.open(case.artifact)
            (worker,) = processes.of(os.getpid())
            call = pool.submit(session.run, repeat=FOREVER)
            processes.wait_until_busy(worker)
            os.kill(worker, signal.SIGKILL)
            with pytest.raises(WorkerLost, match=rf"{case.artifact.name}.*SIGKILL"):
                call.result()
            with pytest.raises(WorkerLost):
                session.run()
            with device.open(case.artifact) as fresh:
                case.check(fresh.run(case.inputs), repeat=1)
                with pytest.raises(WorkerLost):
                    bystander.run()
            bystander.close()
        assert not processes.of(os.getpid())

    def test_killed_while_idle(self, processes: Any, cases: list[Case]) -> None:
        with CpuDevice() as device:
            session = device.open(cases[0].artifact)
            (worker,) = processes.of(os.getpid())
            os.kill(worker, signal.SIGKILL)
            processes.wait_until(lambda: not processes.lives(worker))
            with pytest.raises(WorkerLost, match="SIGKILL"):
                session.run()
            device.open(cases[0].artifact).close()

    @pytest.mark.parametrize(("number", "expected"), [(signal.SIGSEGV, ModelError), (signal.SIGKILL, WorkerLost)])
    def test_crash_while_loading(
        self, processes: Any, model: Model, number: signal.Signals, expected: type[NetdynoError]
    ) -> None:
        with CpuDevice(silence_s=60.0) as device, ThreadPoolExecutor() as pool:
            device.open(model("add"))
            (worker,) = processes.of(os.getpid())
            call = pool.submit(device.open, model("endless"))
            processes.wait_until_busy(worker)
            os.kill(worker, number)
            with pytest.raises(expected, match=rf"endless.*{number.name}"):
                call.result()

    def test_hangs(self, processes: Any, model: Model) -> None:
        with CpuDevice(silence_s=1.0) as device:
            with pytest.raises(WorkerLost, match="did not answer"):
                device.open(model("endless"))
            assert not processes.of(os.getpid())
            device.open(model("add")).run()

    def test_memory_worker_killed(self, processes: Any, model: Model) -> None:
        with CpuDevice(silence_s=60.0) as device, ThreadPoolExecutor() as pool:
            session = device.open(model("add"))
            session.peak_memory_bytes()
            endless = replace(model("endless", x=(4,)), name="loop")
            workers = processes.of(os.getpid())
            call = pool.submit(device.peak_memory_bytes, endless, "onnxruntime", Settings())
            processes.wait_until(lambda: processes.of(os.getpid()) - workers)
            (child,) = processes.of(os.getpid()) - workers
            processes.wait_until_busy(child)
            os.kill(child, signal.SIGKILL)
            with pytest.raises(WorkerLost, match=r"loop.*SIGKILL"):
                call.result()
            assert session.peak_memory_bytes() > 0
        assert not processes.of(os.getpid())


class TestProcesses:
    def test_close_leaves_none(self, processes: Any, cases: list[Case]) -> None:
        device = CpuDevice()
        sessions = [device.open(case.artifact, Settings(threads=n)) for case in cases for n in (1, 2)]
        sessions[0].peak_memory_bytes()
        # The child that measured memory may still be on its way out.
        processes.wait_until(lambda: len(processes.of(os.getpid())) == 5)
        device.close()
        device.close()
        assert not processes.of(os.getpid())
        for session in sessions:
            with pytest.raises(NetdynoError):
                session.run()
            with pytest.raises(NetdynoError):
                session.peak_memory_bytes()
            session.close()

    def test_forgotten_device(self, processes: Any, cases: list[Case]) -> None:
        CpuDevice().open(cases[0].artifact).run()
        gc.collect()
        assert not processes.of(os.getpid())

    def test_opens_again_after_close(self, cases: list[Case]) -> None:
        device = CpuDevice()
        for _ in range(2):
            with device, device.open(cases[0].artifact) as session:
                cases[0].check(session.run(cases[0].inputs), repeat=1)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
    def test_parent_ends_while_running(
        self, processes: Any, other_process: Start, tmp_path: Any, model: Model, number: signal.Signals
    ) -> None:
        path = tmp_path / "add.onnx"
        path.write_bytes(model("add").data)
        parent = other_process(
            "import sys; from pathlib import Path; from netdyno.base.artifact import read_artifact\n"
            "from netdyno.devices.cpu import CpuDevice\n"
            "session = CpuDevice().open(read_artifact(Path(sys.argv[1])))\n"
            f"print('open', flush=True); session.run(repeat={FOREVER})",
            str(path),
        )
        assert parent.stdout is not None
        assert parent.stdout.readline() == "open\n"
        (worker,) = processes.of(parent.pid)
        processes.wait_until_busy(worker)
        os.killpg(parent.pid, number)
        _, error = parent.communicate()
        assert parent.returncode == -number
        assert (number == signal.SIGINT) == ("KeyboardInterrupt" in error)
        processes.wait_until(lambda: not processes.lives(worker))


class TestLock:
    HOLD = (
        "from netdyno.devices.lock import DeviceLock\n"
        "lock = DeviceLock('cpu'); lock.acquire(); print('held', flush=True); input()"
    )

    def test_another_process_holds_it(
        self, other_process: Start, cases: list[Case], caplog: pytest.LogCaptureFixture
    ) -> None:
        holder = other_process(self.HOLD)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with CpuDevice(lock_wait_s=0.5) as device, caplog.at_level(logging.WARNING, "netdyno"):
            with pytest.raises(DeviceBusy, match=f"process {holder.pid}"):
                device.open(cases[0].artifact)
            assert [str(holder.pid) in record.getMessage() for record in caplog.records] == [True]
            holder.communicate("\n")
            device.open(cases[0].artifact).run()

    def test_is_waited_for(self, other_process: Start, cases: list[Case]) -> None:
        holder = other_process(self.HOLD)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        release = threading.Timer(0.3, holder.kill)
        release.start()
        with CpuDevice() as device:
            device.open(cases[0].artifact).run()

    def test_two_objects_in_one_process(self, cases: list[Case]) -> None:
        with CpuDevice(lock_wait_s=0.0) as one, CpuDevice(lock_wait_s=0.0) as two:
            one.open(cases[0].artifact).run()
            session = two.open(cases[0].artifact)
            one.close()
            session.run()
