"""A phone as its files and its services show it: what it is, and what may change while it measures."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping

from netdyno.base.errors import DeviceError
from netdyno.devices.android.cores import Cluster
from netdyno.devices.android.transport import Transport
from netdyno.devices.host import Host, State
from netdyno.devices.tree import Snapshot

_READ_S = 20.0
_CPUS = "/sys/devices/system/cpu"
_COMMANDS = {
    "kernel": "uname -r",
    "machine": "uname -m",
    "cpus": "nproc",
    "properties": "getprop",
}
_CHANGING = {
    "battery": "dumpsys battery",
    "thermal": "dumpsys thermalservice",
    "screen": "dumpsys deviceidle get screen",
}
_PROPERTIES = {
    "android": "ro.build.version.release",
    "build": "ro.build.id",
    "abi": "ro.product.cpu.abi",
    "soc": "ro.soc.model",
    "soc_maker": "ro.soc.manufacturer",
    "board": "ro.board.platform",
}
_PROPERTY = re.compile(r"\[(?P<name>[\w.-]{1,100})\]: \[(?P<value>[^\n]{0,200})\]", re.ASCII)
_HOTTEST_C, _COLDEST_C = 150.0, -60.0
THROTTLED = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""Android's own words for a thermal status; from light on it slows itself down."""


class PhoneHost(Host):
    """A phone; beyond what any Linux tells it tells these.

    ``said`` is what its commands said, by their names.
    """

    kind = "android"
    patterns = (*Host.patterns, f"{_CPUS}/cpu[0-9]*/cpufreq/cpuinfo_max_freq")

    def __init__(self, tree: Snapshot, said: Mapping[str, str]) -> None:
        about: dict[str, str | int] = {
            "architecture": said.get("machine", "").strip()[:40] or "unknown",
            "kernel": said.get("kernel", "").strip()[:80] or "unknown",
            "usable_cpus": int(said["cpus"]) if re.fullmatch(r"\d{1,4}\s*", said.get("cpus", ""), re.ASCII) else 1,
        }
        super().__init__(tree, about)
        self.properties = parse_properties(said.get("properties", ""))
        self.said = said

    def name(self) -> str:
        """Maker and model as the phone is sold."""
        parts = (self.properties.get(f"ro.product.{part}", "") for part in ("manufacturer", "model"))
        return " ".join(part for part in parts if part) or super().name()

    def facts(self) -> dict[str, str | int | float]:
        """What does not change while it runs; no serial is among them."""
        told = {name: self.properties[key] for name, key in _PROPERTIES.items() if self.properties.get(key)}
        clusters = " + ".join(f"{len(cores)} × {mhz} MHz" for mhz, cores in self.clusters())
        return {**super().facts(), "os": "Android", **told, **({"clusters": clusters} if clusters else {})}

    def clusters(self) -> list[Cluster]:
        """Highest clock in MHz and its cores, the slowest first."""
        found: dict[int, list[int]] = {}
        for path in self.tree.glob(f"{_CPUS}/cpu[0-9]*/cpufreq/cpuinfo_max_freq"):
            text, core = self.tree.text(path).strip(), re.search(r"/cpu(\d{1,4})/", path, re.ASCII)
            if core and re.fullmatch(r"\d{4,9}", text, re.ASCII):
                found.setdefault(int(text) // 1000, []).append(int(core[1]))
        return sorted(found.items())

    def state(self) -> dict[str, str | int | float]:
        """What may change while measuring: heat, battery and screen, beside what any Linux tells."""
        return (
            super().state()
            | parse_thermal(self.said.get("thermal", ""))
            | parse_battery(self.said.get("battery", ""))
            | parse_screen(self.said.get("screen", ""))
        )

    @staticmethod
    def faults(before: State, after: State) -> list[str]:
        """What holds for any machine, and throttling, a charger that came or went, the screen."""
        faults = Host.faults(before, after)
        worst = max(_status(before), _status(after))
        if worst > 0:
            faults.append(f"throttled by heat ({THROTTLED[worst]})")
        if before.get("plugged") != after.get("plugged"):
            faults.append("it was plugged in or out")
        if before.get("screen") != after.get("screen"):
            faults.append("its screen went on or off")
        return faults


def _status(state: State) -> int:
    status = state.get("thermal_status", 0)
    return int(status) if isinstance(status, int) and 0 <= status < len(THROTTLED) else 0


def read_phone(transport: Transport) -> PhoneHost:
    """All that a phone says of itself, in one command.

    Raises:
        DeviceError: the phone is lost, or does not answer as one.
    """
    return _read(transport, _COMMANDS | _CHANGING, {})


def read_state(transport: Transport, known: PhoneHost) -> dict[str, str | int | float]:
    """What may have changed since a phone was read; raises as :func:`read_phone` does."""
    return _read(transport, _CHANGING, known.said).state()


def _read(transport: Transport, commands: Mapping[str, str], known: Mapping[str, str]) -> PhoneHost:
    """Run commands, and read files without starting a program for each: a phone has hundreds."""
    mark = f"netdyno-{secrets.token_hex(8)}"
    told = "\n".join(f"echo; echo {mark} said {name}; {command} 2>/dev/null" for name, command in commands.items())
    lines = 'while IFS= read -r l || [ -n "$l" ]; do echo "$l"; done <"$f"'
    file = f'[ -r "$f" ] && [ -f "$f" ] && echo && echo {mark} file "$f" && {lines}'
    script = f"{told}\nfor f in {' '.join(PhoneHost.patterns)}; do {file}; done 2>/dev/null; true"
    parts = transport.script(script, timeout_s=_READ_S).check(f"{transport.serial}: reading its state")
    found: dict[str, dict[str, str]] = {"said": dict(known), "file": {}}
    for kind, name, text in _sections(parts, mark):
        found[kind][name] = text
    if "properties" not in found["said"]:
        raise DeviceError(f"{transport.serial}: does not answer as a phone", device=transport.serial)
    return PhoneHost(Snapshot(found["file"]), found["said"])


def _sections(text: str, mark: str) -> Iterator[tuple[str, str, str]]:
    """Kind, name and text of what stands after each mark; the mark's own empty line is not part of a text."""
    pieces = re.split(rf"(?:^|\n){mark} (said|file) ([^\n]{{1,300}})\n", text)
    yield from zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True)


def parse_properties(text: str) -> dict[str, str]:
    """Properties as ``getprop`` prints them; what cannot be shown is left out."""
    found = (_PROPERTY.fullmatch(line.strip()) for line in text.splitlines())
    return {each["name"]: each["value"].strip() for each in found if each and each["value"].isprintable()}


def parse_battery(text: str) -> dict[str, str | int | float]:
    """Level in percent, temperature, voltage and whether it is plugged, as ``dumpsys battery`` tells them.

    ``battery_frozen`` says that updates were stopped, so that nothing of it need be true.
    """
    fields: dict[str, str] = {}
    for line in text.split("\n\n", maxsplit=1)[0].splitlines():
        name, colon, value = line.strip().partition(": ")
        if colon:
            fields.setdefault(name, value.strip())
    found: dict[str, str | int | float] = {}
    level, scale = _integer(fields.get("level")), _integer(fields.get("scale"))
    if level is not None and scale and 0 <= level <= scale:
        found["battery_percent"] = round(100 * level / scale, 1)
    decidegrees = _integer(fields.get("temperature"))
    if decidegrees is not None and _COLDEST_C < decidegrees / 10 < _HOTTEST_C:
        found["battery_c"] = decidegrees / 10
    millivolts = _integer(fields.get("voltage"))
    if millivolts is not None and 1000 < millivolts < 30_000:
        found["battery_mv"] = millivolts
    powered = [value for name, value in fields.items() if name.endswith(" powered")]
    if powered:
        found["plugged"] = int("true" in powered)
    if "UPDATES STOPPED" in text:
        found["battery_frozen"] = 1
    return found


_TEMPERATURE = re.compile(
    r"Temperature\{mValue=(?P<celsius>-?\d{1,4}(?:\.\d{1,9})?), mType=(?P<type>-?\d{1,3}),", re.ASCII
)
_CPU, _SKIN = 0, 3


def parse_thermal(text: str) -> dict[str, str | int | float]:
    """Thermal status, and the hottest CPU and skin sensors, as ``dumpsys thermalservice`` tells them now.

    Sensors stand twice; the block that counts is the one after ``Current temperatures from HAL:``.
    """
    found: dict[str, str | int | float] = {}
    status = re.search(r"^Thermal Status: (\d)\s*$", text, re.MULTILINE | re.ASCII)
    if status:
        found["thermal_status"] = int(status[1])
    current = text.partition("Current temperatures from HAL:")[2].partition("Current cooling devices")[0]
    for name, wanted in (("cpu_c", _CPU), ("skin_c", _SKIN)):
        celsius = [float(t["celsius"]) for t in _TEMPERATURE.finditer(current) if int(t["type"]) == wanted]
        sane = [value for value in celsius if _COLDEST_C < value < _HOTTEST_C]
        if sane:
            found[name] = max(sane)
    return found


def parse_screen(text: str) -> dict[str, str | int | float]:
    """Whether the screen is on, as ``dumpsys deviceidle get screen`` tells it."""
    said = {"true": 1, "false": 0}.get(text.strip())
    return {} if said is None else {"screen": said}


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,9}", text, re.ASCII) else None
