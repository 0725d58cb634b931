"""A Jetson board as its files show it: model, power mode, clocks that are locked, throttling."""

from __future__ import annotations

import re
from collections.abc import Iterator

from netdyno.devices.host import Host, State, growth
from netdyno.devices.jetson import rails

_MODE = "/var/lib/nvpmodel/status"
_RELEASE = "/etc/nv_tegra_release"
_GPU_CLOCKS = "/sys/class/devfreq/*"
_COOLING = "/sys/class/thermal/cooling_device*"
_OVERCURRENT = "/sys/class/hwmon/hwmon*/oc*_event_cnt"
_COUNT = re.compile(r"\d{1,15}", re.ASCII)
_GPU = re.compile(r"(?:.*\.)?(?:gpu|gm20b|gp10b|gv11b|ga10b)(?:-.*)?", re.ASCII)


class JetsonHost(Host):
    """A Jetson; beyond what any Linux tells it tells these."""

    kind = "jetson"
    patterns = (
        *Host.patterns,
        *rails.PATTERNS,
        _MODE,
        _RELEASE,
        *(f"{_GPU_CLOCKS}/{name}_freq" for name in ("cur", "min", "max")),
        *(f"{_COOLING}/{name}" for name in ("type", "cur_state")),
        _OVERCURRENT,
    )

    def name(self) -> str:
        """The board's name in its device tree, or as far as its rails tell it."""
        board = rails.find_monitors(self.tree).board
        return rails.model(self.tree) or (board.name if board else super().name())

    def facts(self) -> dict[str, str | int | float]:
        """What does not change while the board runs; with the release of L4T, where it is told."""
        found = re.match(r"# R(\d{1,4}) \(release\), REVISION: ([\d.]{1,20})", self.tree.text(_RELEASE), re.ASCII)
        return super().facts() | ({"l4t": f"R{found[1]}.{found[2]}"} if found else {})

    def state(self) -> dict[str, str | int | float]:
        """What may change while measuring, the power mode and the GPU's clock included."""
        state = super().state() | dict(self._clocks_of_gpu())
        mode = re.search(r"pmode:(\d{1,4})", self.tree.text(_MODE), re.ASCII)
        if mode:
            state["power_mode"] = int(mode[1])
        alerts = [self.tree.text(f"{folder}/cur_state").strip() for folder in self._alerts()]
        state["throttle_alerts"] = sum(alert not in ("", "0") for alert in alerts)
        events = [self.tree.text(path).strip() for path in self.tree.glob(_OVERCURRENT)]
        state["overcurrent_events"] = sum(
            int(count) for count in events if count.isdecimal() and count.isascii() and len(count) < 10
        )
        return state

    @staticmethod
    def faults(before: State, after: State) -> list[str]:
        """What holds for any machine, and a changed power mode, locked clocks let go, alerts, too much current."""
        faults = Host.faults(before, after)
        if before.get("power_mode") != after.get("power_mode"):
            faults.append("the power mode was changed")
        if before.get("clocks_locked") != after.get("clocks_locked"):
            faults.append("jetson_clocks was switched")
        if before.get("throttle_alerts") or after.get("throttle_alerts"):
            faults.append("throttled by heat")
        if growth(before, after, "overcurrent_events") > 0:
            faults.append("throttled by too high a current")
        return faults

    def _clocks_of_gpu(self) -> Iterator[tuple[str, int]]:
        """The GPU's clock, and whether ``jetson_clocks`` has locked it."""
        for folder in self.tree.glob(_GPU_CLOCKS):
            if _GPU.fullmatch(folder.rpartition("/")[2]):
                hertz = [self.tree.text(f"{folder}/{name}_freq").strip() for name in ("cur", "min", "max")]
                if all(_COUNT.fullmatch(text) for text in hertz):
                    yield "gpu_clock_mhz", int(hertz[0]) // 1_000_000
                    yield "clocks_locked", int(hertz[1] == hertz[2])
                return

    def _alerts(self) -> list[str]:
        """The cooling devices that slow the board down; a hot surface (``hot-surface-alert``) alone does not."""
        return [folder for folder in self.tree.glob(_COOLING) if "throttle" in self.tree.text(f"{folder}/type")]
