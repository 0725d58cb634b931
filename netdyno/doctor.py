"""What this machine can measure, what it cannot, and what would change that."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from netdyno.base.errors import NetdynoError
from netdyno.devices.device import Device, Settings, open_device
from netdyno.devices.jetson import find_monitors
from netdyno.devices.nvidia import Gpu, Nvml, power_meter
from netdyno.devices.rapl import rapl_meters
from netdyno.devices.tree import LocalTree, Tree
from netdyno.exporters.writers import write
from netdyno.profiler.layers import Overhead
from netdyno.profiler.lower import lower

EXTRAS = {
    "torch": ("train", "supernets, training, the demo"),
    "plotly": ("report", "reports"),
    "jinja2": ("report", "reports"),
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: whether it is there, and a line about it or about what would bring it."""

    what: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """Everything that netdyno knows to look for here."""
    return [*_cpu(), *_energy(), *_gpus(), *_jetson(LocalTree()), *_extras()]


def _cpu() -> list[Finding]:
    with open_device("cpu") as device:
        info, state = device.info(), device.state()
        found = [Finding("device cpu", True, info.name)]
        found += [_runtime(device, runtime, file_format) for runtime, file_format in device.formats.items()]
    governor = state.get("governor")
    if governor is None:
        found.append(Finding("CPU governor", False, "not readable (a virtual machine?): clock changes go unseen"))
    else:
        steady = governor == "performance"
        advice = "" if steady else "; `cpupower frequency-set -g performance` makes latencies steadier"
        found.append(Finding("CPU governor", steady, f"{governor}{advice}"))
    return found


def _runtime(device: Device, runtime: str, file_format: str) -> Finding:
    """Whether a runtime really runs the empty graph."""
    try:
        with device.open(write(lower(Overhead()), file_format), Settings(runtime)) as session:
            fastest_us = session.run(repeat=100).latency_ns.min() / 1e3
    except NetdynoError as error:
        return Finding(f"runtime {runtime}", False, str(error))
    detail = f"latency and memory of .{file_format} models; {fastest_us:.1f} µs overhead a call"
    return Finding(f"runtime {runtime}", True, detail)


def _energy() -> list[Finding]:
    meters, reasons = rapl_meters(Path("/sys"))
    found = [Finding(f"energy {meter.name}", True, "readable: profile --metrics energy") for meter in meters]
    return found + [Finding("energy of this CPU", False, reason) for reason in reasons]


def _gpus() -> list[Finding]:
    """Each NVIDIA GPU that programs here see, and what tells its energy."""
    found = []
    try:
        with Nvml() as nvml:
            for number in range(len(nvml.visible())):
                found += _gpu(nvml, f"cuda:{number}")
    except NetdynoError as error:
        return [*found, Finding("NVIDIA GPUs", False, str(error))]
    return found or [Finding("NVIDIA GPUs", False, "the driver is there, but no GPU is visible to programs")]


def _gpu(nvml: Nvml, identifier: str) -> list[Finding]:
    try:
        gpu = Gpu(nvml, identifier)
        meter, reasons = power_meter(gpu)
    except NetdynoError as error:
        return [Finding(f"GPU {identifier}", False, str(error))]
    found = [Finding(f"GPU {identifier}", True, f"{gpu.name}, driver {gpu.facts().get('driver', 'unknown')}")]
    if meter is None:
        return [*found, Finding(f"energy {identifier}", False, "; ".join(reasons))]
    return [*found, Finding(f"energy {meter.name} of {identifier}", True, meter.note or "an energy counter")]


def _jetson(tree: Tree) -> list[Finding]:
    """The rails of a Jetson, if this is one."""
    try:
        monitors = find_monitors(tree)
        rails_mw = monitors.read_mw(tree)
    except NetdynoError as error:
        return [Finding("rails of this Jetson", False, str(error))]
    if not rails_mw:
        return [Finding("rails of a Jetson", False, "none: not a Jetson, or one without power monitors (Nano 2GB)")]
    total = " + ".join(rail.name for rail in monitors.total())
    board = monitors.board.name if monitors.board else "a board that netdyno does not know"
    listed = ", ".join(f"{name} {power_mw:.0f} mW" for name, power_mw in rails_mw.items())
    return [Finding(f"rails of {board}", bool(total), f"total {total or 'unknown'}; now {listed}")]


def _extras() -> list[Finding]:
    found = []
    for package, (extra, purpose) in EXTRAS.items():
        try:
            found.append(Finding(package, True, f"{version(package)}: {purpose}"))
        except PackageNotFoundError:
            found.append(Finding(package, False, f"not installed: {purpose}; pip install 'netdyno[{extra}]'"))
    return found
