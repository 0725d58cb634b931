"""The conformance suite for devices: whoever writes a back end inherits one class and brings two fixtures.

::

    @pytest.fixture(scope="module")
    def device():
        with MyDevice("mine") as device:
            yield device

    @pytest.fixture(scope="module")
    def cases():
        return [Case(artifact, {"x": array}, {"y": expected})]

    class TestMyDevice(DeviceConformance):
        pass
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netdyno.base.artifact import Artifact
from netdyno.base.errors import InputError, ModelError, NetdynoError, UnknownName, WorkerLost
from netdyno.devices.device import Device, Samples, Settings

__all__ = ["Case", "DeviceConformance"]


@dataclass(frozen=True)
class Case:
    """A tiny model with floating-point inputs, one set of them, and the outputs that it must give."""

    artifact: Artifact
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]

    def check(self, samples: Samples, repeat: int) -> None:
        """Make sure that a call gave these outputs and ``repeat`` positive latencies."""
        assert samples.latency_ns.shape == (repeat,)
        assert samples.latency_ns.dtype == np.int64
        assert (samples.latency_ns > 0).all()
        assert set(samples.outputs) == set(self.outputs)
        for name, expected in self.outputs.items():
            assert np.allclose(samples.outputs[name], expected, rtol=1e-3, atol=1e-3)


class DeviceConformance:
    """What every device does, tried with the fixtures ``device`` and ``cases``; see the top of the module."""

    def test_every_format_has_a_case(self, device: Device, cases: Sequence[Case]) -> None:
        """The suite is worth what its cases cover."""
        assert {case.artifact.format for case in cases} == set(device.formats.values())

    def test_info_is_complete(self, device: Device) -> None:
        """Facts can be written into a table as they are."""
        info = device.info()
        assert info.id == device.id
        assert info.kind
        assert info.name
        assert info.versions
        assert json.loads(json.dumps(asdict(info), allow_nan=False))["facts"] == dict(info.facts)

    def test_state_is_json(self, device: Device) -> None:
        """States can be journalled as they are."""
        state = dict(device.state())
        assert json.loads(json.dumps(state, allow_nan=False)) == state

    def test_runs(self, device: Device, cases: Sequence[Case]) -> None:
        """Right outputs, one latency for each inference, and what loading took."""
        for case in cases:
            with device.open(case.artifact) as session:
                case.check(session.run(case.inputs, repeat=7), repeat=7)
                case.check(session.run(case.inputs), repeat=1)
                assert session.load.load_ms > 0
                assert session.load.first_ms > 0
                assert {spec.name: spec.shape for spec in session.inputs} == {
                    name: array.shape for name, array in case.inputs.items()
                }

    def test_named_runtime(self, device: Device, cases: Sequence[Case]) -> None:
        """Every runtime that the device names runs the format that it names."""
        for runtime, runs in device.formats.items():
            case = next(case for case in cases if case.artifact.format == runs)
            with device.open(case.artifact, Settings(runtime=runtime)) as session:
                case.check(session.run(case.inputs), repeat=1)

    def test_inputs_are_kept(self, device: Device, cases: Sequence[Case]) -> None:
        """Without inputs a call uses those of the call before."""
        for case in cases:
            with device.open(case.artifact) as session:
                session.run(case.inputs, repeat=2)
                case.check(session.run(repeat=3), repeat=3)

    def test_default_inputs_are_fixed(self, device: Device, cases: Sequence[Case]) -> None:
        """A model that was given no inputs computes the same each time that it is opened."""
        for case in cases:
            with device.open(case.artifact) as first, device.open(case.artifact) as second:
                a, b = first.run(repeat=2).outputs, second.run().outputs
                assert set(a) == set(b)
                assert all(np.allclose(a[name], b[name], rtol=1e-3, atol=1e-3) for name in a)

    def test_sessions_keep_apart(self, device: Device, cases: Sequence[Case]) -> None:
        """Interleaved sessions neither share inputs nor results, and closing one leaves the other."""
        for case in cases:
            other = {name: array + 1 for name, array in case.inputs.items()}
            with device.open(case.artifact) as one:
                with device.open(case.artifact) as two:
                    one.run(case.inputs)
                    two.run(other)
                    case.check(one.run(), repeat=1)
                case.check(one.run(), repeat=1)

    def test_restart(self, device: Device, cases: Sequence[Case]) -> None:
        """Sessions of before are gone and say so; what is opened then runs."""
        for case in cases:
            with device.open(case.artifact) as gone:
                device.restart()
                with pytest.raises(WorkerLost):
                    gone.run(case.inputs)
            with device.open(case.artifact) as session:
                case.check(session.run(case.inputs), repeat=1)

    def test_a_state_has_no_fault_beside_itself(self, device: Device) -> None:
        """Nothing changed, nothing is wrong."""
        state = device.state()
        assert list(device.faults(state, state)) == []

    def test_wrong_inputs(self, device: Device, cases: Sequence[Case]) -> None:
        """Names, shapes and dtypes are those of the model, and a refusal leaves the session usable."""
        for case in cases:
            name, array = next(iter(case.inputs.items()))
            with device.open(case.artifact) as session:
                for wrong in (
                    {**case.inputs, "no such input": array},
                    {key: value for key, value in case.inputs.items() if key != name},
                    {**case.inputs, name: array[..., np.newaxis]},
                    {**case.inputs, name: array.astype(np.complex64)},
                ):
                    with pytest.raises(InputError):
                        session.run(wrong)
                for repeat in (0, -1):
                    with pytest.raises(InputError):
                        session.run(case.inputs, repeat=repeat)
                case.check(session.run(case.inputs), repeat=1)

    def test_broken_models(self, device: Device, cases: Sequence[Case]) -> None:
        """Garbage and truncated files are refused in one line that names the artifact; the device goes on."""
        for case in cases:
            data = case.artifact.data
            middle = len(data) // 2
            mangled = data[:middle] + b"\xff" * middle
            for broken in (b"garbage" * 100, data[:middle], mangled, b"\0" * len(data)):
                with pytest.raises(ModelError) as caught:
                    device.open(replace(case.artifact, data=broken, name="broken"))
                assert "broken" in str(caught.value)
                assert "\n" not in str(caught.value)
            with device.open(case.artifact) as session:
                case.check(session.run(case.inputs), repeat=1)

    def test_unknown_runtime(self, device: Device, cases: Sequence[Case]) -> None:
        """A runtime that is not there is a wrong name."""
        with pytest.raises(UnknownName):
            device.open(cases[0].artifact, Settings(runtime="no-such-runtime"))

    def test_wrong_format(self, device: Device, cases: Sequence[Case]) -> None:
        """A format that no runtime here runs, or not the one that was asked for, is wrong input."""
        with pytest.raises(InputError):
            device.open(replace(cases[0].artifact, format="no-such-format"))
        for runtime, runs in device.formats.items():
            for case in cases:
                if case.artifact.format != runs:
                    with pytest.raises(InputError):
                        device.open(case.artifact, Settings(runtime=runtime))

    def test_closed_session(self, device: Device, cases: Sequence[Case]) -> None:
        """Closing twice is nothing; using a closed session is an error of the project."""
        for case in cases:
            session = device.open(case.artifact)
            session.close()
            session.close()
            with pytest.raises(NetdynoError):
                session.run(case.inputs)
            with pytest.raises(NetdynoError):
                session.peak_memory_bytes()

    def test_peak_memory(self, device: Device, cases: Sequence[Case]) -> None:
        """A model takes some memory, at least its own file."""
        for case in cases:
            with device.open(case.artifact) as session:
                assert session.peak_memory_bytes() >= len(case.artifact)

    def test_meters_count_up(self, device: Device) -> None:
        """Energy is never given back."""
        for meter in device.meters():
            assert meter.name
            first = meter.read_mj()
            assert meter.read_mj() >= first
