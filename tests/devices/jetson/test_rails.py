"""The kernel's monitors of every board, as trees of files; labels and paths as the boards' device trees have them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdyno.base.errors import DeviceError
from netdyno.devices.jetson import BOARDS, find_monitors
from netdyno.devices.jetson.rails import MODEL, PATTERNS
from netdyno.devices.tree import LocalTree, Snapshot, Tree

OLD, NEW = "/sys/bus/i2c/drivers/ina3221x", "/sys/bus/i2c/drivers/ina3221"
THOR_INPUT = "/sys/bus/i2c/drivers/ina238/2-0044/hwmon/hwmon1"
Files = dict[str, str]


def iio(address: str, *rails: tuple[str, int, int]) -> Files:
    """A monitor as kernels until L4T R32 show it: name, mV, mA by channel."""
    folder = f"{OLD}/{address}/iio:device0"
    files: Files = {}
    for number, (name, mv, ma) in enumerate(rails):
        files |= {f"{folder}/rail_name_{number}": f"{name}\n", f"{folder}/in_voltage{number}_input": f"{mv}\n"}
        files |= {f"{folder}/in_current{number}_input": f"{ma}\n", f"{folder}/in_power{number}_input": "12\n"}
    return files


def hwmon(address: str, number: int, *rails: tuple[str, int, int]) -> Files:
    """A monitor as later kernels show it, the shunts' voltages included."""
    folder = f"{NEW}/{address}/hwmon/hwmon{number}"
    files = {f"{folder}/in7_label": "sum of shunt voltages\n", f"{folder}/in7_input": "9\n", f"{folder}/name": "i\n"}
    for channel, (name, mv, ma) in enumerate(rails, 1):
        files |= {f"{folder}/in{channel}_label": f"{name}\n", f"{folder}/in{channel}_input": f"{mv}\n"}
        files |= {f"{folder}/curr{channel}_input": f"{ma}\n", f"{folder}/in{channel + 3}_input": "4\n"}
    return files


TREES: dict[str, tuple[str, Files, float]] = {
    "Jetson Nano": (
        "NVIDIA Jetson Nano Developer Kit",
        iio("6-0040", ("POM_5V_IN", 5000, 400), ("POM_5V_GPU", 5000, 8), ("POM_5V_CPU", 5000, 100)),
        2000.0,
    ),
    "Jetson TX1": (
        "NVIDIA Jetson TX1 Developer Kit",
        iio("1-0040", ("VDD_IN", 19000, 150), ("VDD_GPU", 19000, 1), ("VDD_CPU", 19000, 10))
        | iio("1-0042", ("VDD_MUX", 19000, 300), ("VDD_5V_IO_SYS", 5000, 100), ("VDD_3V3_SYS", 3300, 10)),
        2850.0,
    ),
    "Jetson TX2": (
        "NVIDIA Jetson TX2 Developer Kit",
        iio("0-0040", ("VDD_SYS_GPU", 19000, 10), ("VDD_SYS_SOC", 19000, 20), ("VDD_4V0_WIFI", 4000, 0))
        | iio("0-0041", ("VDD_IN", 19000, 100), ("VDD_SYS_CPU", 19000, 12), ("VDD_SYS_DDR", 5000, 60)),
        1900.0,
    ),
    "Jetson TX2 NX": (
        "NVIDIA Jetson TX2 NX Developer Kit",
        iio("6-0040", ("VDD_IN", 5000, 500), ("VDD_CPU_GPU", 5000, 100), ("VDD_SOC", 5000, 90)),
        2500.0,
    ),
    "Jetson Xavier NX": (
        "NVIDIA Jetson Xavier NX Developer Kit",
        hwmon("7-0040", 6, ("VDD_IN", 5000, 552), ("VDD_CPU_GPU_CV", 5000, 130), ("VDD_SOC", 5000, 130)),
        2760.0,
    ),
    "Jetson AGX Xavier": (
        "Jetson-AGX",
        iio("1-0040", ("GPU", 19000, 1), ("CPU", 19000, 11), ("SOC", 19000, 45))
        | iio("1-0041", ("CV", 19000, 0), ("VDDRQ", 19000, 8), ("SYS5V", 5000, 377)),
        19.0 * 65 + 5.0 * 377,
    ),
    "Jetson Orin Nano": (
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        hwmon("1-0040", 1, ("VDD_IN", 5096, 934), ("VDD_CPU_GPU_CV", 5096, 101), ("VDD_SOC", 5096, 280)),
        5.096 * 934,
    ),
    "Jetson Orin NX": (
        "NVIDIA Orin NX Developer Kit",
        hwmon("1-0040", 3, ("VDD_IN", 19008, 280), ("VDD_CPU_GPU_CV", 19008, 30), ("VDD_SOC", 19008, 70)),
        19.008 * 280,
    ),
    "Jetson AGX Orin": (
        "NVIDIA Jetson AGX Orin Developer Kit",
        hwmon("1-0040", 3, ("VDD_GPU_SOC", 19000, 126), ("VDD_CPU_CV", 19000, 21), ("VIN_SYS_5V0", 4968, 800))
        | hwmon("1-0041", 4, ("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 4968, 80), ("NC", 0, 0)),
        19.0 * 147 + 4.968 * 880,
    ),
    "Jetson Thor": (
        "NVIDIA Jetson AGX Thor Developer Kit",
        hwmon("2-0040", 2, ("VDD_GPU", 19000, -2), ("VDD_CPU_SOC_MSS", 19000, 310), ("VIN_SYS_5V0", 4968, 1300))
        | {f"{THOR_INPUT}/power1_input": "21012500\n", f"{THOR_INPUT}/in1_input": "19800\n"},
        21012.5,
    ),
}


def written(root: Path, files: Files) -> Tree:
    for path, text in files.items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.lstrip("/")).write_text(text)
    return LocalTree(root)


def test_every_board_has_its_tree() -> None:
    assert set(TREES) == {board.name for board in BOARDS}


@pytest.mark.parametrize("board", TREES)
def test_total(board: str, tmp_path: Path) -> None:
    model, files, expected_mw = TREES[board]
    tree = written(tmp_path, files | {MODEL: f"{model}\0"})
    monitors = find_monitors(tree)
    assert monitors.board is not None
    assert monitors.board.name == board
    assert sum(rail.read_mw(tree) for rail in monitors.total()) == pytest.approx(expected_mw)
    assert monitors.board.total_mw(monitors.read_mw(tree)) == pytest.approx(expected_mw)


@pytest.mark.parametrize("board", TREES)
def test_gpu_and_cpu_are_told_apart_where_the_board_does(board: str, tmp_path: Path) -> None:
    model, files, _ = TREES[board]
    monitors = find_monitors(written(tmp_path, files | {MODEL: model}))
    names = {rail.name for rail in monitors.rails}
    assert monitors.board is not None
    gpu, cpu = names & set(monitors.board.gpu), names & set(monitors.board.cpu)
    assert len(gpu) == len(cpu) == 1
    assert (gpu == cpu) == any(name.startswith("VDD_CPU_GPU") for name in names)


@pytest.mark.parametrize("board", TREES)
def test_the_rails_alone_give_the_same_total(board: str) -> None:
    _, files, expected_mw = TREES[board]
    monitors = find_monitors(Snapshot(files))
    assert sum(rail.read_mw(Snapshot(files)) for rail in monitors.total()) == pytest.approx(expected_mw)


@pytest.mark.parametrize("board", TREES)
def test_a_snapshot_of_the_patterns_is_enough(board: str, tmp_path: Path) -> None:
    model, files, _ = TREES[board]
    tree = written(tmp_path, files | {MODEL: model})
    snapshot = Snapshot({path: tree.text(path) for pattern in PATTERNS for path in tree.glob(pattern)})
    assert find_monitors(snapshot) == find_monitors(tree)
    assert find_monitors(tree).read_mw(snapshot) == find_monitors(tree).read_mw(tree)


def test_no_monitors() -> None:
    monitors = find_monitors(Snapshot({MODEL: "NVIDIA Jetson Nano 2GB Developer Kit\0"}))
    assert monitors.rails == ()
    assert monitors.total() == ()


def test_a_total_without_one_of_its_rails_is_none() -> None:
    _, files, _ = TREES["Jetson AGX Xavier"]
    rest = {path: text for path, text in files.items() if not path.startswith(f"{OLD}/1-0041")}
    assert find_monitors(Snapshot(rest)).total() == ()


def test_rails_of_one_name_are_refused() -> None:
    files = iio("1-0040", ("VDD_IN", 1, 1)) | iio("1-0041", ("VDD_IN", 1, 1))
    with pytest.raises(DeviceError, match="two rails are called VDD_IN"):
        find_monitors(Snapshot(files))


@pytest.mark.parametrize("text", ["", "\n", "1.5", "12 34", "0x10", "nan", "²", "9" * 30])
def test_what_is_no_reading_is_refused(text: str) -> None:
    files = hwmon("1-0040", 1, ("VDD_IN", 5000, 100))
    tree = Snapshot(files | {f"{NEW}/1-0040/hwmon/hwmon1/curr1_input": text})
    with pytest.raises(DeviceError, match="curr1_input"):
        find_monitors(tree).read_mw(tree)


@given(st.sampled_from(("VDD_IN", "NC")) | st.text(max_size=60), st.from_regex(r"-?\d{1,12}") | st.text(max_size=30))
def test_whatever_a_board_says_is_understood_or_refused(label: str, reading: str) -> None:
    folder = f"{NEW}/1-0040/hwmon/hwmon1"
    files = {MODEL: label, f"{folder}/in1_label": label, f"{folder}/in1_input": reading, f"{folder}/curr1_input": "2"}
    with contextlib.suppress(DeviceError):
        for power_mw in find_monitors(Snapshot(files)).read_mw(Snapshot(files)).values():
            assert power_mw == pytest.approx(int(reading) / 500)
