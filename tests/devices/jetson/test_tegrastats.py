from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.errors import DeviceError
from netdyno.devices.jetson import parse_tegrastats

# One made-up line for each form; what boards really printed is in the reference data.
CORES = "CPU [5%@1190,1%@1190,off,off]"
NANO = (
    f"RAM 613/3964MB (lfb 634x4MB) SWAP 0/1982MB (cached 0MB) IRAM 0/252kB(lfb 252kB) {CORES} EMC_FREQ 0%@1600"
    " GR3D_FREQ 0%@76 APE 25 PLL@39C CPU@40.5C PMIC@100C POM_5V_IN 900/943 POM_5V_GPU 0/0 POM_5V_CPU 123/123"
)
TX2_R28 = (
    "RAM 2586/7846MB (lfb 1x1MB) cpu [0%,off,off,0%]@345 EMC 10%@665 AVP 0%@80 VDE 0 GR3D 53%@140 EDP limit 0"
    " MTS fg 0% bg 3% BCPU@41C Tdiode@37.75C VDD_IN 3177/3200 VDD_CPU 536/536 VDD_GPU 383/383 VDD_WIFI 0/0"
)
AGX_XAVIER = (
    f"RAM 1903/15692MB (lfb 3251x4MB) {CORES} EMC_FREQ 0% GR3D_FREQ 0% AO@32.5C GPU@32C"
    " GPU 10/11 CPU 216/217 SOC 864/865 CV 3/4 VDDRQ 144/145 SYS5V 1889/1890"
)
XAVIER_NX = (
    f"07-09-2024 13:31:31 RAM 3168/6851MB (lfb 2x4MB) {CORES} EMC_FREQ 2%@204 GR3D_FREQ 0%@[114] VIC_FREQ 115"
    " NVDLA0_FREQ @1600 thermal@45.6C VDD_IN 2763mW/2846mW VDD_CPU_GPU_CV 650mW/670mW VDD_SOC 650mW/711mW "
)
AGX_ORIN_R35 = (
    f"RAM 1282/62795MB (lfb 15152x4MB) {CORES} GR3D_FREQ @[314,314] GR3D2_FREQ 0%@0 CV0@-256C GPU@-256C tj@42.5C"
    " VDD_GPU_SOC 2399mW/2400mW VDD_CPU_CV 400mW/401mW VIN_SYS_5V0 4032mW/4033mW NC 0mW/0mW"
    " VDDQ_VDD2_1V8AO 301mW/302mW NC 0mW/0mW"
)
AGX_ORIN_R36 = (
    f"RAM 18207/62841MB (lfb 466x4MB) {CORES} GR3D_FREQ 0%@[0,0] NVENC 79%@166 NVDEC off NVJPG1 off VIC 36%@115"
    " OFA off NVDLA1 off PVA0_FREQ off APE 174 VDD_GPU_SOC 2412mW/2400mW VDD_CPU_CV 1607mW/1607mW"
    " VIN_SYS_5V0 4707mW/4707mW"
)
THOR = (
    f"RAM 5000/125000MB (lfb 4x4MB) {CORES} GR3D_FREQ 0%@[0,0,0] gpu@40.1C tj@41C"
    " VDD_GPU 1980mW/1980mW/2400mW VDD_CPU_SOC_MSS 5950mW/5950mW/6000mW VIN_SYS_5V0 6200mW/6200mW/6200mW"
    " VIN 21000mW/21000mW/22000mW"
)
ORIN_R39 = (
    f"06-30-2026 10:00:01 RAM 9101/62811MB (lfb 19x4MB) SWAP 0/2048MB (cached 0MB) {CORES} EMC_FREQ 7%@3199"
    " GR3D_FREQ 0%@[0, 0] NVENC off VIC 59%@423 APE 174 cpu@52.968C/53.5C tj@52.968C/53.5C soc0@49.25C/49.25C"
    " VDD_GPU_SOC 2412mW/2400mW/2500mW VDD_CPU_CV 1607mW/1607mW/1700mW VIN_SYS_5V0 4707mW/4700mW/4800mW"
)
THOR_R39 = (
    f"RAM 9101/125811MB (lfb 19x4MB) {CORES} GR3D_FREQ @[0, 0, 0] NVENC0_FREQ @1556 OFA_FREQ @1556 PVA0_FREQ off"
    " cpu@34.8C/34.9C soc012@34.4C/34.4C VDD_GPU 0mW/0mW/0mW VDD_CPU_SOC_MSS 4100mW/4200mW/4300mW"
    " VIN_SYS_5V0 6700mW/6700mW/6800mW"
)
THOR_CURRENT_ONLY = (
    f"RAM 9/125MB (lfb 9x4MB) {CORES} VDD_GPU 5500mW VDD_CPU_SOC_MSS 7400mW VIN_SYS_5V0 6300mW VIN 28500mW"
)
NANO_2GB = f"RAM 613/1964MB (lfb 6x4MB) {CORES} GR3D_FREQ 0%"

TOTALS_MW = {
    NANO: 900,
    TX2_R28: 3177,
    AGX_XAVIER: 10 + 216 + 864 + 3 + 144 + 1889,
    XAVIER_NX: 2763,
    AGX_ORIN_R35: 2399 + 400 + 4032 + 301,
    AGX_ORIN_R36: 2412 + 1607 + 4707,
    THOR: 21000,
    ORIN_R39: 2412 + 1607 + 4707,
    THOR_R39: 0 + 4100 + 6700,
    THOR_CURRENT_ONLY: 28500,
    NANO_2GB: None,
}

ALPHABET = string.ascii_letters + string.digits + " %@/[](),.-_:\t\0é½²"


@pytest.mark.parametrize("line", TOTALS_MW)
def test_totals(line: str) -> None:
    found = parse_tegrastats(line)
    assert found.total_mw == TOTALS_MW[line]
    assert found.unknown == ()


def test_all_that_is_on_a_line() -> None:
    found = parse_tegrastats(NANO)
    assert found.rails_mw == {"POM_5V_IN": 900, "POM_5V_GPU": 0, "POM_5V_CPU": 123}
    assert found.temperatures_c == {"PLL": 39.0, "CPU": 40.5, "PMIC": 100.0}
    assert found.ram_used_mb == 613


def test_a_rail_and_a_sensor_may_share_a_name() -> None:
    found = parse_tegrastats(AGX_XAVIER)
    assert found.rails_mw["GPU"] == 10
    assert found.temperatures_c["GPU"] == 32.0


def test_what_is_off_or_not_connected_is_left_out() -> None:
    found = parse_tegrastats(AGX_ORIN_R35)
    assert "NC" not in found.rails_mw
    assert found.temperatures_c == {"tj": 42.5}


def test_a_rail_never_seen_before_is_read_and_not_added_to_a_total() -> None:
    found = parse_tegrastats(f"{TX2_R28} VDD_NEW_2030 77mW/78mW")
    assert found.rails_mw["VDD_NEW_2030"] == 77
    assert found.total_mw == 3177
    assert parse_tegrastats("RAM 1/2MB (lfb 1x4MB) VDD_NEW_2030 77/78").total_mw is None


def test_an_offset_may_be_negative() -> None:
    assert parse_tegrastats(THOR.replace("VDD_GPU 1980mW", "VDD_GPU -392mW")).rails_mw["VDD_GPU"] == -392


@pytest.mark.parametrize(
    "line",
    [
        "",
        "tegrastats: command not found",
        "VDD_IN 100/100",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN 100",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN 100/",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN 100mW/100",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN 100mA/100mA",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN 100W/100W",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN 1.5/1.5",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN ²²/22",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN 12345678901/1",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN 100/100/100/100",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN 100/100 VDD_IN 200/200",
        "RAM 1/2MB (lfb 1x4MB) SWAP 100/100",
        "RAM 1/2MB (lfb 1x4MB) GR3D_FREQ 100/100",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN [100, 100]",
        "RAM 1/2MB (lfb 1x4MB) VIN_NEW_2030 100mW:100mW",
        "RAM 1/2MB (lfb 1x4MB) vdd_in 100mW/100mW",
        "RAM 1/2MB (lfb 1x4MB) SYS5V n/a",
        "RAM 1/2MB (lfb 1x4MB) GPU 100",
        "RAM 1/2MB (lfb 1x4MB) board 100/100",
        "RAM 1/2MB (lfb 1x4MB) NEW_2030 1.5W",
        "RAM 1/2MB (lfb 1x4MB) VDD_IN 100/100 200mW",
        "RAM 1/2MB (lfb 1x4MB) RAM 1/2MB (lfb 1x4MB)",
        f"{NANO} {NANO}",
        NANO + " " * 5000 + "x",
    ],
)
def test_what_is_not_understood_is_an_error(line: str) -> None:
    with pytest.raises(DeviceError) as caught:
        parse_tegrastats(line)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("words", "unknown"),
    [
        ("NEW_2030 12%@[345, 345, 345]", ("NEW_2030 12%@[345, 345, 345]",)),
        ("PCIE off NVMSENC [1|2]", ("PCIE", "off", "NVMSENC [1|2]")),
        ("cpu@52.968C/high", ("cpu@52.968C/high",)),
        ("CMA 12/256MB", ("CMA 12/256MB",)),
        ("CPU [5%@1190|off]", ("CPU [5%@1190|off]",)),
        ("GPU 12%", ("GPU 12%",)),
        ("fan@[120rpm]", ("fan@[120rpm]",)),
        ("CPU@300C tj@-255C", ("CPU@300C", "tj@-255C")),
        ("tj@40C tj@41C", ("tj@41C",)),
        ("(throttled) é", ("(throttled) é",)),
    ],
)
def test_what_is_not_known_and_no_rail_costs_no_rail(words: str, unknown: tuple[str, ...]) -> None:
    for line in (f"RAM 1/2MB {words} VDD_IN 900mW/910mW", f"RAM 1/2MB VDD_IN 900/910 {words}"):
        found = parse_tegrastats(line)
        assert found.unknown == unknown
        assert found.total_mw == 900


def test_a_date_in_another_order_is_no_rail() -> None:
    assert parse_tegrastats("2026/09/07 13:31:31 RAM 1/2MB VDD_IN 900/910").total_mw == 900


@given(st.text())
def test_any_text_is_understood_or_refused(line: str) -> None:
    try:
        parse_tegrastats(line)
    except DeviceError:
        return
    assert "RAM" in line


@pytest.mark.slow
def test_a_million_mutations() -> None:
    generator = random.Random(0)  # noqa: S311
    originals = [*TOTALS_MW]
    refused = 0
    for _ in range(1_000_000):
        line = _mutate(generator.choice(originals), generator)
        try:
            _check(line)
        except DeviceError:
            refused += 1
    assert 300_000 < refused < 990_000


def _mutate(line: str, generator: random.Random) -> str:
    """A few characters replaced, put in, or taken out, or a stretch moved."""
    for _ in range(generator.randint(1, 4)):
        start = generator.randrange(len(line) + 1)
        end = start + generator.choice((0, 1, 1, 1, 5, 40))
        middle = generator.choice((generator.choice(ALPHABET), "", line[start:end] * 2))
        line = line[:start] + middle + line[end:]
    return line


def _check(line: str) -> None:
    """Every rail that is told stands so on the line, with its reading."""
    for name, value in parse_tegrastats(line).rails_mw.items():
        written = re.findall(rf"(?<!\S){name}\s+(-?\d+)", line)
        assert value in map(int, written), line


def _genuine(refdata: Path) -> Iterator[dict[str, str]]:
    yield from map(json.loads, (refdata / "tegrastats/samples.jsonl").read_text().splitlines())


def test_genuine_lines(refdata: Path) -> None:
    samples = list(_genuine(refdata))
    assert len(samples) > 15
    for sample in samples:
        found = parse_tegrastats(sample["line"])
        assert found.rails_mw
        inputs = [name for name in ("VDD_IN", "POM_5V_IN") if name in found.rails_mw]
        expected = found.rails_mw[inputs[0]] if inputs else sum(found.rails_mw.values())
        assert found.total_mw == expected, sample["id"]


def test_dates_and_trailing_blanks_change_nothing() -> None:
    assert parse_tegrastats(XAVIER_NX) == parse_tegrastats(XAVIER_NX.strip()[20:])
