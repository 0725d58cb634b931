from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.devices.host import Host
from netdyno.devices.tree import LocalTree

pytestmark = pytest.mark.alone

CPUINFO = """processor : 0
model name : Quick CPU 3000
cpu MHz : 1000.5
flags : fpu avx2 hypervisor avx512_vnni

processor : 1
model name : Quick CPU 3000
cpu MHz : 3000.5
"""
FILES = {
    "proc/cpuinfo": CPUINFO,
    "proc/meminfo": "MemTotal:       16384 kB\nMemFree: 1 kB\n",
    "proc/loadavg": "0.25 0.1 0.05 1/100 4242\n",
    "proc/stat": "cpu  10 20 30 4000 5 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n",
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 3\n",
    "sys/class/thermal/thermal_zone0/temp": "45000\n",
    "sys/class/thermal/thermal_zone1/temp": "-274000\n",
    "sys/class/hwmon/hwmon0/temp1_input": "51500\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/AC/online": "0\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/devices/system/cpu/cpufreq/boost": "1\n",
}
FILES |= {
    f"sys/devices/system/cpu/cpu{n}/{path}": text
    for n in range(4)
    for path, text in {
        "cpufreq/scaling_governor": "powersave\n" if n else "performance\n",
        "cpufreq/scaling_cur_freq": f"{n}000000\n",
        "thermal_throttle/core_throttle_count": "2\n",
        "topology/core_id": f"{n // 2}\n",
        "topology/physical_package_id": "0\n",
    }.items()
}

STRANGE = [
    "cpu " + "x " * 10,
    "cpu  1 2 3",
    "a b\n" * 3,
    "MemTotal:",
    "nr_throttled ",
    "inf",
    "nan nan",
    "1e999",
]


def machine(root: Path, files: dict[str, str]) -> Host:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return Host(LocalTree(root))


def test_facts(tmp_path: Path) -> None:
    host = machine(tmp_path, FILES)
    facts = host.facts()
    assert host.name() == "Quick CPU 3000"
    assert facts["instructions"] == "avx2 avx512_vnni"
    assert facts["cores"] == 2
    assert facts["memory_bytes"] == 16384 * 1024
    assert facts["virtual_machine"] == 1
    assert facts["cpu_quota"] == 1.5


def test_state(tmp_path: Path) -> None:
    assert machine(tmp_path, FILES).state() == {
        "governor": "performance powersave",
        "clock_mhz": 1500.0,
        "boost": 1,
        "load_1min": 0.25,
        "busy_ticks": 73,
        "steal_ticks": 8,
        "quota_throttle_count": 3,
        "temperature_c": 51.5,
        "thermal_throttle_count": 8,
        "on_mains": 0,
    }


def test_clock_without_cpufreq(tmp_path: Path) -> None:
    assert machine(tmp_path, {"proc/cpuinfo": CPUINFO}).state() == {"clock_mhz": 2000.5}


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    host = Host(LocalTree(tmp_path))
    assert host.state() == {}
    assert platform.machine() in host.name()
    assert "cpu_quota" not in host.facts()


def test_nothing_identifies_the_machine() -> None:
    text = json.dumps([Host().facts(), Host().state(), Host().name()])
    machine_id = Path("/etc/machine-id")
    secrets = [platform.node(), machine_id.read_text().strip() if machine_id.exists() else ""]
    assert not [secret for secret in secrets if secret and secret in text]


@pytest.mark.parametrize("path", sorted(FILES))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec="utf-8")) | st.sampled_from(STRANGE))
def test_strange_files(tmp_path: Path, path: str, text: str) -> None:
    host = machine(tmp_path, {path: text})
    json.dumps([host.facts(), host.state()], allow_nan=False)


@pytest.mark.parametrize(
    ("after", "fault"),
    [
        ({"governor": "powersave"}, "governor"),
        ({"boost": 0}, "boost"),
        ({"on_mains": 0}, "mains"),
        ({"thermal_throttle_count": 8}, "heat"),
        ({"quota_throttle_count": 4}, "quota"),
        ({"steal_ticks": 20, "busy_ticks": 200}, "stolen"),
    ],
)
def test_what_spoils_a_round(after: dict[str, str | int | float], fault: str) -> None:
    before: dict[str, str | int | float] = {
        "governor": "performance",
        "boost": 1,
        "on_mains": 1,
        "thermal_throttle_count": 7,
        "quota_throttle_count": 3,
        "steal_ticks": 10,
        "busy_ticks": 100,
    }
    (found,) = Host.faults(before, before | after)
    assert fault in found
    assert Host.faults({}, {}) == []
    assert Host.faults(before, before | {"steal_ticks": 14, "busy_ticks": 200, "load_1min": 9.0}) == []
