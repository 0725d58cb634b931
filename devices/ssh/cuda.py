"""An NVIDIA GPU at the other end of a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netdyno.base.errors import DeviceError, InputError
from netdyno.devices.agents import CUDA, understood
from netdyno.devices.device import DeviceInfo
from netdyno.devices.nvidia.device import NO_RUNTIME, RUNTIMES, cuda_faults, gpu_state, lock_name
from netdyno.devices.ssh.connection import CONNECT_S, SshWorker, ask
from netdyno.devices.ssh.device import SshDevice, short
from netdyno.devices.ssh.meter import RemoteMeter

_LONGEST_SETTLING_S = 60.0
_LARGEST = 1e18


class SshCuda(SshDevice):
    """A GPU of another machine; the driver's own package is sent there with the agent.

    Raises:
        DeviceError: the machine cannot be reached, has no such GPU, or nothing that runs on it.
    """

    def find_formats(self, there: Mapping[str, str]) -> dict[str, str]:
        """The runtimes of the GPU, the default first."""
        said = self.ask({"do": "cuda"}, timeout_s=CONNECT_S)
        with understood(self.address.target):
            self._versions = {name: short(said["versions"][name]) for name in RUNTIMES if name in said["versions"]}
            self.gpu = short(self._about["uuid"])
        if not self._versions:
            text = f"{self.address.target}: {self.address.python} has {NO_RUNTIME}"
            raise DeviceError(text, device=self.id)
        self.places = dict.fromkeys(self._versions, CUDA)
        return {name: RUNTIMES[name] for name in self._versions}

    def info(self) -> DeviceInfo:
        """The GPU, its driver, the machine around it, and the versions of the runtimes."""
        host = self.host()
        with understood(self.address.target):
            facts = {"host": host.name(), **host.facts(), **_facts(self._about["facts"])}
            return DeviceInfo(self.id, "cuda", short(self._about["name"]), facts, self._versions)

    def state(self) -> Mapping[str, str | int | float]:
        """Clocks, temperature, throttling, power limit and other programs of the GPU; the host's own state."""
        said = self.ask({"do": "gpu_state"})
        with understood(self.address.target):
            return gpu_state(self.host(), _numbers(said["state"]), self.workers("work"))

    def faults(
        self, before: Mapping[str, str | int | float], after: Mapping[str, str | int | float]
    ) -> Sequence[str]:
        """Throttling, a changed power limit, other programs on the GPU."""
        return cuda_faults(before, after)

    def lock_name(self) -> str:
        """The GPU's own lock."""
        return lock_name(self.gpu)

    def make_meter(self) -> RemoteMeter | None:
        """The best of what the driver there offers."""
        with understood(self.address.target):
            meter = self._about["meter"]
            if not meter:
                return None
            name, settle_s, note = short(meter["name"]), float(meter["settle_s"]), short(meter["note"])
            if not 0 <= settle_s <= _LONGEST_SETTLING_S:
                raise ValueError("no time that a meter takes")
        return RemoteMeter(self.connect(), {}, name, settle_s, note)

    def meter_problems(self) -> Sequence[str]:
        """Why the driver there tells no energy."""
        with understood(self.address.target):
            return [] if self._about["meter"] else [short(text) for text in self._about["problems"]]

    def connect(self) -> SshWorker:
        """A process of the agent that has the GPU in hand."""
        agent = super().connect()
        said = ask(agent, {"do": "gpu", "identifier": self.address.device}, CONNECT_S)
        if "input" in said:
            raise InputError(f"{self.address.target}: {said['input']}", device=self.id)
        self._about = said
        return agent


def _facts(said: Any) -> dict[str, str | int | float]:
    """Somebody's facts, if they are numbers and short texts."""
    return {short(name): value if _is_number(value) else short(value) for name, value in said.items()}


def _numbers(said: Any) -> dict[str, str | int | float]:
    """Somebody's state, if it is all numbers, which can be compared."""
    if not all(_is_number(value) for value in said.values()):
        raise ValueError("no numbers")
    return _facts(said)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -_LARGEST < value < _LARGEST
