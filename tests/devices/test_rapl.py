from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdyno.base.errors import DeviceError, MeasurementInvalid
from netdyno.devices.cpu import CpuDevice
from netdyno.devices.rapl import RaplMeter, rapl_meters

RANGE_UJ = 262_143_328_850


class Tree:
    """A /sys with RAPL domains, and a clock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seconds = 0.0

    def domain(self, name: str, label: str, energy: object = 0) -> Path:
        folder = self.root / "class/powercap" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text(f"{label}\n")
        (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (folder / "energy_uj").write_text(f"{energy}\n")
        return folder

    def clock(self) -> float:
        return self.seconds


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_packages_are_summed(tree: Tree) -> None:
    tree.domain("intel-rapl:0", "package-0", 1_000)
    tree.domain("intel-rapl:0:0", "core", 500)
    tree.domain("intel-rapl:1", "package-1", 2_000)
    tree.domain("intel-rapl:2", "psys", 9_000)
    (meter,), reasons = rapl_meters(tree.root)
    assert not reasons
    assert meter.read_mj() == 0
    tree.domain("intel-rapl:0", "package-0", 4_000)
    tree.domain("intel-rapl:0:0", "core", 5_000)
    tree.domain("intel-rapl:1", "package-1", 2_500)
    tree.domain("intel-rapl:2", "psys", 19_000)
    assert meter.read_mj() == pytest.approx(3.5)
    assert meter.read_mj() == pytest.approx(3.5)


def test_wraps(tree: Tree) -> None:
    meter = RaplMeter([tree.domain("intel-rapl:0", "package-0", RANGE_UJ - 1_000)], tree.clock)
    tree.seconds = 10.0
    tree.domain("intel-rapl:0", "package-0", 2_000)
    assert meter.read_mj() == pytest.approx(3.0)
    tree.seconds = 20.0
    tree.domain("intel-rapl:0", "package-0", 5_000)
    assert meter.read_mj() == pytest.approx(6.0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(start=st.integers(0, RANGE_UJ - 1), gains=st.lists(st.integers(1, RANGE_UJ - 1), max_size=5))
def test_any_steps_add_up(tree: Tree, start: int, gains: list[int]) -> None:
    meter = RaplMeter([tree.domain("intel-rapl:0", "package-0", start)], tree.clock)
    total = 0
    for gain in gains:
        total += gain
        tree.seconds += 3600.0
        tree.domain("intel-rapl:0", "package-0", (start + total) % RANGE_UJ)
        assert meter.read_mj() == pytest.approx(total / 1e3)


def test_stands_still(tree: Tree) -> None:
    meter = RaplMeter([tree.domain("intel-rapl:0", "package-0", 7)], tree.clock)
    tree.seconds = 0.01
    assert meter.read_mj() == 0
    tree.seconds = 5.0
    with pytest.raises(MeasurementInvalid, match="stands still"):
        meter.read_mj()


def test_went_backwards(tree: Tree) -> None:
    meter = RaplMeter([tree.domain("intel-rapl:0", "package-0", 5_000_000)], tree.clock)
    tree.seconds = 1.0
    tree.domain("intel-rapl:0", "package-0", 0)
    with pytest.raises(MeasurementInvalid, match="backwards"):
        meter.read_mj()


@pytest.mark.parametrize("energy", ["", "-5", "1.5", "many", "٣"])
def test_not_a_counter(tree: Tree, energy: str) -> None:
    tree.domain("intel-rapl:0", "package-0")
    tree.domain("intel-rapl:1", "package-1", energy)
    meters, (reason,) = rapl_meters(tree.root)
    assert not meters
    assert "intel-rapl:1" in reason


def test_unreadable(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read anything, so the refusal itself has to be staged."""
    tree.domain("intel-rapl:0", "package-0")
    read = Path.read_text

    def refuse(path: Path, **options: str) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    meters, (reason,) = rapl_meters(tree.root)
    assert not meters
    assert "only root" in reason
    assert "chmod" in reason


def test_goes_away(tree: Tree) -> None:
    folder = tree.domain("intel-rapl:0", "package-0")
    (meter,), _ = rapl_meters(tree.root)
    (folder / "energy_uj").unlink()
    with pytest.raises(DeviceError):
        meter.read_mj()


def test_no_tree(tree: Tree) -> None:
    meters, (reason,) = rapl_meters(tree.root)
    assert not meters
    assert "no RAPL" in reason


def test_the_cpu_lists_it(tree: Tree) -> None:
    assert CpuDevice(sys=tree.root).meters() == ()
    tree.domain("intel-rapl:0", "package-0")
    assert [meter.name for meter in CpuDevice(sys=tree.root).meters()] == ["rapl"]
