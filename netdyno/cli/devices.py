"""``netdyno devices`` and ``netdyno doctor``."""

from __future__ import annotations

from typing import Annotated

from netdyno.cli.console import Json, emit, print_table, say
from netdyno.cli.options import DEVICE, option


def devices(as_json: Json = False) -> None:
    """List every device that can be reached."""
    from netdyno.base.errors import NetdynoError
    from netdyno.devices.device import DEVICES, open_device

    found = []
    for name in DEVICES.names():
        try:
            for identifier in getattr(DEVICES.load(name), "identifiers", lambda alone=name: [alone])():
                with open_device(identifier) as device:
                    found.append((device.info(), list(device.formats)))
        except NetdynoError as error:
            say(f"{name}: {error}")
    if as_json:
        emit({"devices": [{"id": i.id, "name": i.name, "runtimes": runs, **i.facts} for i, runs in found]})
        return
    print_table(("id", "name", "runtimes"), [(i.id, i.name, " ".join(runs)) for i, runs in found])


def doctor(
    device: Annotated[
        list[str] | None, option(DEVICE, "Examine only this one, such as ssh://user@host/cpu; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what this machine can measure, what it cannot, and what would change that."""
    from netdyno.doctor import examine, examine_device

    findings = [finding for name in device for finding in examine_device(name)] if device else examine()
    if as_json:
        emit({"findings": [{"what": f.what, "ok": f.ok, "detail": f.detail} for f in findings]})
        return
    print_table(("", "what", ""), [("ok" if f.ok else "--", f.what, f.detail) for f in findings])
