from __future__ import annotations

import re
from importlib.metadata import requires, version
from typing import Any

from netdyno.devices.tree import Snapshot
from netdyno.doctor import EXTRAS, _extras, _jetson, examine, examine_device

ORIN = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"


def test_every_meter_is_spoken_of() -> None:
    """For each one whether it is there, and if not, why or what would bring it."""
    findings = examine()
    said = {finding.what.split(" ")[0] for finding in findings}
    assert {"device", "devices", "runtime", "CPU", "energy", "rails", "Android"} <= said
    assert said & {"NVIDIA", "driver"}
    assert all(finding.detail for finding in findings)


def test_every_optional_library_is_spoken_of() -> None:
    """Those that the extras bring to be used; nothing imports what the extra tflite brings."""
    needed = re.compile(r"([\w-]+).*; extra == ['\"](train|nvidia|android|lab|report)['\"]")
    found = {(match[1], match[2]) for each in requires("netdyno") or [] if (match := needed.match(each))}
    assert {(package, extra) for package, (extra, _) in EXTRAS.items()} == found
    told = {finding.what: finding.detail for finding in _extras()}
    for package, (extra, purpose) in EXTRAS.items():
        assert purpose in told[package]
        assert told[package].endswith(f"pip install 'netdyno[{extra}]'") or version(package) in told[package]


def test_a_board_s_rails() -> None:
    files = {f"{ORIN}/in1_label": "VDD_IN\n", f"{ORIN}/in1_input": "5000", f"{ORIN}/curr1_input": "900"}
    (found,) = _jetson(Snapshot(files))
    assert found.ok
    assert "total VDD_IN; now VDD_IN 4500 mW" in found.detail
    (found,) = _jetson(Snapshot(files | {f"{ORIN}/curr1_input": "x"}))
    assert not found.ok
    assert "curr1_input" in found.detail
    assert not _jetson(Snapshot({}))[0].ok


def test_a_device_of_another_machine(ssh_server: Any) -> None:
    """Its runtimes really run there; what is missing is told with its reason."""
    address = ssh_server.address()
    found = {finding.what: finding for finding in examine_device(address)}
    assert found[f"device {address}"].ok
    assert "overhead a call" in found["runtime onnxruntime"].detail
    assert not found[f"energy of {address}"].ok
    (jetson,) = examine_device(ssh_server.address("jetson"))
    assert not jetson.ok
    assert "no Jetson here" in jetson.detail
    (gpu,) = examine_device(ssh_server.address("cuda:0"))
    assert not gpu.ok
    assert "NVML" in gpu.detail


def test_a_machine_that_does_not_answer() -> None:
    (found,) = examine_device("ssh://nobody@127.0.0.1:1/cpu")
    assert not found.ok
    assert "Connection refused" in found.detail
