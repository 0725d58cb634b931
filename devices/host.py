"""What Linux tells about the machine itself: its facts, and its state before and after a measurement.

Everything is read from files; what a machine does not tell is left out. Nothing here
identifies a person or a unit: no host name, no serial number, no address.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping

from netdyno.devices.tree import LocalTree, Tree

_X86 = {"sse4_2", "avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"}
_AMX = {"amx_tile", "amx_int8", "amx_bf16"}
_ARM = {"asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"}
_INSTRUCTIONS = _X86 | _AMX | _ARM


_LARGEST = 1e15
MOST_STEAL = 0.05
"""Share of the time that other machines on the host may take before readings are flagged."""
_FIXED = {"governor": "the clock governor changed", "boost": "boost was switched", "on_mains": "the mains changed"}
_GROWING = {"thermal_throttle_count": "throttled by heat", "quota_throttle_count": "throttled by a CPU quota"}


State = Mapping[str, str | int | float]

_CPUS = "/sys/devices/system/cpu"
PATTERNS = (
    *(f"/proc/{name}" for name in ("cpuinfo", "meminfo", "loadavg", "stat")),
    *(f"/sys/fs/cgroup/cpu.{name}" for name in ("max", "stat")),
    *(f"{_CPUS}/cpu[0-9]*/cpufreq/scaling_{name}" for name in ("governor", "cur_freq")),
    f"{_CPUS}/cpu[0-9]*/thermal_throttle/*_throttle_count",
    *(f"{_CPUS}/cpu[0-9]*/topology/{name}" for name in ("physical_package_id", "core_id")),
    *(f"{_CPUS}/{name}" for name in ("cpufreq/boost", "intel_pstate/no_turbo")),
    *("/sys/class/thermal/thermal_zone*/temp", "/sys/class/hwmon/hwmon*/temp*_input"),
    *(f"/sys/class/power_supply/*/{name}" for name in ("type", "online")),
    "/etc/os-release",
)
"""All files that are looked at."""


def local_about() -> dict[str, str | int]:
    """What this machine tells by other ways than files."""
    return {
        "architecture": platform.machine(),
        "kernel": platform.release(),
        "usable_cpus": len(os.sched_getaffinity(0)),
    }


class Host:
    """A Linux machine as its files show it, and ``about`` it what they do not."""

    kind = "cpu"
    patterns: tuple[str, ...] = PATTERNS

    def __init__(self, tree: Tree | None = None, about: Mapping[str, str | int] | None = None) -> None:
        self.tree = LocalTree() if tree is None else tree
        self._about = local_about() if about is None else about

    def name(self) -> str:
        """The processor's marketing name, or its architecture where there is none (most Arm boards)."""
        fields = self._cpuinfo()
        return fields.get("model name") or fields.get("Hardware") or f"{self._about['architecture']} processor"

    def facts(self) -> dict[str, str | int | float]:
        """What does not change while the machine runs."""
        fields = self._cpuinfo()
        flags = set((fields.get("flags") or fields.get("Features") or "").split())
        facts: dict[str, str | int | float] = {
            "architecture": self._about["architecture"],
            "instructions": " ".join(sorted(flags & _INSTRUCTIONS)),
            "cores": self._cores(),
            "usable_cpus": self._about["usable_cpus"],
            "virtual_machine": int("hypervisor" in flags),
            "memory_bytes": _kilobytes(self.tree.text("/proc/meminfo"), "MemTotal"),
            "os": self._os_name(),
            "kernel": self._about["kernel"],
        }
        quota = self._cpu_quota()
        return facts if quota is None else facts | {"cpu_quota": quota}

    def state(self) -> dict[str, str | int | float]:
        """What may change while measuring; ticks and counts grow, so it is their difference that matters."""
        state: dict[str, str | int | float] = {}
        state |= self._clocks()
        state |= self._load()
        temperatures = list(self._temperatures_c())
        if temperatures:
            state["temperature_c"] = max(temperatures)
        throttles = self._numbers(f"{_CPUS}/cpu[0-9]*/thermal_throttle/*_throttle_count")
        state |= {"thermal_throttle_count": int(sum(throttles))} if throttles else {}
        mains = [
            self.tree.text(f"{supply}/online").strip() == "1"
            for supply in self.tree.glob("/sys/class/power_supply/*")
            if self.tree.text(f"{supply}/type").strip() == "Mains"
        ]
        return state | ({"on_mains": int(any(mains))} if mains else {})

    @staticmethod
    def faults(before: State, after: State) -> list[str]:
        """Why readings between two states of a machine are not to be trusted; what it does not tell cannot speak."""
        faults = [text for name, text in _FIXED.items() if before.get(name) != after.get(name)]
        faults += [text for name, text in _GROWING.items() if growth(before, after, name) > 0]
        stolen, busy = (growth(before, after, name) for name in ("steal_ticks", "busy_ticks"))
        if stolen > MOST_STEAL * (stolen + busy):
            faults.append("time was stolen by other virtual machines")
        return faults

    def _clocks(self) -> dict[str, str | int | float]:
        clocks: dict[str, str | int | float] = {}
        cpufreq = f"{_CPUS}/cpu[0-9]*/cpufreq"
        governors = {self.tree.text(path).strip() for path in self.tree.glob(f"{cpufreq}/scaling_governor")} - {""}
        if governors:
            clocks["governor"] = " ".join(sorted(governors))
        mhz = [khz / 1e3 for khz in self._numbers(f"{cpufreq}/scaling_cur_freq")]
        if not mhz:
            lines = self.tree.text("/proc/cpuinfo").splitlines()
            mhz = [_number(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
        if mhz:
            clocks["clock_mhz"] = round(sum(mhz) / len(mhz), 1)
        boost = self._numbers(f"{_CPUS}/cpufreq/boost")
        no_turbo = self._numbers(f"{_CPUS}/intel_pstate/no_turbo")
        if boost or no_turbo:
            clocks["boost"] = int(boost[0] == 1 if boost else no_turbo[0] == 0)
        return clocks

    def _load(self) -> dict[str, str | int | float]:
        load: dict[str, str | int | float] = {}
        average = self.tree.text("/proc/loadavg").split()
        if average:
            load["load_1min"] = _number(average[0])
        ticks = [int(_number(tick)) for tick in self._stat_cpu()]
        if len(ticks) >= 8:
            user, nice, system, _idle, _wait, irq, softirq, steal = ticks[:8]
            load |= {"busy_ticks": user + nice + system + irq + softirq, "steal_ticks": steal}
        for line in self.tree.text("/sys/fs/cgroup/cpu.stat").splitlines():
            if line.startswith("nr_throttled "):
                load["quota_throttle_count"] = int(_number(line.removeprefix("nr_throttled")))
        return load

    def _temperatures_c(self) -> Iterator[float]:
        for pattern in ("/sys/class/thermal/thermal_zone*/temp", "/sys/class/hwmon/hwmon*/temp*_input"):
            for millidegrees in self._numbers(pattern):
                # Absent sensors answer with absurd values (-274 °C, 0, 65535).
                if 0 < millidegrees < 150_000:
                    yield millidegrees / 1e3

    def _cpuinfo(self) -> Mapping[str, str]:
        """The fields of the first processor."""
        pairs = (line.partition(":") for line in self.tree.text("/proc/cpuinfo").splitlines())
        fields: dict[str, str] = {}
        for key, _, value in pairs:
            fields.setdefault(key.strip(), value.strip())
        return fields

    def _cores(self) -> int:
        """Physical cores: distinct pairs of package and core."""
        text = self.tree.text
        topologies = self.tree.glob(f"{_CPUS}/cpu[0-9]*/topology")
        cores = {(text(f"{t}/physical_package_id"), text(f"{t}/core_id")) for t in topologies}
        return len(cores) or int(self._about["usable_cpus"])

    def _cpu_quota(self) -> float | None:
        """CPUs' worth of time that a container may use; None without a limit."""
        limit, _, period = self.tree.text("/sys/fs/cgroup/cpu.max").partition(" ")
        quota, length = _number(limit), _number(period)
        return quota / length if quota > 0 and length >= 1 else None

    def _stat_cpu(self) -> list[str]:
        first = self.tree.text("/proc/stat").partition("\n")[0].split()
        return first[1:] if first[:1] == ["cpu"] else []

    def _numbers(self, pattern: str) -> list[float]:
        texts = (self.tree.text(path).strip() for path in self.tree.glob(pattern))
        return [_number(text) for text in texts if text.lstrip("-").isdigit()]

    def _os_name(self) -> str:
        for line in self.tree.text("/etc/os-release").splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip("\"' ")
        return "Linux"


def growth(before: State, after: State, name: str) -> float:
    """By how much a count has grown between two states."""
    return float(after.get(name, 0)) - float(before.get(name, 0))


def _number(text: str) -> float:
    """A number of a size that a machine has, or 0 where there is none."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if abs(number) < _LARGEST else 0.0


def _kilobytes(text: str, field: str) -> int:
    """Bytes of a ``Field:   123 kB`` line."""
    for line in text.splitlines():
        if line.startswith(f"{field}:"):
            return int(_number(line.removeprefix(f"{field}:").removesuffix("kB"))) * 1024
    return 0
