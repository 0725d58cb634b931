from __future__ import annotations

from netdyno.devices.tree import Snapshot
from netdyno.doctor import _jetson, examine

ORIN = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"


def test_every_meter_is_spoken_of() -> None:
    """For each one whether it is there, and if not, why or what would bring it."""
    findings = examine()
    said = {finding.what.split(" ")[0] for finding in findings}
    assert {"device", "runtime", "CPU", "energy", "rails"} <= said
    assert said & {"NVIDIA", "GPU"}
    assert all(finding.detail for finding in findings)


def test_a_board_s_rails() -> None:
    files = {f"{ORIN}/in1_label": "VDD_IN\n", f"{ORIN}/in1_input": "5000", f"{ORIN}/curr1_input": "900"}
    (found,) = _jetson(Snapshot(files))
    assert found.ok
    assert "total VDD_IN; now VDD_IN 4500 mW" in found.detail
    (found,) = _jetson(Snapshot(files | {f"{ORIN}/curr1_input": "x"}))
    assert not found.ok
    assert "curr1_input" in found.detail
    assert not _jetson(Snapshot({}))[0].ok
