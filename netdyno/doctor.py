"""What this machine can measure, what it cannot, and what would change that."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from netdyno.base.errors import NetdynoError
from netdyno.devices.android.server import server_devices
from netdyno.devices.device import Device, Settings, open_device
from netdyno.devices.host import Host
from netdyno.devices.jetson import find_monitors
from netdyno.devices.meters import Meter
from netdyno.devices.nvidia import Gpu, Nvml, power_meter
from netdyno.devices.tree import LocalTree, Tree
from netdyno.exporters.writers import write
from netdyno.profiler.layers import Overhead
from netdyno.profiler.lower import lower

EXTRAS = {
    "torch": ("train", "supernets, training, the demo"),
    "nvidia-ml-py": ("nvidia", "energy and state of NVIDIA GPUs"),
    "adb-shell": ("android", "phones without an adb server"),
    "plotly": ("report", "reports"),
    "jinja2": ("report", "reports"),
    "pymoo": ("lab", "the searches age-moea, u-nsga3, c-taea, moead"),
    "numba": ("lab", "the search age-moea"),
    "optuna": ("lab", "the search motpe"),
    "botorch": ("lab", "Bayesian optimisation: the searches hyperpower, constrained-bo, cascades, tune=bayes"),
    "gpytorch": ("lab", "the Gaussian processes of Bayesian optimisation"),
}
"""Every optional library by its package: the extra that brings it, and what it is for."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: whether it is there, and a line about it or about what would bring it."""

    what: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """Everything that netdyno knows to look for here."""
    return [*examine_device("cpu"), *_governor(), *_gpus(), *_jetson(LocalTree()), *_phones(), *_ssh(), *_extras()]


def examine_device(identifier: str) -> list[Finding]:
    """A device, each of its runtimes, which really run the empty graph, and what tells its energy."""
    if identifier.partition(":")[0] != "android":
        return _examine(identifier)
    # A doctor looks at what is here; only measuring fetches what is not.
    return [*_examine(identifier, fetch=False), *_builtin(identifier)]


def _builtin(identifier: str) -> list[Finding]:
    """What runs models of a phone by netdyno's own runner; nothing where the phone itself cannot be had."""
    try:
        with open_device(identifier, runner="builtin") as device:
            found = _runtimes(device)
    except NetdynoError:
        return []
    return [replace(each, what=f"{each.what}, --runner builtin") for each in found]


def _runtimes(device: Device) -> list[Finding]:
    """Each runtime, unless what they all need is not here."""
    try:
        device.prepare()
    except NetdynoError as error:
        return [Finding(f"runtimes {' '.join(device.formats)}", False, str(error))]
    return [_runtime(device, runtime, file_format) for runtime, file_format in device.formats.items()]


def _examine(identifier: str, **options: Any) -> list[Finding]:
    try:
        with open_device(identifier, **options) as device:
            found = [Finding(f"device {identifier}", True, device.info().name)]
            found += _runtimes(device)
            found += [_meter(identifier, meter) for meter in device.meters()]
            found += [Finding(f"energy of {identifier}", False, reason) for reason in device.meter_problems()]
    except NetdynoError as error:
        return [Finding(f"device {identifier}", False, str(error))]
    return found


def _meter(identifier: str, meter: Meter) -> Finding:
    """Whether a meter really reads."""
    try:
        meter.read_mj()
    except NetdynoError as error:
        return Finding(f"energy {meter.name} of {identifier}", False, str(error))
    note = f"; {meter.note}" if meter.note else ""
    return Finding(f"energy {meter.name} of {identifier}", True, f"readable: profile --metrics energy{note}")


def _governor() -> list[Finding]:
    governor = Host().state().get("governor")
    if governor is None:
        return [Finding("CPU governor", False, "not readable (a virtual machine?): clock changes go unseen")]
    steady = governor == "performance"
    advice = "" if steady else "; `cpupower frequency-set -g performance` makes latencies steadier"
    return [Finding("CPU governor", steady, f"{governor}{advice}")]


def _runtime(device: Device, runtime: str, file_format: str) -> Finding:
    """Whether a runtime really runs the empty graph."""
    try:
        with device.open(write(lower(Overhead()), file_format), Settings(runtime)) as session:
            fastest_us = session.time(100).min() / 1e3
    except NetdynoError as error:
        return Finding(f"runtime {runtime}", False, str(error))
    detail = f"latency and memory of .{file_format} models; {fastest_us:.1f} µs overhead a call"
    return Finding(f"runtime {runtime}", True, detail)


def _gpus() -> list[Finding]:
    """Each NVIDIA GPU that programs here see; what its driver tells even where nothing runs on it."""
    found = []
    try:
        with Nvml() as nvml:
            for number in range(len(nvml.visible())):
                found += [*examine_device(f"cuda:{number}"), *_driver(nvml, f"cuda:{number}")]
    except NetdynoError as error:
        return [*found, Finding("NVIDIA GPUs", False, str(error))]
    return found or [Finding("NVIDIA GPUs", False, "the driver is there, but no GPU is visible to programs")]


def _driver(nvml: Nvml, identifier: str) -> list[Finding]:
    try:
        gpu = Gpu(nvml, identifier)
        meter, reasons = power_meter(gpu)
    except NetdynoError as error:
        return [Finding(f"driver of {identifier}", False, str(error))]
    detail = f"{gpu.name}, driver {gpu.facts().get('driver', 'unknown')}, energy: "
    detail += f"{meter.name} ({meter.note or 'a counter'})" if meter else "; ".join(reasons)
    return [Finding(f"driver of {identifier}", meter is not None, detail)]


def _phones() -> list[Finding]:
    """The phones of a running adb server, each with what runs on it; without one, what would reach a phone."""
    known = server_devices()
    if known is None:
        direct = importlib.util.find_spec("adb_shell") is not None
        advice = "" if direct else "; without one, phones need pip install 'netdyno[android]'"
        return [Finding("Android phones", False, f"no adb server is running (adb start-server){advice}")]
    if not known:
        return [
            Finding(
                "Android phones", False, "the adb server has none: plug one in with USB debugging, or adb connect"
            )
        ]
    return [finding for serial in known for finding in examine_device(f"android:{serial}")]


def _ssh() -> list[Finding]:
    """The way to devices of other machines, and to GPUs there."""
    if shutil.which("ssh") is None:
        return [Finding("devices over ssh", False, "there is no ssh here: install the system's OpenSSH client")]
    return [Finding("devices over ssh", True, "doctor --device ssh://USER@HOST/cpu (or jetson, cuda:0) says more")]


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
