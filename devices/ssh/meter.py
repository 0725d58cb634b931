"""Energy of another machine's board or GPU, which the agent there reads and sums up."""

from __future__ import annotations

import math
from typing import Any

from netdyno.base.errors import MeasurementInvalid
from netdyno.devices.agents import understood
from netdyno.devices.meters import POLL_S
from netdyno.devices.ssh.connection import CONNECT_S, SshWorker, ask
from netdyno.devices.workers import WorkerMeter


class RemoteMeter(WorkerMeter):
    """A meter at the other end of a connection of its own; ``watched`` says what it is to sum up.

    Raises:
        DeviceError: it cannot be read there.
    """

    def __init__(self, agent: SshWorker, watched: dict[str, Any], name: str, settle_s: float, note: str) -> None:
        self.name, self.settle_s, self.note = name, settle_s, note
        super().__init__(agent)
        self._agent = agent
        ask(agent, {"do": "watch", "period_s": POLL_S, **watched}, CONNECT_S)

    def read_mj(self) -> float:
        """Energy in mJ since an arbitrary moment.

        Raises:
            MeasurementInvalid: it reads no energy.
            DeviceError: the connection is lost, or it cannot be read any more.
        """
        said = ask(self._agent, {"do": "energy"}, CONNECT_S)
        if "invalid" in said:
            raise MeasurementInvalid(f"{self._agent.target}: {self.name}: {said['invalid']}")
        with understood(self._agent.target):
            energy_mj = float(said["mj"])
        if not 0 <= energy_mj < math.inf:
            raise MeasurementInvalid(f"{self.name}: {energy_mj:g} mJ is no reading of energy")
        return energy_mj
